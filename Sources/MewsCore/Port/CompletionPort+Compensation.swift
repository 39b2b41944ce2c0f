/// What the packets that are left over on a port wait for, at one moment.
struct PortBacklog {
  /// Whether any packet waits.
  var isWaiting = false
  /// Counted packets that would be handed out if threads waited for them.
  var counted = 0
  /// Uncounted ones.
  var uncounted = 0
}

/// For who watches the port's threads from outside: slots change hands on behalf of the thread that holds them.
///
/// The threads that are named here must not end meanwhile. All functions are for any thread.
extension CompletionPort {
  /// What the oldest `limit` packets wait for.
  func backlog(limit: Int) -> PortBacklog {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    return state.pointee.queue.backlog(limit: limit)
  }

  /// Whether the thread counts as active.
  func isCounted(_ thread: PortThreadPointer) -> Bool {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    return holdsSlot(thread)
  }

  /// Acts as if the thread had begun a blocking scope: hands its slot to another. It has a slot again when it asks for
  /// its next packet, or by `reclaimSlot`. Scopes that it begins before that do nothing.
  ///
  /// - Parameter condition: asked with the port locked. What the thread did before it came back to the port is seen.
  /// - Returns: false when nothing was done: no packet waits, the thread does not count as active, or the condition
  ///   does not hold.
  func releaseSlot(of thread: PortThreadPointer, if condition: () -> Bool) -> Bool {
    state.pointee.lock.lock()
    guard state.pointee.queue.first != nil, holdsSlot(thread), condition() else {
      state.pointee.lock.unlock()
      return false
    }
    thread.pointee.holdsSlot = false
    state.pointee.queue.active &-= 1
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    PortState.wake(claimed, of: state)
    return true
  }

  /// Acts as if a thread whose slot `releaseSlot` took had ended its blocking scope: it counts as active again, even if
  /// that makes one more than the concurrency value.
  ///
  /// - Parameter condition: asked with the port locked: whether the thread has not come back to the port since.
  func reclaimSlot(of thread: PortThreadPointer, if condition: () -> Bool) -> Bool {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    guard thread.pointee.port == state, !thread.pointee.holdsSlot, condition() else { return false }
    thread.pointee.holdsSlot = true
    state.pointee.queue.active &+= 1
    return true
  }

  /// Has the watcher woken, once, as soon as packets are left over that no thread could be handed.
  ///
  /// - Parameter watcher: a record of its own, whose word says `parked`; it stays where it is until it is woken, or
  ///   `unwatch` has returned.
  /// - Returns: false when packets wait already. The watcher is not woken then.
  func watch(_ watcher: PortThreadPointer) -> Bool {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    guard state.pointee.queue.first == nil else { return false }
    state.pointee.queue.watcher = watcher
    return true
  }

  /// Forgets the watcher.
  func unwatch() {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    state.pointee.queue.watcher = nil
  }

  /// Whether the thread has a slot of this port, and not of another that it waited on since. Called with the lock held.
  private func holdsSlot(_ thread: PortThreadPointer) -> Bool {
    thread.pointee.port == state && thread.pointee.holdsSlot
  }
}

extension PortQueue {
  fileprivate func backlog(limit: Int) -> PortBacklog {
    var backlog = PortBacklog()
    backlog.isWaiting = first != nil
    var freeSlots = concurrency &- active
    var next = first
    var seen = 0
    while let packet = next, seen < limit {
      if packet.pointee.isUncounted != 0 {
        backlog.uncounted &+= 1
      } else if freeSlots > 0 {
        freeSlots &-= 1
        backlog.counted &+= 1
      } else {
        break
      }
      next = packet.pointee.next
      seen &+= 1
    }
    return backlog
  }
}
