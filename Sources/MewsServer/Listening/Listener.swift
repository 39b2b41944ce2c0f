import CMews
import CMewsShims
import Glibc
import MewsCore

/// Takes connections from a listening socket for one I/O thread.
///
/// Several threads may watch one socket; the kernel then wakes one of them for a connection. What does not fit into one
/// thread's share of a pass stays in the kernel's queue for whoever comes first.
struct Listener {
  /// First, because the I/O thread knows the listener by it.
  var source: EventSource
  /// Goes on at the end of the pass, or in the next one.
  var acceptNode: PassNode
  /// Ends a pause after the process ran out of descriptors.
  var pauseTimer: Timer
  /// Takes connections, where the thread has a ring that can.
  var accepting: RingOperation
  /// That operation only tells that there are connections.
  var isWatching = false
  /// What it has taken, and is beyond the share of the pass.
  var taken = SocketQueue()
  /// How often that operation has failed since it took a connection.
  var failures = 0
  /// No more connections are to be taken.
  var isStopping = false
  var context: IOContextPointer
  var isPaused = false
  /// When the log was last told of a pause, on the I/O thread's clock.
  var reportTime: UInt64?

  /// How long to wait for a descriptor before trying again: an edge or a level would only spin meanwhile.
  static let pauseMilliseconds: UInt64 = 100
  /// At most so often does the log hear of pauses.
  static let reportMilliseconds: UInt64 = 1_000
  /// How long a server that stops goes on taking connections whose handshake has begun.
  static let handshakeMilliseconds: UInt64 = 5

  init(descriptor: Int32, context: IOContextPointer) {
    source = EventSource(descriptor: descriptor, onEvents: { source, _ in Listener.accept(Listener.whole(source)) })
    acceptNode = PassNode(action: { Listener.goOn(Listener.whole($0, at: MemoryLayout<EventSource>.stride)) })
    pauseTimer = Timer(action: { timer in Listener.resume(timer) }, context: nil)
    accepting = RingOperation(
      prepare: { operation, entry in Listener.prepare(Listener.of(operation), entry) },
      complete: { operation, completion in Listener.didComplete(Listener.of(operation), completion) })
    self.context = context
  }
}

typealias ListenerPointer = UnsafeMutablePointer<Listener>

extension Listener {
  /// Begins to take connections. On the I/O thread.
  static func open(_ listener: ListenerPointer) {
    listener.pointee.pauseTimer.context = UnsafeMutableRawPointer(listener)
    if startAccepting(listener) { return }
    let error = listener.pointee.context.pointee.thread.addListener(source(listener))
    guard error != 0 else { return }
    let failure = SystemError(call: "epoll_ctl", code: error)
    log(listener, MEWS_LEVEL_ERROR, "\(failure): an I/O thread cannot take connections")
  }

  /// Has the kernel ignore further connections: see `ListeningSet.admitNoMore`.
  static func admitNoMore(_ listener: ListenerPointer) {
    _ = shim_listener_admit_no_more(listener.pointee.source.descriptor)
  }

  /// Takes what is queued, and then no more. The socket stays open: other threads, and the supervisor, have it, too.
  static func close(_ listener: ListenerPointer) {
    let thread = listener.pointee.context.pointee.thread
    withUnsafeMutablePointer(to: &listener.pointee.pauseTimer) { _ = thread.cancel($0) }
    if listener.pointee.accepting.isAttached {
      stopAccepting(listener)
      _ = openTaken(listener, atMost: .max)
      listener.pointee.taken.release()
      while take(listener) == 0 {}
      listener.pointee.source.descriptor = -1
    } else {
      while take(listener) == 0 {}
      _ = thread.remove(source(listener))
    }
  }

  /// Takes a connection. Returns 0 or the errno.
  private static func take(_ listener: ListenerPointer) -> Int32 {
    let descriptor = shim_accept(listener.pointee.source.descriptor)
    guard descriptor >= 0 else { return -descriptor }
    _ = IOContext.open(descriptor, listener.pointee.context)
    return 0
  }

  static func accept(_ listener: ListenerPointer) {
    let context = listener.pointee.context
    guard listener.pointee.source.descriptor >= 0, !listener.pointee.isPaused else { return }
    for _ in 0..<context.pointee.limits.acceptsPerPass {
      switch take(listener) {
      case 0: continue
      case EAGAIN: return
      case let error: return pause(listener, error)
      }
    }
    context.pointee.thread.runInNextPass(node(listener))
  }

  /// Goes on with what was beyond the share of a pass, as far as the share of this one goes.
  private static func goOn(_ listener: ListenerPointer) {
    guard openTaken(listener, atMost: listener.pointee.context.pointee.limits.acceptsPerPass) else {
      return listener.pointee.context.pointee.thread.runInNextPass(node(listener))
    }
    if !listener.pointee.accepting.isAttached || listener.pointee.isWatching { accept(listener) }
  }

  /// Descriptors or memory have run out. Connections wait in the kernel's queue until there are some again.
  static func pause(_ listener: ListenerPointer, _ error: Int32) {
    let thread = listener.pointee.context.pointee.thread
    listener.pointee.isPaused = true
    listener.pointee.failures = 0
    withUnsafeMutablePointer(to: &listener.pointee.pauseTimer) { timer in
      thread.start(timer, deadline: thread.now + pauseMilliseconds)
    }
    if let reportTime = listener.pointee.reportTime, thread.now < reportTime + reportMilliseconds { return }
    listener.pointee.reportTime = thread.now
    log(listener, MEWS_LEVEL_WARNING, "\(SystemError(call: "accept", code: error)); taking no connections for a moment")
  }

  private static func resume(_ timer: TimerPointer) {
    guard let listener = timer.pointee.context?.assumingMemoryBound(to: Listener.self) else { return }
    listener.pointee.isPaused = false
    accept(listener)
    if !listener.pointee.isPaused { rearm(listener) }
  }

  private static func log(_ listener: ListenerPointer, _ level: Int, _ text: String) {
    listener.pointee.context.pointee.log._withUnsafeGuaranteedRef { $0.write(level, text) }
  }

  private static func source(_ listener: ListenerPointer) -> EventSourcePointer {
    UnsafeMutableRawPointer(listener).assumingMemoryBound(to: EventSource.self)
  }

  static func node(_ listener: ListenerPointer) -> PassNodePointer {
    (UnsafeMutableRawPointer(listener) + MemoryLayout<EventSource>.stride).assumingMemoryBound(to: PassNode.self)
  }

  private static func whole(_ part: UnsafeMutableRawPointer, at offset: Int = 0) -> ListenerPointer {
    (part - offset).assumingMemoryBound(to: Listener.self)
  }
}
