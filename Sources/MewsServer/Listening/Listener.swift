import CMews
import CMewsShims
import Glibc
import MewsCore

/// Takes connections from a listening socket for one I/O thread.
///
/// Every I/O thread watches every listening socket; the kernel wakes one of them for a connection. What does not fit
/// into one thread's share of a pass stays in the kernel's queue for whoever comes first.
struct Listener {
  /// First, because the I/O thread knows the listener by it.
  var source: EventSource
  /// Goes on in the next pass.
  var acceptNode: PassNode
  /// Ends a pause after the process ran out of descriptors.
  var pauseTimer: Timer
  var context: IOContextPointer
  var isPaused = false

  /// How long to wait for a descriptor before trying again: an edge or a level would only spin meanwhile.
  static let pauseMilliseconds: UInt64 = 100

  init(descriptor: Int32, context: IOContextPointer) {
    source = EventSource(descriptor: descriptor, onEvents: { source, _ in Listener.accept(Listener.whole(source)) })
    acceptNode = PassNode(action: { Listener.accept(Listener.whole($0, at: MemoryLayout<EventSource>.stride)) })
    pauseTimer = Timer(action: { timer in Listener.resume(timer) }, context: nil)
    self.context = context
  }
}

typealias ListenerPointer = UnsafeMutablePointer<Listener>

extension Listener {
  /// Begins to take connections. On the I/O thread. Returns 0 or an errno.
  static func open(_ listener: ListenerPointer) -> Int32 {
    listener.pointee.pauseTimer.context = UnsafeMutableRawPointer(listener)
    return listener.pointee.context.pointee.thread.addListener(source(listener))
  }

  /// Takes no more. The socket stays open: other threads, and the supervisor, have it, too.
  static func close(_ listener: ListenerPointer) {
    let thread = listener.pointee.context.pointee.thread
    withUnsafeMutablePointer(to: &listener.pointee.pauseTimer) { _ = thread.cancel($0) }
    _ = thread.remove(source(listener))
  }

  private static func accept(_ listener: ListenerPointer) {
    let context = listener.pointee.context
    guard listener.pointee.source.descriptor >= 0, !listener.pointee.isPaused else { return }
    for _ in 0..<context.pointee.limits.acceptsPerPass {
      let descriptor = shim_accept(listener.pointee.source.descriptor)
      guard descriptor >= 0 else {
        if descriptor != -EAGAIN { pause(listener, -descriptor) }
        return
      }
      SocketConnection.open(descriptor, context)
    }
    context.pointee.thread.runInNextPass(
      (UnsafeMutableRawPointer(listener) + MemoryLayout<EventSource>.stride).assumingMemoryBound(to: PassNode.self))
  }

  /// Descriptors or memory have run out. Connections wait in the kernel's queue until there are some again.
  private static func pause(_ listener: ListenerPointer, _ error: Int32) {
    let context = listener.pointee.context
    listener.pointee.isPaused = true
    withUnsafeMutablePointer(to: &listener.pointee.pauseTimer) { timer in
      context.pointee.thread.start(timer, deadline: context.pointee.thread.now + pauseMilliseconds)
    }
    context.pointee.log._withUnsafeGuaranteedRef {
      $0.write(
        Int(MEWS_LEVEL_WARNING), "\(SystemError(call: "accept", code: error)); taking no connections for a moment")
    }
  }

  private static func resume(_ timer: TimerPointer) {
    guard let listener = timer.pointee.context?.assumingMemoryBound(to: Listener.self) else { return }
    listener.pointee.isPaused = false
    accept(listener)
  }

  private static func source(_ listener: ListenerPointer) -> EventSourcePointer {
    UnsafeMutableRawPointer(listener).assumingMemoryBound(to: EventSource.self)
  }

  private static func whole(_ part: UnsafeMutableRawPointer, at offset: Int = 0) -> ListenerPointer {
    (part - offset).assumingMemoryBound(to: Listener.self)
  }
}
