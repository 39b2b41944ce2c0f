import CMewsShims
import Glibc

/// The threads that do the work of I/O threads, and those that stand by to take it over.
///
/// A handler on an I/O thread that sleeps, or runs for long, would hold up every connection of that I/O thread. So runs
/// of handlers are watched; the work is given to a thread that stands by, within about two milliseconds when the
/// handler sleeps and about ten when it does not, and goes on there where it was. The thread that was stuck hands its
/// result over as a worker would and stands by from then on.
///
/// The threads that do an I/O thread's work from the start are named "mews-io-N", the others "mews-standby-N". Each has
/// 1 MiB of stack, and blocks all signals but those that a fault raises.
public struct IORunnerPool: @unchecked Sendable {
  private let state: IORunnerPoolState.Pointer
  private let watcher: TakeoverWatcher

  /// Prepares a pool; no thread runs yet.
  ///
  /// - Parameters:
  ///   - ioThreads: the I/O threads whose work is to be done. They outlive the pool. Their first threads have the
  ///     `ThreadContext.index`es from 0 on.
  ///   - standbys: how many threads may stand by or be stuck, at most; 0 for no takeover. One is there from the start,
  ///     others when it has been used.
  ///   - firstStandbyIndex: the smallest `ThreadContext.index` of those.
  ///   - server: for the `ThreadContext.server` of each.
  ///   - hooks: called on each.
  ///   - ringFeatures: what the threads' io_urings use; nil for epoll. An I/O thread whose first thread gets no ring
  ///     has epoll, too: `IOThread.hasRing`.
  /// - Returns: the pool, to be released with `destroy()`; nil when memory is out.
  public static func create(
    ioThreads: [IOThread], standbys: Int, firstStandbyIndex: UInt32, server: UnsafeMutableRawPointer?,
    hooks: IORunnerHooks, ringFeatures: RingFeatures? = nil
  ) -> IORunnerPool? {
    guard let memory = malloc(MemoryLayout<IORunnerPoolState>.size) else { return nil }
    let state = memory.bindMemory(to: IORunnerPoolState.self, capacity: 1)
    let isSafe = RunWatch.isSupported && ringFeatures?.contains(.takeover) ?? true
    let standbys = isSafe ? max(0, standbys) : 0
    state.initialize(
      to: IORunnerPoolState(
        ioThreads: ioThreads, standbys: standbys, firstStandbyIndex: firstStandbyIndex, server: server, hooks: hooks,
        ringFeatures: ringFeatures))
    return IORunnerPool(state: state, watcher: TakeoverWatcher.create(pool: state))
  }

  /// Starts the threads.
  ///
  /// - Returns: 0 or an errno. Some of the I/O threads may have started then; `join` waits for those.
  public func start() -> Int32 {
    for seat in 0..<state.pointee.seatCount {
      let error = IORunnerPoolState.addRunner(state, seat: seat)
      guard error == 0 else { return error }
    }
    guard state.pointee.standbys > 0 else { return 0 }
    let error = IORunnerPoolState.addRunner(state, seat: nil)
    return error == 0 ? watcher.start() : error
  }

  /// Waits until every I/O thread that has started has ended its work, and then for all threads. Once, after `start`.
  public func join() {
    IORunnerPoolState.awaitEnd(state)
    watcher.end()
    IORunnerPoolState.endStandbys(state)
  }

  /// Releases the pool's memory, after `join`.
  public func destroy() {
    watcher.destroy()
    state.deinitialize(count: 1)
    free(state)
  }

  /// Whether another thread can take the work over from one that is stuck.
  public var canTakeOver: Bool { state.pointee.standbys > 0 }

  /// What the pool has done. Any thread may ask.
  public var statistics: TakeoverStatistics { IORunnerPoolState.statistics(state) }

  /// Gives the I/O thread's work away, if the calling thread runs a handler on one: for a handler that is about to
  /// wait.
  ///
  /// - Returns: whether the calling thread runs no I/O thread's work now. False when no thread can take it over.
  @discardableResult
  public static func handOver() -> Bool {
    guard let runner = IORunner.current else { return true }
    return IORunnerPoolState.handOver(runner)
  }
}

/// Figures of a pool's takeovers.
public struct TakeoverStatistics: Sendable {
  /// How often the work of an I/O thread was taken from a thread stuck in a handler.
  public var taken = 0
  /// How often a handler gave it away.
  public var given = 0
  /// How often it could not be taken, because no thread was left.
  public var missed = 0
  /// The threads that stand by now.
  public var standingBy = 0
  /// Of the takeovers, how many came how long after the handler was first seen to run: in tenths of milliseconds, the
  /// last place for all longer ones. It had run for a millisecond at most before.
  public var delays = [Int](repeating: 0, count: 201)
}
