import CMews
import MewsCore

extension IOContext {
  /// How often the log hears of losses, in milliseconds.
  private static var lossReportMilliseconds: UInt64 { 1_000 }

  /// The kernel has lost completions of the thread's ring. Bytes may be missing from any connection that the ring
  /// receives for, so those are closed, and what was received of them and not told is not looked at. Connections that
  /// the ring only watches read for themselves, and go on.
  static func didLoseCompletions(_ context: IOContextPointer) {
    var count = 0
    if context.pointee.hasRingConnections {
      forEachConnection(context) { connection in
        guard connection.pointee.phase != .closed else { return }
        connection.pointee.transport.abort(connection)
        count += 1
      }
    }
    let thread = context.pointee.thread
    if let reportTime = context.pointee.lossReportTime, thread.now < reportTime + lossReportMilliseconds { return }
    context.pointee.lossReportTime = thread.now
    context.pointee.log._withUnsafeGuaranteedRef { log in
      log.write(
        Int(MEWS_LEVEL_ERROR),
        "the kernel has lost completions of io_uring for want of memory; connections closed: \(count)")
    }
  }
}
