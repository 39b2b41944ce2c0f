import CMewsShims
import Glibc

extension CompletionPort {
  /// Ends the calling thread's association with this port: its slot is free for another, and packets of the port's own
  /// memory that it received are no longer valid. A thread that exits, or waits on another port, leaves by itself.
  /// Nothing happens when the thread is not associated with this port.
  @_noLocks
  public func leave() {
    let thread = PortThread.current
    guard thread.pointee.port == state else { return }
    CompletionPort.leave(thread)
  }

  /// Says that the calling thread is about to block: it gives up its slot, so that another thread may be released in
  /// its place. Scopes nest; only the outermost counts. Nothing happens on a thread that is not active on this port.
  @_noLocks
  public func blockingBegin() {
    let thread = PortThread.current
    guard thread.pointee.port == state else { return }
    if thread.pointee.blockingDepth > 0 {
      thread.pointee.blockingDepth &+= 1
      return
    }
    state.pointee.lock.lock()
    // Another thread may have taken the slot away already: `releaseSlot`.
    guard thread.pointee.holdsSlot else {
      state.pointee.lock.unlock()
      return
    }
    thread.pointee.blockingDepth = 1
    thread.pointee.holdsSlot = false
    state.pointee.queue.active &-= 1
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    PortState.wake(claimed, of: state)
  }

  /// Says that the calling thread no longer blocks. It is active again at once, even if that makes one more than the
  /// concurrency value: no other thread is released until the excess is worked off.
  @_noLocks
  public func blockingEnd() {
    let thread = PortThread.current
    guard thread.pointee.port == state, thread.pointee.blockingDepth > 0 else { return }
    thread.pointee.blockingDepth &-= 1
    guard thread.pointee.blockingDepth == 0 else { return }
    state.pointee.lock.lock()
    // Another thread may have given it a slot already: `reclaimSlot`.
    if !thread.pointee.holdsSlot {
      thread.pointee.holdsSlot = true
      state.pointee.queue.active &+= 1
    }
    PortState.unlock(state)
  }

  /// Makes the calling thread one of this port's. Returns what `get` has to answer if that cannot be.
  @_noLocks @inline(never)
  func associate(_ thread: PortThreadPointer) -> PortResult? {
    if thread.pointee.port != nil { CompletionPort.leave(thread) }
    if !thread.pointee.isExitWatched {
      guard shim_at_thread_exit(thread, leaveAtThreadExit) == 0 else { return .noMemory }
      thread.pointee.isExitWatched = true
    }
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    guard !state.pointee.queue.isClosed else { return .closed }
    state.pointee.queue.associatedThreads &+= 1
    thread.pointee.port = state
    return nil
  }

  /// Undoes `associate`, and frees a destroyed port that this was the last thread of.
  @_noLocks
  static func leave(_ thread: PortThreadPointer) {
    guard let state = thread.pointee.port else { return }
    thread.pointee.port = nil
    // In the child of a fork the lock may be held by a thread that does not exist there.
    if let driver = state.pointee.driver, driver.isInChild { return }
    state.pointee.lock.lock()
    state.pointee.queue.settle(thread)
    let claimed = state.pointee.queue.claimWaiters()
    state.pointee.queue.associatedThreads &-= 1
    let isLast = state.pointee.queue.isDestroyed && state.pointee.queue.associatedThreads == 0
    PortState.unlock(state)
    PortState.wake(claimed, of: state)
    if isLast { _unsafePerformance { release(state) } }
  }
}

/// Runs on a thread that exits, with its record.
private func leaveAtThreadExit(_ record: UnsafeMutableRawPointer?) {
  guard let thread = record?.assumingMemoryBound(to: PortThread.self) else { return }
  thread.pointee.isExitWatched = false
  CompletionPort.leave(thread)
}
