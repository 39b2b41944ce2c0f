import CMewsShims
import Glibc

extension IOThread {
  /// Whether the thread waits with an io_uring. On the thread, from its `start` hook on.
  public var hasRing: Bool { state.pointee.proactor != nil }

  /// What the thread's operations are armed with; nil where it has epoll. On the thread, from its `start` hook on.
  public var proactor: Proactor? { state.pointee.proactor }

  /// Submits what was armed and canceled, and tells operations what is complete, in the middle of a pass.
  public func flushRing() {
    guard let proactor = state.pointee.proactor else { return }
    proactor.wait(timeoutNanoseconds: 0)
    IOThreadState.tellOperations(state, proactor)
  }
}

extension IOThreadState {
  /// Has the thread wait with a ring. It stays with epoll when memory is exhausted.
  static func startProactor(_ state: Pointer, _ ring: Ring) {
    guard let proactor = Proactor.create(ring: ring) else { return }
    let wake = withUnsafeMutablePointer(to: &state.pointee.wakeSource) { $0 }
    wake.pointee.interest = ReadyEvents.readable
    // The table's first slot: there is room.
    guard proactor.watch(wake) == 0 else { return proactor.destroy() }
    state.pointee.proactor = proactor
  }

  /// Whether another thread could go on with the work of one that is stuck in a handler. Any thread may ask while it
  /// is.
  ///
  /// What the kernel has received, and found no room to tell, nobody but the ring's thread can have; nor can anybody
  /// else end what is in flight when completions are lost.
  static func mayBeAdopted(_ state: Pointer) -> Bool {
    guard let proactor = state.pointee.proactor else { return true }
    return !proactor.ring.hasOverflown && !proactor.ring.hasLost
  }

  /// Tells operations what is complete.
  @_noLocks
  static func tellOperations(_ state: Pointer, _ proactor: Proactor) {
    if proactor.tellCompletions() < 0 { _unsafePerformance { recover(state, proactor) } }
  }

  /// Has the thread go on when the kernel has lost completions.
  @inline(never)
  private static func recover(_ state: Pointer, _ proactor: Proactor) {
    proactor.beginRecovery()
    state.pointee.hooks.lost?(state.pointee.hooks.context)
    // In the next pass again: until then the ring is not waited for.
    if !proactor.finishRecovery() { usleep(1000) }
  }

  /// Ends what is still armed, so that the ring lets go of the descriptors.
  static func endProactor(_ state: Pointer) {
    guard let proactor = state.pointee.proactor else { return }
    withUnsafeMutablePointer(to: &state.pointee.wakeSource) { proactor.unwatch($0) }
    proactor.wait(timeoutNanoseconds: 0)
    proactor.tellCompletions()
    proactor.destroy()
    state.pointee.proactor = nil
  }
}

// MARK: Readiness

extension shim_event_source {
  /// A source that is not told anything yet.
  public init(
    descriptor: Int32, onEvents: @escaping @convention(c) (EventSourcePointer, _ events: UInt32) -> Void
  ) {
    self.init(
      descriptor: descriptor, interest: 0, onEvents: onEvents, poll: RingOperation(prepare: nil, complete: nil),
      proactor: nil)
  }
}

/// Event sources on a ring: each has one operation that tells of every change of readiness, as an edge of epoll does.
extension Proactor {
  /// Begins to tell the source of the events of its interest.
  ///
  /// - Returns: 0 or `ENOMEM`.
  @_noLocks
  func watch(_ source: EventSourcePointer) -> Int32 {
    source.pointee.proactor = UnsafeMutableRawPointer(state)
    source.pointee.poll.prepare = { operation, entry in Proactor.prepare(Proactor.source(operation), entry) }
    source.pointee.poll.complete = { operation, completion in Proactor.tell(Proactor.source(operation), completion) }
    let error = attach(Self.poll(source))
    if error == 0 { arm(Self.poll(source)) }
    return error
  }

  /// Tells the source nothing more. The ring keeps the descriptor open until the end of the pass; a listening socket,
  /// which would take connections meanwhile, only while this runs.
  @_noLocks
  func unwatch(_ source: EventSourcePointer) {
    detach(Self.poll(source))
    if source.pointee.interest & ReadyEvents.writable == 0 { wait(timeoutNanoseconds: 0) }
  }

  @_noLocks
  private static func prepare(_ source: EventSourcePointer, _ entry: RingEntry) {
    // An operation that takes the place of another one cannot rely on being the one that is woken: the other one may
    // lie in the ring of a thread that is stuck, and be woken in its stead.
    if let state = source.pointee.proactor?.assumingMemoryBound(to: State.self), state.pointee.wasAdopted {
      source.pointee.interest &= ~ReadyEvents.exclusive
    }
    shim_entry_poll(entry, source.pointee.descriptor, source.pointee.interest)
  }

  @_noLocks
  private static func tell(_ source: EventSourcePointer, _ completion: RingCompletion) {
    guard let state = source.pointee.proactor?.assumingMemoryBound(to: State.self) else { return }
    // It ends by itself where the kernel is short of memory or of room for completions, and with everything else when
    // completions are lost. Armed anew, it tells of what is ready.
    let hasLapsed = completion.result == -ENOMEM || completion.result == -ECANCELED || completion.result == -EBADR
    if completion.isLast && (completion.result >= 0 || hasLapsed) { Proactor(state: state).arm(poll(source)) }
    guard completion.result != 0, !hasLapsed, let onEvents = source.pointee.onEvents else { return }
    let failed = ReadyEvents.error | ReadyEvents.hangup
    let events = completion.result > 0 ? UInt32(bitPattern: completion.result) : failed
    _unsafePerformance { onEvents(source, events) }
  }

  @_noLocks @inline(__always)
  private static func poll(_ source: EventSourcePointer) -> RingOperationPointer {
    withUnsafeMutablePointer(to: &source.pointee.poll) { $0 }
  }

  /// The source that an operation is part of.
  @_noLocks @inline(__always)
  private static func source(_ operation: RingOperationPointer) -> EventSourcePointer {
    (UnsafeMutableRawPointer(operation) - pollOffset).assumingMemoryBound(to: EventSource.self)
  }

  /// Where the operation lies in a source: behind the descriptor, the interest and the function.
  static var pollOffset: Int { @_noLocks @inline(__always) get { 16 } }
}
