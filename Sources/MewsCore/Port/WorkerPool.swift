import CMewsShims
import Glibc

/// Threads that take packets from a completion port and run their actions.
///
/// Each is named "mews-worker-N", has 1 MiB of stack, and blocks all signals but those that a fault raises, so that a
/// host program's handlers for the others never run on it.
public struct WorkerPool: @unchecked Sendable {
  private struct Worker {
    var context: ThreadContext
    var thread: pthread_t = 0
    var pool: UnsafeMutablePointer<State>
    /// Queued behind all other packets to end one worker, whichever takes it.
    var stopPacket = Packet()
  }

  private struct State {
    /// How many threads have been created. First, and no worker's business: the others are read by workers meanwhile.
    var running = 0
    let port: CompletionPort
    let hooks: ThreadHooks
    let workers: UnsafeMutablePointer<Worker>
    let capacity: Int
  }

  private let state: UnsafeMutablePointer<State>

  private static var stackSize: Int { 1 << 20 }

  /// Prepares a pool; no thread runs yet.
  ///
  /// - Parameters:
  ///   - port: where the workers wait. It has to outlive the pool.
  ///   - count: how many workers, at least 1.
  ///   - firstIndex: the `ThreadContext.index` of the first.
  ///   - server: for the workers' `ThreadContext.server`.
  ///   - hooks: called on each worker.
  /// - Returns: the pool, to be released with `destroy()`; nil when memory is out or the count below 1.
  public static func create(
    port: CompletionPort, count: Int, firstIndex: UInt32, server: UnsafeMutableRawPointer?, hooks: ThreadHooks
  ) -> WorkerPool? {
    let (size, overflows) = count.multipliedReportingOverflow(by: MemoryLayout<Worker>.stride)
    guard count > 0, !overflows, let memory = malloc(MemoryLayout<State>.size) else { return nil }
    guard let workerMemory = malloc(size) else {
      free(memory)
      return nil
    }
    let workers = workerMemory.bindMemory(to: Worker.self, capacity: count)
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(to: State(port: port, hooks: hooks, workers: workers, capacity: count))
    for number in 0..<count {
      let context = ThreadContext(
        kind: .worker, index: firstIndex &+ UInt32(truncatingIfNeeded: number), server: server)
      (workers + number).initialize(to: Worker(context: context, pool: state))
    }
    return WorkerPool(state: state)
  }

  /// Starts the workers.
  ///
  /// - Returns: 0, or the errno of the thread that could not be created; none runs then.
  public func start() -> Int32 {
    while state.pointee.running < state.pointee.capacity {
      let worker = state.pointee.workers + state.pointee.running
      var thread: pthread_t = 0
      let error = shim_thread_create(&thread, Self.stackSize, Self.body, worker)
      guard error == 0 else {
        stop()
        join()
        return error
      }
      worker.pointee.thread = thread
      state.pointee.running += 1
    }
    return 0
  }

  /// Has the workers run what is queued on the port so far, and then end. Returns at once. Call it once, after `start`.
  public func stop() {
    for number in 0..<state.pointee.running {
      let worker = state.pointee.workers + number
      worker.pointee.stopPacket = Packet(operation: UnsafeMutableRawPointer(state))
      state.pointee.port.post(&worker.pointee.stopPacket)
    }
  }

  /// Waits until the workers have ended, by `stop` or because the port was closed.
  public func join() {
    for number in 0..<state.pointee.running { pthread_join(state.pointee.workers[number].thread, nil) }
    state.pointee.running = 0
  }

  /// Releases the pool's memory, after `join`.
  public func destroy() {
    free(state.pointee.workers)
    free(state)
  }

  private static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let worker = argument?.assumingMemoryBound(to: Worker.self) else { return nil }
    let hooks = worker.pointee.pool.pointee.hooks
    shim_set_thread_context(&worker.pointee.context)
    shim_thread_set_name("mews-worker", worker.pointee.context.index)
    hooks.start?(hooks.context)
    WorkerPool.work(port: worker.pointee.pool.pointee.port, stopMark: worker.pointee.pool)
    hooks.exit?(hooks.context)
    worker.pointee.pool.pointee.port.leave()
    shim_set_thread_context(nil)
    return nil
  }

  @_noLocks
  private static func work(port: CompletionPort, stopMark: UnsafeMutableRawPointer) {
    while case .packet(let packet) = port.get(timeoutNanoseconds: -1) {
      if !run(packet) && packet.pointee.operation == stopMark { return }
    }
  }
}
