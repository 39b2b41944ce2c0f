import CMewsShims

/// Leader and followers: of the threads that wait on a port with a driver, one waits in the driver.
///
/// The leader stays on the stack of waiters, where posters can claim it like any other; they then interrupt the driver
/// where they would have woken a sleeper. It is succeeded by the waiter that came first, which posters reach last: so
/// what is posted goes to threads that sleep, and the leader stays where it is.
extension CompletionPort {
  /// Waits in the driver and hands on what it brings, until the thread is released itself or the time is over.
  @_noLocks
  func lead(_ thread: PortThreadPointer, _ deadline: Int64) -> PortResult {
    guard let driver = state.pointee.driver else { return park(thread, deadline) }
    while true {
      let completed = driver.wait(deadline: deadline)
      let isOver = deadline >= 0 && completed.first == nil && MonotonicClock.nanoseconds() >= deadline
      state.pointee.lock.lock()
      guard thread.pointee.isWaiting else {
        let claimed = handOver(completed)
        awaitRelease(thread)
        wake(claimed)
        return released(thread)
      }
      if completed.first != nil {
        // Whoever brings packets is awake, and takes the first: it counts as the waiter that came last.
        state.pointee.queue.remove(thread)
        state.pointee.queue.append(completed)
        if let packet = state.pointee.queue.take(for: thread) { return leave(thread, with: packet) }
        state.pointee.queue.push(thread)
      }
      if isOver {
        state.pointee.queue.remove(thread)
        let successor = state.pointee.queue.replaceLeader(thread)
        PortState.unlock(state)
        CompletionPort.wakeLeader(successor)
        return .timedOut
      }
      PortState.unlock(state)
    }
  }

  /// Looks for input and output once without waiting, then goes on like `get`. Called with the lock held.
  @_noLocks
  func look(_ thread: PortThreadPointer, _ timeoutNanoseconds: Int64) -> PortResult {
    guard let driver = state.pointee.driver else { return takeOrWait(thread, timeoutNanoseconds) }
    state.pointee.queue.leader = thread
    thread.pointee.isLeading = true
    state.pointee.lock.unlock()
    let completed = driver.wait(deadline: 0)
    state.pointee.lock.lock()
    state.pointee.queue.append(completed)
    let isClosed = state.pointee.queue.isClosed
    let packet = isClosed ? nil : state.pointee.queue.take(for: thread)
    if packet == nil && !isClosed && timeoutNanoseconds != 0 && state.pointee.queue.waiters == nil {
      thread.pointee.isLeading = false
      state.pointee.queue.leader = nil
      return takeOrWait(thread, timeoutNanoseconds)
    }
    if let packet { return leave(thread, with: packet) }
    let successor = state.pointee.queue.replaceLeader(thread)
    if isClosed { state.pointee.leaderChanges.add(1, ordering: .relaxed) }
    let claimed = state.pointee.queue.claimWaiters()
    if !isClosed && timeoutNanoseconds != 0 {
      // Others wait, and one of them leads now.
      thread.pointee.word.store(PortThread.parked, ordering: .relaxed)
      state.pointee.queue.push(thread)
      PortState.unlock(state)
      CompletionPort.wakeLeader(successor)
      wake(claimed)
      return park(thread, CompletionPort.deadline(after: timeoutNanoseconds))
    }
    PortState.unlock(state)
    CompletionPort.wakeLeader(successor)
    wake(claimed)
    guard isClosed else { return .timedOut }
    finishLeadingClosedPort()
    leave()
    return .abandoned
  }

  /// Ends the leadership of a thread that was released.
  @_noLocks
  func stopLeading(_ thread: PortThreadPointer) {
    state.pointee.lock.lock()
    let successor = state.pointee.queue.replaceLeader(thread)
    let isClosed = state.pointee.queue.isClosed
    if isClosed { state.pointee.leaderChanges.add(1, ordering: .relaxed) }
    state.pointee.lock.unlock()
    CompletionPort.wakeLeader(successor)
    if isClosed { finishLeadingClosedPort() }
  }

  /// Waits until no thread is in the driver. Only after `abandon`.
  func waitForLeader() {
    while true {
      state.pointee.lock.lock()
      let isLed = state.pointee.queue.leader != nil
      let change = state.pointee.leaderChanges.load(ordering: .relaxed)
      state.pointee.lock.unlock()
      guard isLed else { return }
      _ = Futex.wait(on: leaderChangesAddress, while: change, until: -1)
    }
  }

  /// Has a successor that sleeps begin to lead.
  @_noLocks
  static func wakeLeader(_ successor: PortThreadPointer?) {
    if let successor { Futex.wakeOne(successor.pointee.wordAddress) }
  }

  /// Ends the leadership of a thread that has a packet, and releases others for the packets behind it. Called with the
  /// lock held.
  @_noLocks
  private func leave(_ thread: PortThreadPointer, with packet: PacketPointer) -> PortResult {
    let successor = state.pointee.queue.replaceLeader(thread)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    CompletionPort.wakeLeader(successor)
    wake(claimed)
    thread.pointee.borrow(packet)
    return .packet(packet)
  }

  /// Queues what a thread brings that was released meanwhile. Called with the lock held, leaves without it.
  @_noLocks
  private func handOver(_ completed: shim_packet_chain) -> PortThreadPointer? {
    state.pointee.queue.append(completed)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    return claimed
  }

  /// Waits until whoever claimed the leader has written its outcome, which is a matter of a few instructions.
  @_noLocks
  private func awaitRelease(_ thread: PortThreadPointer) {
    Interleaving.reach(Interleaving.store)
    _ = thread.pointee.word.compareExchange(
      expected: PortThread.leading, desired: PortThread.parked, ordering: .acquiringAndReleasing)
    while thread.pointee.word.load(ordering: .acquiring) == PortThread.parked {
      _ = Futex.wait(on: thread.pointee.wordAddress, while: PortThread.parked, until: -1)
    }
  }

  @_noLocks
  private func finishLeadingClosedPort() {
    Futex.wakeOne(leaderChangesAddress)
  }

  private var leaderChangesAddress: UnsafeRawPointer {
    @_noLocks get { withUnsafePointer(to: state.pointee.leaderChanges) { UnsafeRawPointer($0) } }
  }
}

extension PortQueue {
  /// How many packets are taken in a row before input and output are looked at, so that posts cannot keep them out.
  static var packetsBetweenLooks: Int { @_noLocks get { 64 } }

  /// Whether a thread that begins a wait has to look at input and output before it goes on.
  @_noLocks @inline(__always)
  func isLookDue(mayWait: Bool) -> Bool {
    guard leader == nil else { return false }
    return takenSinceLook >= Self.packetsBetweenLooks || (!mayWait && (first == nil || active >= concurrency))
  }

  /// Queues what input and output have brought.
  @_noLocks @inline(__always)
  mutating func append(_ completed: shim_packet_chain) {
    takenSinceLook = 0
    guard let first = completed.first, let last = completed.last else { return }
    append(first: first, last: last, count: completed.count)
  }

  /// Makes the waiter that came first the leader in the place of the thread.
  ///
  /// - Returns: it, to be woken after unlocking. Only its address is good for that then.
  @_noLocks
  mutating func replaceLeader(_ thread: PortThreadPointer) -> PortThreadPointer? {
    thread.pointee.isLeading = false
    leader = oldestWaiter
    guard let successor = oldestWaiter else { return nil }
    successor.pointee.isLeading = true
    successor.pointee.word.store(PortThread.leading, ordering: .releasing)
    return successor
  }
}
