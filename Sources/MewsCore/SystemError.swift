import Glibc

/// A system call that failed.
public struct SystemError: Error, Equatable, CustomStringConvertible {
  /// The call's name, for the log.
  public let call: String
  /// Its errno.
  public let code: Int32

  public init(call: String, code: Int32) {
    self.call = call
    self.code = code
  }

  /// The call and what its errno means.
  public var description: String { "\(call): \(Self.text(code))" }

  /// What an errno means, in the words of the C library. Any thread: glibc keeps the text in the thread (since 2.32).
  public static func text(_ code: Int32) -> String {
    strerror(code).map { String(cString: $0) } ?? "error \(code)"
  }
}
