import CMewsShims
import Glibc

/// What a wait on a completion port ended with.
public enum PortResult {
  /// A packet, delivered to this thread alone. A packet that a user post took from the port's own memory is valid until
  /// this thread's next call of `get`, `getMany` or `leave`; any other belongs to whoever embeds it.
  case packet(PacketPointer)
  /// The time was over, or it was zero and no packet was to be had.
  case timedOut
  /// The port was closed during the wait.
  case abandoned
  /// The port had been closed before.
  case closed
  /// The thread's exit cannot be watched: the process is out of memory or of thread-specific keys.
  case noMemory
}

/// A completion port in user space: packets in, first come first served; threads that wait, the latest released first;
/// and at most `concurrency` of them active at once.
///
/// A thread is *active* from when a poster hands it a packet until it calls `get` again, waits on another port, leaves,
/// exits or begins a blocking scope. It is associated with the port by its first `get`, and with one port at a time. A
/// wait that times out leaves the thread inactive.
///
/// Of threads that wait on a port with a driver, one leads: it waits in the driver for input and output instead of
/// sleeping. When it leaves, another takes over. Leading makes no difference to who is released when, but for one: what
/// the leader found itself goes to it first, as if it had come last.
///
/// Every function may be called from any thread.
public struct CompletionPort: @unchecked Sendable {
  let state: UnsafeMutablePointer<PortState>

  /// Creates a port.
  ///
  /// - Parameter concurrency: how many threads may be active at once; 0 for one a CPU that this process may use.
  /// - Returns: the port, to be released with `destroy()`; nil when memory is out.
  public static func create(concurrency: Int) -> CompletionPort? {
    create(concurrency: concurrency, driver: nil)
  }

  /// Creates a port whose waiting threads drive input and output. The driver is released with the port's memory.
  ///
  /// - Parameter processors: how many CPUs this process may use.
  static func create(
    concurrency: Int, driver: PortDriver?, processors: Int = ProcessorCount.available
  ) -> CompletionPort? {
    let limit = concurrency > 0 ? concurrency : processors
    guard let memory = aligned_alloc(128, (MemoryLayout<PortState>.size + 127) & ~127) else { return nil }
    let state = memory.bindMemory(to: PortState.self, capacity: 1)
    state.initialize(to: PortState(concurrency: limit, spins: processors > 1, driver: driver))
    return CompletionPort(state: state)
  }

  /// Closes the port: every waiting thread returns `.abandoned`, and later calls answer `.closed`.
  ///
  /// - Returns: the packets that nobody received, oldest first, chained through `next`, so that their owners can have
  ///   them back. Packets of the port's own memory are dropped. Nil the second time.
  @discardableResult
  public func close() -> PacketPointer? {
    abandon()
    state.pointee.lock.lock()
    defer { PortState.unlock(state) }
    return takeUndelivered()
  }

  /// The first half of `close`: packets stay queued, and completions of operations may still follow.
  func abandon() {
    state.pointee.lock.lock()
    state.pointee.queue.isClosed = true
    let abandoned = state.pointee.queue.waiters
    while let waiter = state.pointee.queue.waiters {
      // The chain through `next` stays as it is, for `wake`.
      state.pointee.queue.remove(waiter)
    }
    PortState.unlock(state)
    PortState.wake(abandoned, of: state)
  }

  /// Closes the port and releases its memory, at once or when the last associated thread has left or exited. The caller
  /// sees to it that nobody posts, and no other thread waits, from now on.
  public func destroy() {
    close()
    state.pointee.lock.lock()
    state.pointee.queue.isDestroyed = true
    let isLast = state.pointee.queue.associatedThreads == 0
    state.pointee.lock.unlock()
    if isLast { CompletionPort.release(state) }
  }

  /// How many threads may be active at once.
  public var concurrency: Int { state.pointee.queue.concurrency }

  static func release(_ state: UnsafeMutablePointer<PortState>) {
    let driver = state.pointee.driver
    state.deinitialize(count: 1)
    free(state)
    driver?.release()
  }

  private func takeUndelivered() -> PacketPointer? {
    var first: PacketPointer?
    var last: PacketPointer?
    while let packet = state.pointee.queue.removeFirst() {
      guard packet.pointee.isPooled == 0 else {
        state.pointee.queue.recycle(packet)
        continue
      }
      packet.pointee.next = nil
      if let last { last.pointee.next = packet } else { first = packet }
      last = packet
    }
    return first
  }
}

extension CompletionPort {
  /// The port that the calling thread is associated with, if any.
  public static var current: CompletionPort? {
    PortThread.current.pointee.port.map { CompletionPort(state: $0) }
  }

  /// The number of packets that no thread has been handed yet.
  public var depth: Int { withLock { state.pointee.queue.depth } }

  /// The number of threads that count against the concurrency value.
  public var activeCount: Int { withLock { state.pointee.queue.active } }

  /// The number of threads that wait in `get` or `getMany`.
  public var waiterCount: Int { withLock { state.pointee.queue.waiterCount } }

  private func withLock(_ body: () -> Int) -> Int {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    return body()
  }
}
