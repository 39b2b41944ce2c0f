import CMewsShims
import Glibc
import MewsCore

/// How a server is asked to stop, and how it says that it has: words and descriptors in memory of their own, so that a
/// signal handler can use them.
struct ServerLife {
  struct State {
    /// 1 once a stop was asked for. Atomic.
    var stopRequested: UInt64 = 0
    /// I/O threads that run. Atomic.
    var running: UInt64 = 0
    var contexts: UnsafeMutablePointer<IOContextPointer>?
    var contextCount = 0
    /// The listening sockets, closed when the last I/O thread has let go of them.
    var sockets: UnsafeMutablePointer<Int32>?
    var socketCount = 0
    /// I/O threads that have let go of them. Atomic.
    var doneListening: UInt64 = 0
    /// Readable once a stop was asked for.
    var stopping: Int32
    /// Readable once the last I/O thread has ended.
    var ended: Int32
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
    state.pointee.contexts?.deallocate()
    state.pointee.sockets?.deallocate()
    state.deallocate()
  }

  /// Tells it of the I/O threads and the listening sockets, before the threads start.
  func adopt(_ contexts: [IOContextPointer], _ sockets: [Int32]) {
    let descriptors = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, sockets.count))
    for (index, descriptor) in sockets.enumerated() { (descriptors + index).initialize(to: descriptor) }
    state.pointee.sockets = descriptors
    state.pointee.socketCount = sockets.count
    let list = UnsafeMutablePointer<IOContextPointer>.allocate(capacity: max(1, contexts.count))
    for (index, context) in contexts.enumerated() { (list + index).initialize(to: context) }
    state.pointee.contexts = list
    state.pointee.contextCount = contexts.count
  }

  /// The last I/O thread closes the sockets, so that clients are refused and not left waiting.
  static func threadDidCloseListeners(_ state: UnsafeMutablePointer<State>) {
    let done = withUnsafeMutablePointer(to: &state.pointee.doneListening) { shim_add($0, 1) }
    if done == UInt64(state.pointee.contextCount) { ServerLife(state: state).closeSockets() }
  }

  private func closeSockets() {
    for index in 0..<state.pointee.socketCount { close(state.pointee.sockets?[index] ?? -1) }
    state.pointee.socketCount = 0
  }

  func threadWillStart() { _ = withUnsafeMutablePointer(to: &state.pointee.running) { shim_add($0, 1) } }

  static func threadDidEnd(_ state: UnsafeMutablePointer<State>) {
    if withUnsafeMutablePointer(to: &state.pointee.running, { shim_add($0, .max) }) == 0 {
      shim_eventfd_signal(state.pointee.ended)
    }
  }

  /// Asks every I/O thread to drain. The first call counts. Any thread, and a signal handler: it only exchanges words,
  /// pushes packets that are there already, and writes to descriptors.
  func requestStop() {
    guard withUnsafeMutablePointer(to: &state.pointee.stopRequested, { shim_exchange($0, 1) }) == 0 else { return }
    shim_eventfd_signal(state.pointee.stopping)
    forEachContext { context in
      context.pointee.thread.post(withUnsafeMutablePointer(to: &context.pointee.drainPacket) { $0 })
    }
  }

  /// Has every I/O thread close what it still has. Once.
  func abort() {
    forEachContext { context in
      context.pointee.thread.post(withUnsafeMutablePointer(to: &context.pointee.abortPacket) { $0 })
    }
  }

  private func forEachContext(_ body: (IOContextPointer) -> Void) {
    guard let contexts = state.pointee.contexts else { return }
    for index in 0..<state.pointee.contextCount { body(contexts[index]) }
  }
}
