import CMewsShims
import Glibc
import Synchronization

/// The memory behind an `IOThread`. What other threads change comes last, on cache lines of its own.
struct IOThreadState: ~Copyable {
  var now: UInt64 = 0
  /// What the thread waits for events with, unless it has a ring.
  let poll: EventPoll
  /// What it waits with where its runners have rings: on the ring of the present one.
  var proactor: Proactor?
  let wake: WakeDescriptor
  var wakeSource: EventSource
  let wheel: TimerWheel
  var nextPass = PassList()
  /// Run before the handlers of a pass, and at its end.
  var handOver = PassList()
  var passEnd = PassList()
  var deferred = PassList()
  /// Handlers of this pass.
  var handlers = PacketList()
  /// How many handlers this pass may still run.
  var handlersLeft = 0
  /// The packet whose handler runs, or ran last.
  var runningPacket: PacketPointer?
  /// How the thread that does the work is watched; a watch of its own before there is one.
  var watch: RunWatchPointer
  private let ownWatch: RunWatchPointer
  private let alwaysWatched: UnsafeMutablePointer<UInt32>
  let hooks: IOThreadHooks

  private let padding = InlineArray<16, UInt64>(repeating: 0)
  let mailbox = Mailbox()
  let isStopping = Atomic<Bool>(false)

  /// The data word of the wake descriptor: nil as an event source.
  static var wakeData: UInt64 { 0 }

  init(poll: EventPoll, wake: WakeDescriptor, wheel: TimerWheel, hooks: IOThreadHooks) {
    self.poll = poll
    self.wake = wake
    wakeSource = EventSource(descriptor: wake.descriptor, onEvents: { _, _ in })
    self.wheel = wheel
    self.hooks = hooks
    alwaysWatched = .allocate(capacity: 1)
    alwaysWatched.initialize(to: 1)
    ownWatch = .allocate(capacity: 1)
    ownWatch.initialize(to: RunWatch(isWatched: alwaysWatched))
    watch = ownWatch
  }

  deinit {
    ownWatch.deallocate()
    alwaysWatched.deallocate()
  }
}

/// The pass. These take the state by pointer, and reach every field through it: actions come back to the same state,
/// which an `inout` would rule out.
extension IOThreadState {
  typealias Pointer = UnsafeMutablePointer<IOThreadState>

  /// Does the work of an I/O thread until it ends, or until another thread has taken it over.
  ///
  /// - Returns: whether it has ended. Otherwise it is another thread's.
  static func serve(_ assignment: IORunner.Assignment, _ runner: IORunnerPointer) -> Bool {
    let state = assignment.work
    let hooks = state.pointee.hooks
    state.pointee.watch = runner.pointee.watch
    state.pointee.now = monotonicMilliseconds()
    if var adoption = assignment.adoption {
      hooks.adopt?(hooks.context, &adoption)
      if let ring = runner.pointee.ring { state.pointee.proactor?.adopt(ring) }
      // The pass that the thread before was in: its handlers' list has kept the rest.
      finishPass(state)
    } else {
      hooks.adopt?(hooks.context, nil)
      if let ring = runner.pointee.ring { startProactor(state, ring) }
      hooks.start?(hooks.context)
    }
    while !state.pointee.isStopping.load(ordering: .acquiring) {
      guard runPass(state) else { return false }
    }
    // The watcher may have seen the last handler, and be about to ask the ring whether it can be taken over.
    IORunnerPoolState.willEnd(assignment, runner.pointee.pool)
    hooks.exit?(hooks.context)
    finish(state)
    endProactor(state)
    return true
  }

  /// Runs a pass. False: another thread has taken the work over, and nothing of it may be touched.
  @_noLocks
  static func runPass(_ state: Pointer) -> Bool {
    let events = wait(state)
    state.pointee.now = monotonicMilliseconds()
    runPutOff(state)
    tellSources(state, events)
    runPackets(state)
    state.pointee.wheel.advance(to: state.pointee.now)
    while let node = state.pointee.handOver.removeFirst() { run(node) }
    guard runHandlers(state) else { return false }
    finishPass(state)
    return true
  }

  /// Ends a thread that runs no further pass. What was put off to the next one still runs, once: to free what was still
  /// queued for something else in the last pass is put off, too.
  @_noLocks
  static func finish(_ state: Pointer) {
    finishPass(state)
    runPutOff(state)
    finishPass(state)
  }

  @_noLocks
  private static func runPutOff(_ state: Pointer) {
    // Nodes that put themselves off again belong to the pass after this one.
    var putOff = state.pointee.nextPass.take()
    while let node = putOff.removeFirst() { run(node) }
  }

  /// Runs the nodes of the pass's end, and then the deferred ones, until there is none of either.
  @_noLocks
  static func finishPass(_ state: Pointer) {
    repeat {
      while let node = state.pointee.handOver.removeFirst() { run(node) }
      while let node = state.pointee.passEnd.removeFirst() { run(node) }
      while let node = state.pointee.deferred.removeFirst() { run(node) }
    } while !state.pointee.passEnd.isEmpty || !state.pointee.handOver.isEmpty
  }

  /// Waits for events, and returns how many there are. The time to the next timer counts from the beginning of the last
  /// pass: timers may be late by the length of a pass, for one look at the clock less.
  @_noLocks
  private static func wait(_ state: Pointer) -> Int {
    var timeout: Int32 = -1
    if !state.pointee.nextPass.isEmpty || !state.pointee.handlers.isEmpty {
      timeout = 0
    } else if let deadline = state.pointee.wheel.nextDeadline {
      timeout = Int32(clamping: deadline &- min(deadline, state.pointee.now))
    }
    let parks = timeout != 0 && state.pointee.mailbox.prepareToPark()
    let count: Int32
    if let proactor = state.pointee.proactor {
      proactor.wait(timeoutNanoseconds: !parks ? 0 : timeout < 0 ? -1 : Int64(timeout) &* 1_000_000)
      count = 0
    } else {
      count = state.pointee.poll.wait(timeoutMilliseconds: parks ? timeout : 0)
    }
    if parks { state.pointee.mailbox.unpark() }
    return Int(max(count, 0))
  }

  @_noLocks
  private static func tellSources(_ state: Pointer, _ count: Int) {
    if let proactor = state.pointee.proactor { return tellOperations(state, proactor) }
    for index in 0..<count {
      let (data, ready) = state.pointee.poll.event(index)
      // A source that was removed earlier in this pass is still there, but no longer listens.
      guard let source = EventSourcePointer(bitPattern: UInt(data)), source.pointee.descriptor >= 0,
        let onEvents = source.pointee.onEvents
      else { continue }
      _unsafePerformance { onEvents(source, ready) }
    }
  }

  @_noLocks
  private static func runPackets(_ state: Pointer) {
    var next = state.pointee.mailbox.takeAll()
    while let packet = next {
      // The packet is its owner's again, or gone, once its action runs.
      next = packet.pointee.next
      _ = MewsCore.run(packet)
    }
  }

  /// Handlers that a pass runs at most; the others wait for the next one, so that responses do not wait for long.
  private static var handlersPerPass: Int { @_noLocks get { 256 } }

  /// Runs handlers. This is the only place of the pass where handlers run, and nothing of the pass lies in this
  /// thread's variables meanwhile: another thread can take the work over here. False: one has.
  @_noLocks
  private static func runHandlers(_ state: Pointer) -> Bool {
    let watch = state.pointee.watch
    state.pointee.handlersLeft = handlersPerPass
    while state.pointee.handlersLeft > 0, let packet = state.pointee.handlers.removeFirst() {
      state.pointee.handlersLeft &-= 1
      state.pointee.runningPacket = packet
      _ = MewsCore.run(packet)
      if watch.pointee.is_lost { return false }
    }
    return true
  }

  @_noLocks @inline(__always)
  private static func run(_ node: PassNodePointer) {
    guard let action = node.pointee.action else { return }
    _unsafePerformance { action(node) }
  }
}
