import CMews

/// Where the handler of a route is run. The raw values are those of mews_execution.
public enum ExecutionClass: UInt64, Sendable {
  /// On the I/O thread: short, and never waits.
  case inline = 1
  /// On a worker, counted among those that run at once.
  case worker = 2
  /// On a worker that does not count: it spends its time waiting.
  case blocking = 3

  /// What a route was declared with; nil for MEWS_EXECUTION_DEFAULT, which leaves it to the host.
  public init?(declared execution: mews_execution) { self.init(rawValue: UInt64(execution)) }

  /// As it is shown.
  public var name: String { "\(self)" }

  /// Behind "its runs are ..." in lines of the log.
  var place: String {
    switch self {
    case .inline: "inline"
    case .worker: "on workers"
    case .blocking: "as blocking"
    }
  }
}
