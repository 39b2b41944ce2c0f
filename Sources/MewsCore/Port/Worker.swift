import CMewsShims
import Glibc
import Synchronization

/// What one worker works with. The memory is used by one thread after the other and stays where it is; the thread that
/// has its place in the roster owns it.
struct Worker: ~Copyable {
  var context: ThreadContext
  /// When the action of the counted packet began that the thread runs now, in nanoseconds of the monotonic clock; 0
  /// while it runs none. It is a different one for every run.
  let activity = Atomic<UInt64>(0)
  /// Whether another thread runs in the place of this one, because it was found asleep.
  let isReplaced = Atomic<Bool>(false)
  let number: Int
  let pool: UnsafeMutablePointer<WorkerPoolState>

  /// Stable memory for a place; nil when memory is out.
  static func create(number: Int, pool: UnsafeMutablePointer<WorkerPoolState>) -> WorkerPointer? {
    // A pair of cache lines of its own: the monitor reads what the thread writes for every packet.
    guard let memory = aligned_alloc(128, (MemoryLayout<Worker>.size + 127) & ~127) else { return nil }
    let worker = memory.bindMemory(to: Worker.self, capacity: 1)
    worker.initialize(to: Worker(context: ThreadContext(kind: .worker, index: 0), number: number, pool: pool))
    return worker
  }

  static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let worker = argument?.assumingMemoryBound(to: Worker.self) else { return nil }
    let pool = worker.pointee.pool
    let hooks = pool.pointee.hooks
    shim_set_thread_context(&worker.pointee.context)
    shim_thread_set_name("mews-worker", worker.pointee.context.index)
    hooks.start?(hooks.context)
    WorkerPoolState.didBegin(worker)
    work(worker, pool)
    hooks.exit?(hooks.context)
    pool.pointee.port.leave()
    shim_set_thread_context(nil)
    WorkerPoolState.didEnd(worker)
    return nil
  }

  /// Runs packets until the thread is to end.
  @_noLocks
  private static func work(_ worker: WorkerPointer, _ pool: UnsafeMutablePointer<WorkerPoolState>) {
    let port = pool.pointee.port
    while true {
      switch port.get(timeoutNanoseconds: WorkerPoolState.patience(pool)) {
      case .packet(let packet):
        if packet == pool.pointee.stopPacket {
          WorkerPoolState.passStopOn(pool)
          return
        }
        run(packet, on: worker)
      case .timedOut:
        if WorkerPoolState.mayRetire(pool) { return }
      case .abandoned, .closed, .noMemory:
        WorkerPoolState.willLeave(pool)
        return
      }
    }
  }

  @_noLocks @inline(__always)
  private static func run(_ packet: PacketPointer, on worker: WorkerPointer) {
    guard packet.pointee.isUncounted == 0 else {
      _ = MewsCore.run(packet)
      return
    }
    worker.pointee.activity.store(UInt64(bitPattern: shim_monotonic_nanoseconds()), ordering: .relaxed)
    _ = MewsCore.run(packet)
    worker.pointee.activity.store(0, ordering: .relaxed)
    if worker.pointee.isReplaced.load(ordering: .relaxed) { wasReplaced(worker) }
  }

  @_noLocks @inline(never)
  private static func wasReplaced(_ worker: WorkerPointer) {
    worker.pointee.isReplaced.store(false, ordering: .relaxed)
    _unsafePerformance { MonitorRounds.help(worker.pointee.pool, now: shim_monotonic_nanoseconds()) }
  }
}

typealias WorkerPointer = UnsafeMutablePointer<Worker>
