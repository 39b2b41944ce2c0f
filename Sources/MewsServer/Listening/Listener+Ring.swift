import CMews
import CMewsShims
import Glibc
import MewsCore

/// Taking connections with a ring: one operation, which completes with each.
///
/// It waits exclusively, as listeners on epoll do. So on a ring whose thread is stuck it would swallow what wakes one
/// of those who wait for the socket; the thread that goes on has the socket watched, for all that come, and takes them
/// by itself.
///
/// The kernel takes all that are queued at once, which cannot be bounded: some two microseconds each, 8 ms for a full
/// queue of 4,096. To open them, and to read what they have sent, is several times as much work: done at once, it held
/// up a pass for 30 ms, and for 100 ms where each had sent a request. So a pass opens its share, and the next ones the
/// others, beside everything else that the thread does.
extension Listener {
  /// Begins to take connections with the thread's ring. False: it is to be watched.
  static func startAccepting(_ listener: ListenerPointer) -> Bool {
    let context = listener.pointee.context
    guard let features = context.pointee.ringFeatures, features.contains(.multishotAccept),
      let proactor = context.pointee.thread.proactor, proactor.attach(operation(listener)) == 0
    else { return false }
    proactor.arm(operation(listener))
    return true
  }

  /// Takes what the operation has taken already, and no more.
  static func stopAccepting(_ listener: ListenerPointer) {
    let thread = listener.pointee.context.pointee.thread
    guard let proactor = thread.proactor else { return }
    listener.pointee.isStopping = true
    proactor.cancel(operation(listener))
    // What has completed is told in the order in which it did, so that the last word is the operation's end.
    for _ in 0..<stopAttempts where listener.pointee.accepting.isArmed { thread.flushRing() }
    proactor.detach(operation(listener))
  }

  /// One does, unless the kernel is short of memory.
  private static var stopAttempts: Int { 16 }

  static func prepare(_ listener: ListenerPointer, _ entry: RingEntry) {
    listener.pointee.isWatching = listener.pointee.context.pointee.thread.proactor?.wasAdopted == true
    if listener.pointee.isWatching {
      shim_entry_poll(entry, listener.pointee.source.descriptor, ReadyEvents.readable)
    } else {
      shim_entry_accept(entry, listener.pointee.source.descriptor)
    }
  }

  static func didComplete(_ listener: ListenerPointer, _ completion: RingCompletion) {
    let context = listener.pointee.context
    if listener.pointee.isWatching {
      if completion.isLast { rearm(listener) }
      return accept(listener)
    }
    if completion.result >= 0 {
      if listener.pointee.taken.append(completion.result) {
        context.pointee.thread.runAtPassEnd(node(listener))
      } else {
        open(listener, completion.result)
      }
      if completion.isLast { rearm(listener) }
      return
    }
    guard !listener.pointee.isStopping else { return }
    listener.pointee.failures += 1
    switch -completion.result {
    // What is no connection's fault after all must not keep the thread busy.
    case let error where listener.pointee.failures >= Int(SHIM_ACCEPT_ATTEMPTS): pause(listener, error)
    case ECANCELED, EBADR, EAGAIN, EINTR: rearm(listener)
    case let error where shim_accept_failed_for_one(error): rearm(listener)
    case let error: pause(listener, error)
    }
  }

  /// Opens connections of sockets that were taken, oldest first. False: there are more.
  static func openTaken(_ listener: ListenerPointer, atMost limit: Int) -> Bool {
    for _ in 0..<min(limit, listener.pointee.taken.count) {
      if let descriptor = listener.pointee.taken.removeFirst() { open(listener, descriptor) }
    }
    return listener.pointee.taken.count == 0
  }

  private static func open(_ listener: ListenerPointer, _ descriptor: Int32) {
    // Some kernels have told numbers that were no sockets.
    if IOContext.open(descriptor, listener.pointee.context) == 0 { listener.pointee.failures = 0 }
  }

  /// Goes on, where the operation has ended.
  static func rearm(_ listener: ListenerPointer) {
    guard !listener.pointee.isStopping, listener.pointee.accepting.isAttached, !listener.pointee.accepting.isArmed,
      let proactor = listener.pointee.context.pointee.thread.proactor
    else { return }
    proactor.arm(operation(listener))
  }

  // MARK: From part to whole and back

  /// Where the operation lies, behind other C structs; a test compares it with the layout that the compiler chose.
  static var acceptingOffset: Int {
    MemoryLayout<EventSource>.stride + MemoryLayout<PassNode>.stride + MemoryLayout<Timer>.stride
  }

  static func of(_ operation: RingOperationPointer) -> ListenerPointer {
    (UnsafeMutableRawPointer(operation) - acceptingOffset).assumingMemoryBound(to: Listener.self)
  }

  private static func operation(_ listener: ListenerPointer) -> RingOperationPointer {
    (UnsafeMutableRawPointer(listener) + acceptingOffset).assumingMemoryBound(to: RingOperation.self)
  }
}
