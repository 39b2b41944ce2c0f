import CMews
import Synchronization

/// Runs the tasks of a plugin's asynchronous handlers on the host's workers: each piece of a task, from one suspension
/// to the next, is a callback that the host queues with its requests.
///
/// It is never freed, and stays known, so that it is no leak. A task that was cut off may resume on it after the
/// plugin's stop; then the host takes no more work, and Swift's own threads run it.
final class WorkerExecutor: TaskExecutor {
  private nonisolated(unsafe) let plugin: OpaquePointer
  private let isStopped = Atomic<Bool>(false)

  /// Those of all starts of the plugin.
  private static let all = Mutex<[WorkerExecutor]>([])

  private init(_ plugin: OpaquePointer) { self.plugin = plugin }

  static func make(for plugin: OpaquePointer) -> WorkerExecutor {
    let executor = WorkerExecutor(plugin)
    all.withLock { $0.append(executor) }
    return executor
  }

  /// The host is not to be called any more.
  func stop() { isStopped.store(true, ordering: .releasing) }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    guard !isStopped.load(ordering: .acquiring) else { return globalConcurrentExecutor.enqueue(job) }
    let work = UnsafeMutablePointer<Work>.allocate(capacity: 1)
    work.initialize(to: Work(job: job, executor: self))
    guard mews_work(plugin, Work.callback, work) != .ok else { return }
    work.deinitialize(count: 1)
    work.deallocate()
    globalConcurrentExecutor.enqueue(job)
  }
}

/// A piece of a task on its way to a worker.
private struct Work {
  let job: UnownedJob
  let executor: WorkerExecutor

  static let callback: mews_work_callback = { _, context in
    guard let context else { return }
    let place = context.assumingMemoryBound(to: Work.self)
    let work = place.move()
    place.deallocate()
    work.job.runSynchronously(on: work.executor.asUnownedTaskExecutor())
  }
}
