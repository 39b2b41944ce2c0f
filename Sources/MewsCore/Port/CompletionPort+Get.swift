import CMewsShims

/// What a wait for several packets ended with. The other cases are those of `PortResult`.
public enum PortBatchResult {
  /// So many packets, at least one, are in the caller's array.
  case packets(Int)
  case timedOut
  case abandoned
  case closed
  case noMemory
  /// There is no room for a packet.
  case invalidArgument
}

extension CompletionPort {
  /// Gives back what this thread had from the port and takes the next packet, at once if there is one and the
  /// concurrency value allows, else by waiting for a poster's hand-off.
  ///
  /// - Parameter timeoutNanoseconds: how long to wait; 0 not at all, negative for ever.
  @_noLocks
  public func get(timeoutNanoseconds: Int64) -> PortResult {
    let thread = PortThread.current
    if thread.pointee.port != state, let failure = associate(thread) { return failure }
    state.pointee.lock.lock()
    state.pointee.queue.settle(thread)
    guard !state.pointee.queue.isClosed else {
      state.pointee.lock.unlock()
      leave()
      return .closed
    }
    if state.pointee.driver != nil && state.pointee.queue.isLookDue(mayWait: timeoutNanoseconds != 0) {
      return look(thread, timeoutNanoseconds)
    }
    return takeOrWait(thread, timeoutNanoseconds)
  }

  /// Takes the first packet, waits for one or gives up. Called with the lock held, leaves without it.
  @_noLocks @inline(__always)
  func takeOrWait(_ thread: PortThreadPointer, _ timeoutNanoseconds: Int64) -> PortResult {
    if let packet = state.pointee.queue.take(for: thread) {
      // There is something to claim only where counted and uncounted packets meet.
      let claimed = state.pointee.queue.claimWaiters()
      PortState.unlock(state)
      PortState.wake(claimed, of: state)
      thread.pointee.borrow(packet)
      return .packet(packet)
    }
    guard timeoutNanoseconds != 0 else {
      PortState.unlock(state)
      return .timedOut
    }
    state.pointee.queue.push(thread)
    let deadline = CompletionPort.deadline(after: timeoutNanoseconds)
    if state.pointee.driver != nil && state.pointee.queue.leader == nil {
      state.pointee.queue.leader = thread
      thread.pointee.isLeading = true
      thread.pointee.word.store(PortThread.leading, ordering: .relaxed)
      state.pointee.lock.unlock()
      return lead(thread, deadline)
    }
    thread.pointee.word.store(PortThread.parked, ordering: .relaxed)
    PortState.unlock(state)
    return park(thread, deadline)
  }

  /// Like `get`, and takes as many of the packets that are there as the array holds. It never waits to fill the array.
  ///
  /// The thread counts as one active thread, however many packets it holds: those it has not reached yet are out of
  /// reach for other threads while it blocks.
  ///
  /// - Parameters:
  ///   - packets: receives the packets, oldest first.
  ///   - count: how many the array holds, at least 1.
  ///   - timeoutNanoseconds: how long to wait for the first; 0 not at all, negative for ever.
  @_noLocks
  public func getMany(
    into packets: UnsafeMutablePointer<PacketPointer>, count: Int, timeoutNanoseconds: Int64
  ) -> PortBatchResult {
    guard count > 0 else { return .invalidArgument }
    switch get(timeoutNanoseconds: timeoutNanoseconds) {
    case .packet(let packet): packets.initialize(to: packet)
    case .timedOut: return .timedOut
    case .abandoned: return .abandoned
    case .closed: return .closed
    case .noMemory: return .noMemory
    }
    var taken = 1
    if count > 1 {
      let thread = PortThread.current
      state.pointee.lock.lock()
      while taken < count, let packet = state.pointee.queue.removeFirst() {
        (packets + taken).initialize(to: packet)
        thread.pointee.borrow(packet)
        taken &+= 1
      }
      state.pointee.queue.takenSinceLook &+= taken
      // What was behind these may need no slot.
      let claimed = state.pointee.queue.claimWaiters()
      PortState.unlock(state)
      PortState.wake(claimed, of: state)
    }
    return .packets(taken)
  }

  /// Sleeps until a poster or `close` releases the thread, until it has to lead, or until the time is over.
  @_noLocks
  func park(_ thread: PortThreadPointer, _ timeLimit: Int64) -> PortResult {
    var deadline = timeLimit
    while true {
      Interleaving.reach(Interleaving.load)
      let word = thread.pointee.word.load(ordering: .acquiring)
      if word == PortThread.released { return released(thread) }
      if word == PortThread.leading { return lead(thread, timeLimit) }
      let result = Futex.wait(on: thread.pointee.wordAddress, while: PortThread.parked, until: deadline)
      guard result == ETIMEDOUT else { continue }
      if withdraw(thread) { return .timedOut }
      // A poster has claimed this thread and is about to store the word: the packet is ours, time or not.
      deadline = -1
    }
  }

  /// What a thread returns with that somebody has released.
  @_noLocks
  func released(_ thread: PortThreadPointer) -> PortResult {
    if thread.pointee.isLeading { stopLeading(thread) }
    guard let packet = thread.pointee.packet else {
      leave()
      return .abandoned
    }
    thread.pointee.packet = nil
    thread.pointee.borrow(packet)
    return .packet(packet)
  }

  /// Takes the thread off the stack of waiters. Returns false when somebody has claimed it already.
  @_noLocks
  private func withdraw(_ thread: PortThreadPointer) -> Bool {
    state.pointee.lock.lock()
    guard thread.pointee.isWaiting else {
      state.pointee.lock.unlock()
      return false
    }
    state.pointee.queue.remove(thread)
    // It may have been made the leader as its time ran out.
    let successor = thread.pointee.isLeading ? state.pointee.queue.replaceLeader(thread) : nil
    PortState.unlock(state)
    CompletionPort.wakeLeader(successor)
    return true
  }

  /// A time on the monotonic clock; negative for never.
  @_noLocks
  static func deadline(after nanoseconds: Int64) -> Int64 {
    guard nanoseconds >= 0 else { return -1 }
    let (sum, overflows) = MonotonicClock.nanoseconds().addingReportingOverflow(nanoseconds)
    return overflows ? -1 : sum
  }
}
