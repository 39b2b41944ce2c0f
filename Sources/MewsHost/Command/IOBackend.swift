import CMews
import Glibc
import MewsCore

/// Which kernel interface drives the I/O threads, and why.
///
/// `auto` can be decided from outside, for programs that cannot be told: the environment variable MEWS_IO holds
/// `io_uring` or `epoll`. MEWS_IO_WITHOUT holds names of features to be left alone, as `--io-without` does.
public struct IOBackend: Sendable {
  /// What it is called in options and in the log.
  public let name: String
  /// Why this one: a clause.
  public let reason: String
  /// What asked for it, as it was written: `--io io_uring`, `MEWS_IO=io_uring`.
  public let request: String
  /// Whether the environment says something that is not understood; the reason tells.
  public let isMisunderstood: Bool
  /// Whether this kernel has it.
  public let isAvailable: Bool
  /// What the rings of the I/O threads use; nil for epoll.
  public let ringFeatures: RingFeatures?

  private init(
    name: String, reason: String, request: String, isMisunderstood: Bool, isAvailable: Bool = true,
    ringFeatures: RingFeatures? = nil
  ) {
    self.name = name
    self.reason = reason
    self.request = request
    self.isMisunderstood = isMisunderstood
    self.isAvailable = isAvailable
    self.ringFeatures = ringFeatures
  }

  /// What `mews_io_backend` stands for; nil for a number that is none.
  public init?(rawValue: mews_io_backend) {
    switch rawValue {
    case UInt32(MEWS_IO_AUTO): self.init(.automatic)
    case UInt32(MEWS_IO_EPOLL): self.init(.epoll)
    case UInt32(MEWS_IO_URING): self.init(.ioUring)
    default: return nil
    }
  }

  /// Decides. Asks the kernel for nothing where that cannot change the answer: some sandboxes end who asks.
  ///
  /// - Parameters:
  ///   - choice: what was asked for.
  ///   - switchedOff: features that are treated as if the kernel lacked them.
  init(_ choice: IOBackendChoice, without switchedOff: RingFeatures = []) {
    let environment = Environment()
    let switchedOff = switchedOff.union(environment.switchedOff)
    let isFromEnvironment = choice == .automatic && environment.choice != nil
    let choice = isFromEnvironment ? environment.choice ?? choice : choice
    let asked = (isFromEnvironment ? "MEWS_IO asks for it" : "asked for") + environment.complaint
    let request = (isFromEnvironment ? "MEWS_IO=" : "--io ") + choice.rawValue
    let isMisunderstood = !environment.complaint.isEmpty
    switch choice {
    case .epoll: self.init(name: "epoll", reason: asked, request: request, isMisunderstood: isMisunderstood)
    case .automatic:
      self.init(
        name: "epoll", reason: Self.whyAutomatic + environment.complaint, request: request,
        isMisunderstood: isMisunderstood)
    case .ioUring:
      let probe = Self.probe(without: switchedOff)
      let reason = asked + "; " + probe.reason
      self.init(
        name: "io_uring", reason: probe.isUsable ? reason : probe.reason, request: request,
        isMisunderstood: isMisunderstood, isAvailable: probe.isUsable,
        ringFeatures: probe.isUsable ? probe.features : nil)
    }
  }

  /// Beside each other on one machine (Benchmarks/backends), a request costs the same CPU time over both within what
  /// such measurements scatter, and a lone request somewhat less over epoll, which all kernels have.
  private static let whyAutomatic = "io_uring has not measured cheaper; --io io_uring asks for it"

  /// What the process's environment says is to be left alone.
  static var switchedOffByEnvironment: RingFeatures { Environment().switchedOff }

  private static func probe(without switchedOff: RingFeatures) -> RingProbe {
    let everything = RingProbe(assuming: .all)
    guard everything.without(switchedOff).isUsable else { return everything.without(switchedOff) }
    return RingProbe.ofThisProcess.without(switchedOff)
  }

  /// What the process's environment says of all this.
  private struct Environment {
    var choice: IOBackendChoice?
    var switchedOff: RingFeatures = []
    /// What is wrong with it: a clause to follow others, or nothing.
    var complaint = ""

    init() {
      if let value = Self.value("MEWS_IO") {
        choice = IOBackendChoice(rawValue: value)
        if choice == nil {
          let choices = IOBackendChoice.allCases.map(\.rawValue).joined(separator: ", ")
          complaint += "; MEWS_IO is \(printable(value)), which is none of \(choices)"
        }
      }
      guard let list = Self.value("MEWS_IO_WITHOUT") else { return }
      for name in list.split(separator: ",") {
        do throws(UnknownRingFeature) {
          switchedOff.formUnion(try RingFeatures(parsing: String(name)))
        } catch {
          complaint += "; MEWS_IO_WITHOUT names \(printable(error.name)), which is no feature"
        }
      }
    }

    private static func value(_ name: String) -> String? {
      getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
  }
}
