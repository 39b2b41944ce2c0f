import CMewsShims
import Glibc
import MewsCore
import Synchronization

/// How a server is asked to stop, and how it says that it has: words and descriptors in memory of their own, so that a
/// signal handler can use them.
struct ServerLife {
  /// How far it is. It only grows.
  private enum Phase {
    static var setup: UInt8 { 0 }
    /// The I/O threads are known.
    static var started: UInt8 { 1 }
    /// A stop was asked for.
    static var stopping: UInt8 { 2 }
  }

  /// An I/O thread, with what is posted to it, once each.
  fileprivate struct Member {
    let thread: IOThread
    let drainPacket: PacketPointer
    let abortPacket: PacketPointer
  }

  struct State: ~Copyable {
    fileprivate let phase = Atomic<UInt8>(Phase.setup)
    /// I/O threads that have not ended.
    fileprivate let running = Atomic<Int>(0)
    /// I/O threads that have let go of the listening sockets.
    fileprivate let doneListening = Atomic<Int>(0)
    /// Whether nobody else has the listening sockets: see `ServerOptions.isLastOnAddresses`.
    fileprivate let isLastOnAddresses = Atomic<Bool>(false)
    /// Threads of the program that are about to wake one of the server's: `enter`.
    fileprivate let visitors = Atomic<Int>(0)
    /// Written before the phase says that they are known.
    fileprivate var members: UnsafeMutablePointer<Member>?
    fileprivate var memberCount = 0
    /// The listening sockets, closed when the last I/O thread has let go of them.
    fileprivate var sockets: UnsafeMutablePointer<Int32>?
    fileprivate var socketCount = 0
    /// Readable once a stop was asked for.
    fileprivate let stopping: Int32
    /// Readable once the last I/O thread has ended.
    fileprivate let ended: Int32

    fileprivate init(stopping: Int32, ended: Int32) {
      self.stopping = stopping
      self.ended = ended
    }
  }

  let state: UnsafeMutablePointer<State>

  var ended: Int32 { state.pointee.ended }
  var stopping: Int32 { state.pointee.stopping }

  private init(state: UnsafeMutablePointer<State>) { self.state = state }

  init() throws(SystemError) {
    let stopping = shim_eventfd_create()
    guard stopping >= 0 else { throw SystemError(call: "eventfd", code: -stopping) }
    let ended = shim_eventfd_create()
    guard ended >= 0 else {
      close(stopping)
      throw SystemError(call: "eventfd", code: -ended)
    }
    state = UnsafeMutablePointer<State>.allocate(capacity: 1)
    state.initialize(to: State(stopping: stopping, ended: ended))
  }

  func destroy() {
    close(state.pointee.stopping)
    close(state.pointee.ended)
    closeSockets()
    state.pointee.members?.deallocate()
    state.pointee.sockets?.deallocate()
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Tells it of the I/O threads and the listening sockets, before the threads start. Asks the threads to drain when a
  /// stop was asked for already.
  func adopt(_ contexts: [IOContextPointer], _ sockets: [Int32]) {
    let descriptors = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, sockets.count))
    for (index, descriptor) in sockets.enumerated() { (descriptors + index).initialize(to: descriptor) }
    state.pointee.sockets = descriptors
    state.pointee.socketCount = sockets.count
    let members = UnsafeMutablePointer<Member>.allocate(capacity: max(1, contexts.count))
    for (index, context) in contexts.enumerated() {
      (members + index).initialize(
        to: Member(
          thread: context.pointee.thread,
          drainPacket: withUnsafeMutablePointer(to: &context.pointee.drainPacket) { $0 },
          abortPacket: withUnsafeMutablePointer(to: &context.pointee.abortPacket) { $0 }))
    }
    state.pointee.members = members
    state.pointee.memberCount = contexts.count
    state.pointee.running.store(contexts.count, ordering: .relaxed)
    let isFirst = state.pointee.phase.compareExchange(
      expected: Phase.setup, desired: Phase.started, ordering: .acquiringAndReleasing
    ).exchanged
    if !isFirst { drain() }
  }

  /// The last I/O thread closes the sockets, so that clients are refused and not left waiting.
  static func threadDidCloseListeners(_ state: UnsafeMutablePointer<State>) {
    let done = state.pointee.doneListening.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
    if done == state.pointee.memberCount { ServerLife(state: state).closeSockets() }
  }

  /// Nobody listens on the addresses after this server. Any thread.
  func becomeLastOnAddresses() { state.pointee.isLastOnAddresses.store(true, ordering: .relaxed) }

  private func closeSockets() {
    let isLast = state.pointee.isLastOnAddresses.load(ordering: .relaxed)
    for index in 0..<state.pointee.socketCount {
      let socket = state.pointee.sockets?[index] ?? -1
      // The ring of a thread that is stuck has the socket open until that returns.
      if isLast { shutdown(socket, Int32(SHUT_RDWR)) }
      close(socket)
    }
    state.pointee.socketCount = 0
  }

  static func threadDidEnd(_ state: UnsafeMutablePointer<State>) {
    if state.pointee.running.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
      shim_eventfd_signal(state.pointee.ended)
    }
  }

  /// Says that a thread which does not belong to the server is about to post to one that does. What it posts may be all
  /// that the server waits for to end, and its threads may be freed before the post, which still has to wake one of
  /// them, has returned: so `awaitVisitors` comes before that. `leave` has to follow, soon.
  static func enter(_ state: UnsafeMutablePointer<State>) {
    state.pointee.visitors.wrappingAdd(1, ordering: .relaxed)
  }

  static func leave(_ state: UnsafeMutablePointer<State>) {
    state.pointee.visitors.wrappingSubtract(1, ordering: .releasing)
  }

  /// Waits for those who entered before the server's threads had ended. A matter of a few instructions.
  func awaitVisitors() {
    while state.pointee.visitors.load(ordering: .acquiring) != 0 { sched_yield() }
  }

  /// Asks every I/O thread to drain; before the start, as soon as there are some. The first call counts. Any thread,
  /// and a signal handler: it only exchanges words, pushes packets that are there already, and writes to descriptors.
  func requestStop() {
    Self.enter(state)
    defer { Self.leave(state) }
    let before = state.pointee.phase.exchange(Phase.stopping, ordering: .acquiringAndReleasing)
    guard before != Phase.stopping else { return }
    shim_eventfd_signal(state.pointee.stopping)
    if before == Phase.started { drain() }
  }

  private func drain() {
    for index in 0..<state.pointee.memberCount {
      guard let member = state.pointee.members?[index] else { return }
      member.thread.post(member.drainPacket)
    }
  }

  /// Has every I/O thread close what it still has. Once, after the start.
  func abort() {
    for index in 0..<state.pointee.memberCount {
      guard let member = state.pointee.members?[index] else { return }
      member.thread.post(member.abortPacket)
    }
  }
}
