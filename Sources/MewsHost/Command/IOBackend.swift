import CMews

/// Which kernel interface drives the I/O threads, and why.
public struct IOBackend: Sendable {
  /// What it is called in options and in the log.
  public let name: String
  /// Why this one: a clause.
  public let reason: String
  /// Whether this build and kernel have it.
  public let isAvailable: Bool

  /// What `mews_io_backend` stands for; nil for a number that is none.
  public init?(rawValue: mews_io_backend) {
    switch rawValue {
    case UInt32(MEWS_IO_AUTO): self.init(.automatic)
    case UInt32(MEWS_IO_EPOLL): self.init(.epoll)
    case UInt32(MEWS_IO_URING): self.init(.ioUring)
    default: return nil
    }
  }

  init(_ choice: IOBackendChoice) {
    switch choice {
    case .automatic:
      name = "epoll"
      reason = "the one this version has"
      isAvailable = true
    case .epoll:
      name = "epoll"
      reason = "asked for"
      isAvailable = true
    case .ioUring:
      name = "io_uring"
      reason = "this version has no io_uring backend; use --io epoll or --io auto"
      isAvailable = false
    }
  }
}
