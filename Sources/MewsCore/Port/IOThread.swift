import CMewsShims
import Glibc
import Synchronization

/// Somebody who hears of a descriptor's readiness: the first field of a connection or listener, which `onEvents` casts
/// the pointer back to. `descriptor` is negative while nobody listens.
public typealias EventSource = shim_event_source
public typealias EventSourcePointer = UnsafeMutablePointer<EventSource>

/// A thread that waits for readiness, timers and packets, and runs what belongs to them.
///
/// It is one for everybody but the threads of the system: its work is done by one of them at a time, and by another
/// from then on when a handler does not return. `IORunnerPool` has them.
///
/// It works in passes: wait; run the nodes that were put off to this pass; tell event sources; run the packets of the
/// mailbox; run the timers that are due; run the nodes of the pass's end; run the deferred nodes. Everything a pass
/// does shares one reading of the clock, one wait and one flush a connection.
///
/// Functions are for the thread itself unless they say otherwise. Nothing that runs on it may block, but for handlers:
/// packets that come by `runHandler`.
public struct IOThread: Equatable, @unchecked Sendable {
  let state: UnsafeMutablePointer<IOThreadState>

  /// Prepares a thread; it does not run yet. Any thread may call this.
  ///
  /// - Parameter hooks: called on the thread: before the first pass, and after the last.
  /// - Returns: the thread, to be started by an `IORunnerPool` and released with `destroy()`.
  public static func create(hooks: IOThreadHooks) throws(SystemError) -> IOThread {
    var isComplete = false
    let poll = try EventPoll.create()
    defer { if !isComplete { poll.destroy() } }
    let wake = try WakeDescriptor.create()
    defer { if !isComplete { wake.destroy() } }
    let error = poll.add(wake.descriptor, data: IOThreadState.wakeData)
    guard error == 0 else { throw SystemError(call: "epoll_ctl", code: error) }
    guard let wheel = TimerWheel.create(now: monotonicMilliseconds()) else {
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    guard let memory = aligned_alloc(128, (MemoryLayout<IOThreadState>.size + 127) & ~127) else {
      wheel.destroy()
      throw SystemError(call: "aligned_alloc", code: ENOMEM)
    }
    let state = memory.bindMemory(to: IOThreadState.self, capacity: 1)
    state.initialize(to: IOThreadState(poll: poll, wake: wake, wheel: wheel, hooks: hooks))
    isComplete = true
    return IOThread(state: state)
  }

  /// Ends the thread after the pass it is in, or after one more. Any thread may call this, any number of times.
  public func stop() {
    let wasStopping = state.pointee.isStopping.exchange(true, ordering: .acquiringAndReleasing)
    if !wasStopping { state.pointee.wake.signal() }
  }

  /// Releases the thread's memory and descriptors, after its pool's `join`. Event sources keep their descriptors.
  ///
  /// - Returns: packets that were posted too late to be run, oldest first, chained through `next`.
  @discardableResult
  public func destroy() -> PacketPointer? {
    let unhandled = state.pointee.mailbox.takeAll()
    state.pointee.poll.destroy()
    state.pointee.wake.destroy()
    state.pointee.wheel.destroy()
    state.deinitialize(count: 1)
    free(state)
    return unhandled
  }
}

extension IOThread {
  /// Milliseconds on the monotonic clock, as of the beginning of this pass.
  public var now: UInt64 {
    @_noLocks get { state.pointee.now }
  }

  /// Milliseconds on the clock of `now`, read this moment. Any thread may call this.
  public static var clock: UInt64 {
    @_noLocks get { monotonicMilliseconds() }
  }

  /// Has the thread run a packet's action. Any thread may call this. The packet is lent until its action runs; packets
  /// of one poster are run in their order.
  @_noLocks
  public func post(_ packet: PacketPointer) {
    if state.pointee.mailbox.push(packet) { state.pointee.wake.signal() }
  }

  /// Begins to tell the source of its descriptor's readiness: once now, and then on every change, for as long as it is
  /// not removed. The source stays at its address meanwhile.
  ///
  /// - Returns: 0 or an errno.
  @_noLocks
  public func add(_ source: EventSourcePointer) -> Int32 {
    source.pointee.interest = ReadyEvents.all
    if let proactor = state.pointee.proactor { return proactor.watch(source) }
    return state.pointee.poll.add(source.pointee.descriptor, data: UInt64(UInt(bitPattern: source)))
  }

  /// Begins to tell the source of a listening socket that connections have come. Of several threads that watch the
  /// socket, the kernel tells one or a few, not all.
  ///
  /// - Returns: 0 or an errno.
  @_noLocks
  public func addListener(_ source: EventSourcePointer) -> Int32 {
    source.pointee.interest = ReadyEvents.readable | ReadyEvents.exclusive
    if let proactor = state.pointee.proactor { return proactor.watch(source) }
    return state.pointee.poll.addListener(source.pointee.descriptor, data: UInt64(UInt(bitPattern: source)))
  }

  /// Tells the source nothing more, not even the events of this pass, and leaves its descriptor open. The source's
  /// memory must stay until the pass is over; `deferRelease` is the way to free it.
  ///
  /// - Returns: the descriptor, which is now the caller's.
  @_noLocks
  public func remove(_ source: EventSourcePointer) -> Int32 {
    let descriptor = source.pointee.descriptor
    source.pointee.descriptor = -1
    guard descriptor >= 0 else { return descriptor }
    if let proactor = state.pointee.proactor {
      proactor.unwatch(source)
    } else {
      state.pointee.poll.delete(descriptor)
    }
    return descriptor
  }

  /// Like `remove`, and closes the descriptor.
  @_noLocks
  public func close(_ source: EventSourcePointer) {
    let descriptor = remove(source)
    guard descriptor >= 0 else { return }
    // A ring has the socket open until it sees that it is not to be watched any more; the peer must not wait for that.
    if case .some = state.pointee.proactor { shim_socket_shut_down(descriptor) }
    _ = shim_descriptor_close(descriptor)
  }

  /// Starts a timer, or starts it anew, for a time on the clock of `now`. Its action runs in the first pass at or after
  /// it.
  @_noLocks
  public func start(_ timer: TimerPointer, deadline: UInt64) {
    state.pointee.wheel.start(timer, deadline: deadline)
  }

  /// Stops a timer. Returns false when it was not started.
  @_noLocks
  @discardableResult
  public func cancel(_ timer: TimerPointer) -> Bool {
    state.pointee.wheel.cancel(timer)
  }

  /// Runs a packet's action in this pass, where handlers run: behind events, packets and timers, before what is put off
  /// to the end. Handlers beyond a pass's share run in the next one.
  @_noLocks
  public func runHandler(_ packet: PacketPointer) {
    state.pointee.handlers.append(packet)
  }

  /// For an action of `runHandler` that has come to its end: whether a further packet's can follow it there and then,
  /// within the pass's share. It counts as one of them, and the packet is in no list.
  @_noLocks @inline(__always)
  public func runsHandlerAtOnce(_ packet: PacketPointer) -> Bool {
    guard state.pointee.handlersLeft > 0 else { return false }
    state.pointee.handlersLeft &-= 1
    state.pointee.runningPacket = packet
    return true
  }

  /// How the thread is watched that does the work now.
  public var watch: RunWatchPointer {
    @_noLocks get { state.pointee.watch }
  }

  /// Runs a node once at the end of this pass, when all events, packets and timers are done. Nodes queued by such a
  /// node run in the same pass: for work that may come back to itself there is `runInNextPass`.
  @_noLocks
  public func runAtPassEnd(_ node: PassNodePointer) {
    state.pointee.passEnd.append(node)
  }

  /// Runs a node once before the handlers of this pass, or at its end, whichever comes next: for what other threads can
  /// go on with meanwhile.
  @_noLocks
  public func runBeforeHandlers(_ node: PassNodePointer) {
    state.pointee.handOver.append(node)
  }

  /// Runs a node once at the beginning of the next pass, which then does not sleep. For work that has had its share of
  /// this pass.
  @_noLocks
  public func runInNextPass(_ node: PassNodePointer) {
    state.pointee.nextPass.append(node)
  }

  /// Runs a node once after everything else in this pass, when no event of it can be told any more: the place to free
  /// event sources.
  @_noLocks
  public func deferRelease(_ node: PassNodePointer) {
    state.pointee.deferred.append(node)
  }
}

/// Milliseconds on the clock that I/O threads go by.
@_noLocks
func monotonicMilliseconds() -> UInt64 {
  UInt64(truncatingIfNeeded: MonotonicClock.nanoseconds() / 1_000_000)
}
