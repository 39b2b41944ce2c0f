import Glibc
import Synchronization

public typealias RouteDeadlinePointer = UnsafeMutablePointer<RouteDeadline>

/// How long the handlers of a route may take, and how many took longer. It has memory of its own, which lives as long
/// as the route, because every I/O thread counts there.
public struct RouteDeadline: ~Copyable {
  /// From when the request is whole until its response has to be there; at least 1.
  public let milliseconds: UInt32
  /// Method and pattern, for the log; ended by NUL.
  private let route: UnsafeMutablePointer<CChar>?
  private let missed = Atomic<UInt64>(0)
  /// How many of them the log has heard of.
  private let reported = Atomic<UInt64>(0)
  /// When it heard of the last one, in milliseconds; 0 before the first.
  private let reportTime = Atomic<UInt64>(0)

  /// The log hears of a route's missed deadlines once in this time at most.
  static var reportInterval: UInt64 { 1_000 }

  private init(milliseconds: UInt32, route: UnsafeMutablePointer<CChar>?) {
    self.milliseconds = milliseconds
    self.route = route
  }

  /// - Returns: a deadline to be freed with `destroy`.
  public static func create(milliseconds: UInt32, route: String) -> RouteDeadlinePointer {
    let deadline = RouteDeadlinePointer.allocate(capacity: 1)
    deadline.initialize(to: RouteDeadline(milliseconds: max(1, milliseconds), route: strdup(route)))
    return deadline
  }

  /// Frees a deadline that no request and no route knows any more.
  public static func destroy(_ deadline: RouteDeadlinePointer) {
    free(deadline.pointee.route)
    deadline.deinitialize(count: 1)
    deadline.deallocate()
  }

  /// Requests that were answered with 504 because the time was over. Any thread.
  public var missedCount: UInt64 { missed.load(ordering: .relaxed) }

  /// Method and pattern.
  var routeName: String { route.map { String(cString: $0) } ?? "a route" }

  /// Counts a request that missed the deadline. Any thread.
  ///
  /// - Parameter now: milliseconds of a clock that all callers share.
  /// - Returns: how many did since the log last heard of it, this one included; nil when it is too early to say so.
  func countMissed(now: UInt64) -> UInt64? {
    let total = missed.wrappingAdd(1, ordering: .relaxed).newValue
    let last = reportTime.load(ordering: .relaxed)
    guard last == 0 || now >= last &+ Self.reportInterval,
      reportTime.compareExchange(expected: last, desired: max(1, now), ordering: .relaxed).exchanged
    else { return nil }
    // Another thread may have counted more, and reported them, in between.
    let before = reported.exchange(total, ordering: .relaxed)
    return total > before ? total &- before : 1
  }
}
