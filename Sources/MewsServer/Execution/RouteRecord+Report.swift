import CMews
import CMewsShims
import MewsCore

/// How a route is named in the log and in reports.
public final class RouteNames: Sendable {
  public let method: String
  public let pattern: String
  /// The plugin's name, or the program's.
  public let plugin: String
  /// The class it was registered with, or "auto".
  public let declared: String

  public init(method: String, pattern: String, plugin: String, declared: String) {
    self.method = method
    self.pattern = pattern
    self.plugin = plugin
    self.declared = declared
  }
}

/// What a route's record says at one moment.
public struct RouteReport: Sendable {
  public let names: RouteNames
  public let execution: ExecutionClass
  /// A clause.
  public let why: String
  public let inlineRuns: UInt64
  public let workerRuns: UInt64
  /// How often the class has changed.
  public let changes: Int
  /// How often a route that is declared inline was seen to wait.
  public let inlineWaits: Int
}

/// Decides which changes of a route's class make a line of the log: the first few, and then one a minute at most.
struct ChangeLogLimit: Sendable {
  private static let freeLines = 4
  private static let interval: Int64 = 60_000_000_000

  private var lines = 0
  private var lastTime: Int64 = 0
  private var skipped = 0

  /// Something has happened at a time in nanoseconds. Returns how many events before it made no line; nil when this one
  /// makes none either.
  mutating func admit(at time: Int64) -> Int? {
    guard lines < Self.freeLines || time &- lastTime >= Self.interval else {
      skipped &+= 1
      return nil
    }
    lines = min(lines &+ 1, Self.freeLines)
    lastTime = time
    defer { skipped = 0 }
    return skipped
  }
}

extension RouteRecord {
  /// What there is to say of the route. Any thread.
  public static func report(_ record: RouteRecordPointer) -> RouteReport {
    record.pointee.lock.lock()
    let policy = record.pointee.guarded.pointee.policy
    record.pointee.lock.unlock()
    let (ioThreads, mayPromote) = record.pointee.learning._withUnsafeGuaranteedRef { ($0.ioThreads, $0.mayPromote) }
    var (inlineRuns, workerRuns): (UInt64, UInt64) = (0, 0)
    for ioThread in 0..<ioThreads {
      inlineRuns &+= cell(record, ioThread).inlineRuns
      workerRuns &+= cell(record, ioThread).workerRuns
    }
    return RouteReport(
      names: record.pointee.names.takeUnretainedValue(), execution: policy.execution,
      why: policy.explanation(mayPromote: mayPromote), inlineRuns: inlineRuns, workerRuns: workerRuns,
      changes: policy.changes, inlineWaits: policy.inlineWaits)
  }

  /// Counts what has happened to a route, and says it in the log.
  ///
  /// - Parameter skipped: see `ChangeLogLimit`.
  static func tell(
    _ record: RouteRecordPointer, _ outcome: RoutePolicy.Outcome, _ policy: RoutePolicy, _ skipped: Int?
  ) {
    let learning = record.pointee.learning.takeUnretainedValue()
    let isChange = outcome == .changed
    if isChange { learning.countChange() } else { learning.countInlineWait() }
    guard let skipped else { return }
    let names = record.pointee.names.takeUnretainedValue()
    let what =
      isChange
      ? "runs \(policy.execution.place) from now on: \(policy.reason)"
      : "is declared inline, but \(policy.lastComplaint ?? policy.reason)"
    let more = skipped > 0 ? " (and \(skipped) times before that were not told)" : ""
    // No more than information: a contended lock makes a handler wait that never does on a machine with time to spare.
    learning.log.write(Int(MEWS_LEVEL_INFO), "\(names.method) \(names.pattern) \(what)\(more)", source: names.plugin)
  }
}
