import CMews
import CMewsShims
import MewsCore

/// An exchange whose deadline has passed: the client has its answer, and the handler does not know yet.
extension Exchange {
  /// Whether the exchange comes to its handler too late, so that this is not called any more.
  @_noLocks @inline(__always)
  static func hasMissedDeadline(_ exchange: ExchangePointer, _ route: UnsafePointer<Route>) -> Bool {
    guard route.pointee.deadline != nil else { return false }
    return isExpired(exchange)
  }

  /// Whether its client has a 504 already. Any thread that has the exchange.
  @_noLocks @inline(__always)
  static func isExpired(_ exchange: ExchangePointer) -> Bool {
    shim_load_acquire(controlWord(exchange)) & ExchangeControl.expiredBit != 0
  }

  /// Counts the miss, and says in the log whose it is, unless the route's last one was a moment ago. On the I/O thread;
  /// of the exchange, which may be with its handler, it reads only what stays as it is.
  static func reportMissedDeadline(_ exchange: ExchangePointer, _ deadline: RouteDeadlinePointer, isPending: Bool) {
    guard let context = exchange.pointee.context, let route = exchange.pointee.route,
      let count = deadline.pointee.countMissed(now: context.pointee.thread.now)
    else { return }
    let handlerRuns = shim_load_relaxed(handlerWord(exchange)) != 0
    let state =
      isPending ? "it is pending" : handlerRuns ? "the handler has not returned" : "the handler was not called yet"
    let others = count > 1 ? "; so were \(count - 1) more since the last such line" : ""
    context.pointee.log._withUnsafeGuaranteedRef { log in
      log.write(
        Int(MEWS_LEVEL_WARNING),
        "\(deadline.pointee.routeName): answered with 504 after \(deadline.pointee.milliseconds) ms, \(state)\(others)",
        source: route.pointee.pluginName.map { String(cString: $0) } ?? "mews")
    }
  }
}
