import CMewsShims
import Glibc

/// Threads that take packets from a completion port and run their actions.
///
/// How many run at once is the port's business. The pool sees to it that there are threads to run: a few wait in
/// reserve; more are added when packets wait, the concurrency value allows one more, and no thread is left; those that
/// have waited for long end. A monitor notices a worker that sleeps inside of an action while packets wait, and has
/// another released in its place.
///
/// Each worker is named "mews-worker-N", has 1 MiB of stack, and blocks all signals but those that a fault raises, so
/// that a host program's handlers for the others never run on it.
public struct WorkerPool: @unchecked Sendable {
  private let state: WorkerPoolState.Pointer
  private let monitor: WorkerMonitor

  /// Prepares a pool; no thread runs yet.
  ///
  /// - Parameters:
  ///   - port: where the workers wait. It has to outlive the pool, and nobody else waits there.
  ///   - limits: how many workers there are.
  ///   - firstIndex: the smallest `ThreadContext.index`. The others follow without a gap, as many as the limits'
  ///     maximum; a new worker has the smallest that is free.
  ///   - server: for the workers' `ThreadContext.server`.
  ///   - hooks: called on each worker.
  /// - Returns: the pool, to be released with `destroy()`; nil when memory is out or the limits contradict themselves.
  public static func create(
    port: CompletionPort, limits: WorkerLimits, firstIndex: UInt32, server: UnsafeMutableRawPointer?, hooks: ThreadHooks
  ) -> WorkerPool? {
    guard limits.areValid, let memory = malloc(MemoryLayout<WorkerPoolState>.size) else { return nil }
    guard let entries = malloc(limits.maximum * MemoryLayout<WorkerRoster.Entry>.stride) else {
      free(memory)
      return nil
    }
    let stopPacket = PacketPointer.allocate(capacity: 1)
    stopPacket.initialize(to: Packet())
    let rounds = UnsafeMutablePointer<MonitorRounds>.allocate(capacity: 1)
    rounds.initialize(to: MonitorRounds(limits: limits))
    let state = memory.bindMemory(to: WorkerPoolState.self, capacity: 1)
    state.initialize(
      to: WorkerPoolState(
        roster: WorkerRoster(entries: entries, capacity: limits.maximum),
        lock: FutexLock(spins: ProcessorCount.available > 1), port: port, limits: limits,
        firstIndex: firstIndex, server: server, hooks: hooks, rounds: rounds, stopPacket: stopPacket))
    return WorkerPool(state: state, monitor: WorkerMonitor.create(pool: state))
  }

  /// Starts the workers.
  ///
  /// - Returns: 0, or the errno of the thread that could not be created; none runs then.
  public func start() -> Int32 {
    var error: Int32 = 0
    var count = 0
    while error == 0 && count < state.pointee.limits.minimum {
      error = WorkerPoolState.addThread(state)
      count += 1
    }
    if error == 0 { error = monitor.start() }
    if error != 0 {
      stop()
      join()
    }
    return error
  }

  /// Has the workers run what is queued on the port so far, and then end. Returns at once. Call it once, after `start`.
  public func stop() {
    state.pointee.lock.lock()
    state.pointee.roster.isStopping = true
    let hasThreads = state.pointee.staying.load(ordering: .relaxed) > 0
    state.pointee.lock.unlock()
    if hasThreads { state.pointee.port.post(state.pointee.stopPacket) }
  }

  /// Waits until the workers have ended, by `stop` or because the port was closed.
  public func join() {
    WorkerPoolState.awaitEnd(state)
    monitor.end()
  }

  /// Releases the pool's memory, after `join`. The port has been closed by then.
  public func destroy() {
    monitor.destroy()
    state.pointee.rounds.deallocate()
    state.pointee.stopPacket.deallocate()
    state.deinitialize(count: 1)
    free(state)
  }

  /// What the pool is doing, and has done. Any thread may ask.
  public var statistics: WorkerStatistics {
    WorkerStatistics(
      threads: Int(state.pointee.running.load(ordering: .relaxed)),
      looks: state.pointee.looks.load(ordering: .relaxed),
      released: state.pointee.released.load(ordering: .relaxed),
      reclaimed: state.pointee.reclaimed.load(ordering: .relaxed))
  }
}

/// Figures of a pool of workers.
public struct WorkerStatistics: Sendable {
  /// Threads that there are now.
  public let threads: Int
  /// How often the monitor has looked while packets waited.
  public let looks: Int
  /// How often it has found a worker asleep and let another run in its place.
  public let released: Int
  /// How often it has found such a worker awake again.
  public let reclaimed: Int
}
