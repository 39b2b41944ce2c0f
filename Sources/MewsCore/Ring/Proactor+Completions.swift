import CMewsShims
import Glibc

extension Proactor {
  /// Submits what was armed and canceled, and waits for completions: one system call.
  ///
  /// - Parameter timeoutNanoseconds: how long to wait when there are none; 0 only looks, negative waits for ever.
  /// - Returns: 0 or an errno, as `Ring.enter`; there may be completions all the same.
  @_noLocks
  @discardableResult
  public func wait(timeoutNanoseconds: Int64) -> Int32 {
    let isAllSubmitted = state.pointee.firstDeferred == nil || submitDeferred()
    _ = state.pointee.ring.refillBuffers()
    return state.pointee.ring.enter(timeoutNanoseconds: isAllSubmitted ? timeoutNanoseconds : 0)
  }

  /// Tells operations the completions that there are now. What comes of them meanwhile is left for the next time, so
  /// that this ends.
  ///
  /// - Returns: how many completions there were; -1 when some are lost: none of those that are left is told then, but
  ///   by a recovery.
  @_noLocks
  @discardableResult
  public func tellCompletions() -> Int {
    state.pointee.ring.hasLost ? -1 : tellCompletions(of: state.pointee.ring)
  }

  /// Puts blocks into the ring in the place of those that were received into. Each wait does so, too.
  ///
  /// - Returns: false when the kernel has none left, and there are none.
  public func refillBuffers() -> Bool { state.pointee.ring.refillBuffers() }

  /// A scratch pad for several pieces to send, for a `prepare`; nil when all are in use: then it sends one piece.
  @_noLocks
  public func nextMessage() -> OpaquePointer? { state.pointee.ring.nextMessage() }

  @_noLocks
  func tellCompletions(of ring: Ring) -> Int {
    var event = shim_ring_event()
    var count = 0
    var left = ring.unread
    while left > 0, ring.nextEvent(&event) {
      tell(event, ring.takeBuffer(of: event))
      left &-= 1
      count &+= 1
    }
    return count
  }

  /// Tells an operation a completion. A block that nobody waits for goes back.
  @_noLocks
  func tell(_ event: shim_ring_event, _ block: BlockPointer?) {
    let index = UInt32(truncatingIfNeeded: event.data)
    guard index != 0, index < state.pointee.slotCount, let operation = slot(index).pointee.operation,
      slot(index).pointee.generation == UInt32(truncatingIfNeeded: event.data >> 32), operation.pointee.isArmed
    else {
      if let block { state.pointee.ring.giveBack(block) }
      return
    }
    complete(operation, RingCompletion(buffer: block, result: event.result, flags: event.flags))
  }

  /// The last completion leaves the operation unarmed: it may be armed anew, or freed, by `complete`.
  @_noLocks
  func complete(_ operation: RingOperationPointer, _ completion: RingCompletion) {
    if completion.isLast {
      // One that waits for an entry to be canceled with has ended by itself.
      if operation.pointee.state & RingOperation.Bits.deferred != 0 { removeDeferred(operation) }
      operation.pointee.state = 0
    }
    guard let complete = operation.pointee.complete else { return }
    _unsafePerformance { complete(operation, completion) }
  }
}
