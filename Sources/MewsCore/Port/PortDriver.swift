import CMewsShims

/// What a completion port's waiting threads drive: epoll, or what a test puts in its place. One thread at a time is in
/// `wait`; the others are for any thread.
struct PortDriver {
  private let functions: shim_port_driver
  /// A word that is zero in a child process of the one that created the port.
  private let forkMark: UnsafePointer<UInt64>

  init(_ functions: shim_port_driver, forkMark: UnsafePointer<UInt64>) {
    self.functions = functions
    self.forkMark = forkMark
  }

  /// Waits for input, output and timers, and returns the packets of what is complete.
  ///
  /// - Parameter deadline: nanoseconds on the monotonic clock; 0 only looks, negative waits for ever.
  @_noLocks
  func wait(deadline: Int64) -> shim_packet_chain {
    var completed = shim_packet_chain()
    _unsafePerformance { functions.wait(functions.context, deadline, &completed) }
    return completed
  }

  /// Ends the wait under way, or the next one.
  @_noLocks
  func interrupt() {
    Interleaving.reach(Interleaving.interrupt)
    _unsafePerformance { functions.interrupt(functions.context) }
  }

  func release() { functions.release(functions.context) }

  /// Whether this is a child process, where neither the port's threads nor its input and output exist.
  var isInChild: Bool {
    @_noLocks @inline(__always) get { shim_load_relaxed(forkMark) == 0 }
  }
}
