import CMewsShims
import Glibc
import Synchronization

/// The memory behind an `IOThread`. What other threads change comes last, on cache lines of its own.
struct IOThreadState: ~Copyable {
  var now: UInt64 = 0
  let poll: EventPoll
  let wake: WakeDescriptor
  let wheel: TimerWheel
  var nextPass = PassList()
  var passEnd = PassList()
  var deferred = PassList()
  /// Handlers of this pass.
  var handlers = PacketList()
  var context: ThreadContext
  let hooks: ThreadHooks
  var thread: pthread_t = 0

  private let padding = InlineArray<16, UInt64>(repeating: 0)
  let mailbox = Mailbox()
  let isStopping = Atomic<Bool>(false)

  /// The data word of the wake descriptor: nil as an event source.
  static var wakeData: UInt64 { 0 }

  init(poll: EventPoll, wake: WakeDescriptor, wheel: TimerWheel, context: ThreadContext, hooks: ThreadHooks) {
    self.poll = poll
    self.wake = wake
    self.wheel = wheel
    self.context = context
    self.hooks = hooks
  }
}

/// The pass. These take the state by pointer, and reach every field through it: actions come back to the same state,
/// which an `inout` would rule out.
extension IOThreadState {
  typealias Pointer = UnsafeMutablePointer<IOThreadState>

  @_noLocks
  static func runPass(_ state: Pointer) {
    let events = wait(state)
    state.pointee.now = monotonicMilliseconds()
    runPutOff(state)
    tellSources(state, events)
    runPackets(state)
    state.pointee.wheel.advance(to: state.pointee.now)
    runHandlers(state)
    finishPass(state)
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
      while let node = state.pointee.passEnd.removeFirst() { run(node) }
      while let node = state.pointee.deferred.removeFirst() { run(node) }
    } while !state.pointee.passEnd.isEmpty
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
    let count = state.pointee.poll.wait(timeoutMilliseconds: parks ? timeout : 0)
    if parks { state.pointee.mailbox.unpark() }
    return Int(max(count, 0))
  }

  @_noLocks
  private static func tellSources(_ state: Pointer, _ count: Int) {
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

  /// Runs handlers. This is the only place of the pass where code runs that is not the server's own, and nothing of the
  /// pass lies in this thread's variables meanwhile.
  @_noLocks
  private static func runHandlers(_ state: Pointer) {
    var left = handlersPerPass
    while left > 0, let packet = state.pointee.handlers.removeFirst() {
      _ = MewsCore.run(packet)
      left &-= 1
    }
  }

  @_noLocks @inline(__always)
  private static func run(_ node: PassNodePointer) {
    guard let action = node.pointee.action else { return }
    _unsafePerformance { action(node) }
  }
}
