import CMewsShims
import Synchronization

/// The epoll backend: what the leader does while it waits.
extension OperationPortState {
  static let wait: @convention(c) (UnsafeMutableRawPointer, Int64, UnsafeMutablePointer<shim_packet_chain>) -> Void = {
    context, deadline, completed in
    let state = context.assumingMemoryBound(to: OperationPortState.self)
    OperationPortState.drive(state, deadline, &completed.pointee)
  }

  static let interrupt: @convention(c) (UnsafeMutableRawPointer) -> Void = { context in
    context.assumingMemoryBound(to: OperationPortState.self).pointee.interruption.signal()
  }

  static let release: @convention(c) (UnsafeMutableRawPointer) -> Void = { context in
    let state = context.assumingMemoryBound(to: OperationPortState.self)
    state.pointee.parts.destroy()
    state.deinitialize(count: 1)
    free(state)
  }

  /// One wait, the operations that it makes possible, and the timers that are due after it.
  @_noLocks
  private static func drive(
    _ state: UnsafeMutablePointer<OperationPortState>, _ deadline: Int64, _ completed: inout shim_packet_chain
  ) {
    let timers = state.pointee.parts.timers
    // Before the look at the timers: either this thread sees a timer that is being started, or the one that starts it
    // sees that this thread waits.
    Interleaving.reach(Interleaving.store)
    state.pointee.isWaiting.store(true, ordering: .sequentiallyConsistent)
    let timeout = timeoutMilliseconds(deadline, timerDeadline: timers.nextDeadline)
    let count = state.pointee.poll.wait(timeoutMilliseconds: timeout)
    state.pointee.isWaiting.store(false, ordering: .relaxed)
    var index = 0
    while index < Int(count) {
      let (data, ready) = state.pointee.poll.event(index)
      if data != interruptionData { tell(state, Handle(rawValue: data), ready, &completed) }
      index &+= 1
    }
    if timers.nextDeadline != UInt64.max { timers.advance(&completed) }
  }

  /// Milliseconds for epoll, rounded up: to wait too short would be to wait again.
  @_noLocks
  private static func timeoutMilliseconds(_ deadline: Int64, timerDeadline: UInt64) -> Int32 {
    guard deadline != 0 else { return 0 }
    guard deadline > 0 || timerDeadline != UInt64.max else { return -1 }
    let now = MonotonicClock.nanoseconds()
    var nanoseconds = deadline > 0 ? deadline &- now : Int64.max
    if timerDeadline != UInt64.max {
      let (timer, overflows) = Int64(truncatingIfNeeded: timerDeadline).multipliedReportingOverflow(by: 1_000_000)
      if !overflows { nanoseconds = min(nanoseconds, timer &- now) }
    }
    guard nanoseconds > 0 else { return 0 }
    return Int32(truncatingIfNeeded: min((nanoseconds &- 1) / 1_000_000 &+ 1, Int64(Int32.max)))
  }

  /// Tells a handle that its descriptor is ready. An event that was under way when the handle closed finds another
  /// generation; one that was when the handle was left to the ring is nobody's business.
  @_noLocks
  static func tell(
    _ state: UnsafeMutablePointer<OperationPortState>, _ handle: Handle, _ ready: UInt32,
    _ completed: inout shim_packet_chain
  ) {
    guard let slot = state.pointee.parts.table.slot(handle.index) else { return }
    slot.pointee.lock.lock()
    if slot.pointee.entry.isWatched && slot.pointee.entry.isOpen && slot.pointee.entry.generation == handle.generation {
      slot.pointee.entry.note(ready)
      while slot.pointee.entry.mayRead, let operation = slot.pointee.entry.reads.first {
        guard let packet = OperationAttempt.complete(operation, slot) else { break }
        slot.pointee.entry.reads.remove(operation)
        completed.append(packet)
      }
      while slot.pointee.entry.mayWrite, let operation = slot.pointee.entry.writes.first {
        guard let packet = OperationAttempt.complete(operation, slot) else { break }
        slot.pointee.entry.writes.remove(operation)
        completed.append(packet)
      }
    }
    slot.pointee.lock.unlock()
  }
}
