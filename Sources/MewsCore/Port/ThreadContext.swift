import CMewsShims

/// What a thread of the runtime is to the runtime. Each I/O thread and worker has one, reachable from everything it
/// calls.
///
/// The fields other than `kind` and `index` are for the layers above: the thread's hooks fill them in.
public struct ThreadContext {
  public enum Kind: UInt8, Sendable {
    case ioThread
    case worker
  }

  public let kind: Kind
  /// The thread's number among all threads of its server: those that begin as I/O threads first, then workers, then
  /// those that stand by for I/O threads.
  public let index: UInt32
  /// Whether an `IORunner` begins with this context.
  var isRunner = false
  /// Storage of the thread's block cache.
  public var cache: UnsafeMutableRawPointer?
  /// The server that the thread works for.
  public var server: UnsafeMutableRawPointer?
  /// What the thread is working on.
  public var current: UnsafeMutableRawPointer?
  /// The exchange whose handler the thread has called last; the exchange knows whether it still runs.
  public var exchange: UnsafeMutableRawPointer?

  public init(kind: Kind, index: UInt32, server: UnsafeMutableRawPointer? = nil) {
    self.kind = kind
    self.index = index
    self.server = server
  }

  /// The calling thread's context; nil on a thread that is not the runtime's.
  public static var current: UnsafeMutablePointer<ThreadContext>? {
    @_noLocks get { shim_thread_context()?.assumingMemoryBound(to: ThreadContext.self) }
  }
}

/// Functions that a worker calls once each, with its `ThreadContext` in place.
public struct ThreadHooks {
  /// Called first thing on the thread.
  public var start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Called last thing on the thread.
  public var exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Passed to both. The caller keeps it valid until the thread has been joined.
  public var context: UnsafeMutableRawPointer?

  public init(
    start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    context: UnsafeMutableRawPointer? = nil
  ) {
    self.start = start
    self.exit = exit
    self.context = context
  }
}

/// Functions that a thread which does the work of I/O threads calls once each, with its `ThreadContext` in place.
public struct IORunnerHooks {
  /// Called first thing on the thread. False: the thread cannot stand in for another.
  public var start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Bool)?
  /// Called after `start` with a new ring of the thread's, and again when the thread has lost that and has another one,
  /// with a pointer to a `Ring` that is valid during the call. False: the thread cannot stand in for another.
  public var ring: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer) -> Bool)?
  /// Called last thing on the thread.
  public var exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Called by the thread that watches the others, once a handler, when nobody can take over the work of the I/O thread
  /// with this number, which that handler holds up.
  public var stranded: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ ioThread: Int) -> Void)?
  /// Passed to all. The caller keeps it valid until the threads have been joined.
  public var context: UnsafeMutableRawPointer?

  public init(
    start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Bool)? = nil,
    ring: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer) -> Bool)? = nil,
    exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    stranded: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ ioThread: Int) -> Void)? = nil,
    context: UnsafeMutableRawPointer? = nil
  ) {
    self.start = start
    self.ring = ring
    self.exit = exit
    self.stranded = stranded
    self.context = context
  }
}
