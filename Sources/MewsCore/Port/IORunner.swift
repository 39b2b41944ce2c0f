import CMewsShims
import Glibc
import Synchronization

/// A thread that does the work of an I/O thread, or stands by to take over that of one whose thread is stuck in a
/// handler. Having lost its own to another, it stands by in turn.
struct IORunner: ~Copyable {
  /// First, so that a thread's context leads to its runner.
  var context: ThreadContext
  let watch: RunWatchPointer
  let pool: IORunnerPoolState.Pointer
  let name: Name
  /// What the thread is to do next: `standingBy` until there is an I/O thread for it, or the end.
  let word = Atomic<UInt32>(Self.standingBy)
  /// Written before `word` says so.
  var assignment: Assignment?
  /// The place of its I/O thread among the pool's, while it has one.
  var seat = 0
  /// Guarded by the pool's lock: whether the thread has been added to stand by, and does not yet.
  var isStarting = false
  /// Guarded by the pool's lock: the stack of those that stand by.
  var next: IORunnerPointer?
  /// Whether its `start` hook has given it what it needs.
  var hasStarted = false
  /// The thread's own ring, where I/O threads work with rings.
  var ring: Ring?
  /// For the watcher. In memory of its own, since that changes it whatever the thread does with its context.
  let sample: UnsafeMutablePointer<WorkerSample>
  var thread: pthread_t = 0

  /// The thread's name begins with it, and ends with its number among those of that name.
  struct Name {
    let prefix: StaticString
    let number: UInt32
  }

  /// An I/O thread whose work it is to do.
  struct Assignment {
    let work: IOThreadState.Pointer
    /// Its place among the pool's.
    let seat: Int
    /// How the work was taken from another runner; nil for the first one.
    let adoption: IOThreadHooks.Adoption?
  }

  static var standingBy: UInt32 { 0 }
  static var assigned: UInt32 { 1 }
  static var ending: UInt32 { 2 }

  static var stackSize: Int { 1 << 20 }

  /// The calling thread's; nil when it is none.
  static var current: IORunnerPointer? {
    guard let context = ThreadContext.current, context.pointee.kind == .ioThread, context.pointee.isRunner else {
      return nil
    }
    return UnsafeMutableRawPointer(context).assumingMemoryBound(to: IORunner.self)
  }

  static func create(_ context: ThreadContext, name: Name, pool: IORunnerPoolState.Pointer) -> IORunnerPointer? {
    guard let memory = aligned_alloc(128, (MemoryLayout<IORunner>.size + 127) & ~127) else { return nil }
    guard let watchMemory = aligned_alloc(128, (MemoryLayout<RunWatch>.size + 127) & ~127) else {
      free(memory)
      return nil
    }
    let watch = watchMemory.bindMemory(to: RunWatch.self, capacity: 1)
    watch.initialize(to: RunWatch(isWatched: pool.pointee.isWatchedAddress))
    let runner = memory.bindMemory(to: IORunner.self, capacity: 1)
    var context = context
    context.isRunner = true
    let sample = UnsafeMutablePointer<WorkerSample>.allocate(capacity: 1)
    sample.initialize(to: WorkerSample())
    runner.initialize(to: IORunner(context: context, watch: watch, pool: pool, name: name, sample: sample))
    return runner
  }

  static func destroy(_ runner: IORunnerPointer) {
    runner.pointee.sample.pointee.close()
    runner.pointee.sample.deallocate()
    free(runner.pointee.watch)
    runner.deinitialize(count: 1)
    free(runner)
  }

  /// Gives a runner that stands by something to do. For one thread at a time.
  static func assign(_ runner: IORunnerPointer, _ assignment: Assignment) {
    runner.pointee.assignment = assignment
    tell(runner, assigned)
  }

  static func tell(_ runner: IORunnerPointer, _ order: UInt32) {
    let address = withUnsafePointer(to: runner.pointee.word) { UnsafeRawPointer($0) }
    runner.pointee.word.store(order, ordering: .releasing)
    shim_futex_wake_one(address)
  }

  static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let runner = argument?.assumingMemoryBound(to: IORunner.self) else { return nil }
    let pool = runner.pointee.pool
    let hooks = pool.pointee.hooks
    shim_set_thread_context(&runner.pointee.context)
    shim_thread_set_name(runner.pointee.name.prefix.utf8Start, runner.pointee.name.number)
    let sample = runner.pointee.sample
    sample.pointee = WorkerSample(keepsDescriptor: true)
    var isReady = prepare(runner)
    var hasOrder = runner.pointee.assignment != nil
    while true {
      while !hasOrder && !isReady && IORunnerPoolState.awaitAnotherTry(runner) { isReady = prepare(runner) }
      guard hasOrder || (isReady && IORunnerPoolState.standBy(runner)) else { break }
      hasOrder = false
      awaitOrder(runner)
      guard let assignment = runner.pointee.assignment else { break }
      runner.pointee.assignment = nil
      runner.pointee.seat = assignment.seat
      runner.pointee.word.store(standingBy, ordering: .relaxed)
      if IOThreadState.serve(assignment, runner) {
        IORunnerPoolState.didEnd(pool)
      } else if let ring = runner.pointee.ring {
        // What was armed on it, another thread has armed on its own.
        ring.awaitRelease()
        ring.destroy()
        runner.pointee.ring = nil
        isReady = prepare(runner)
      }
      RunWatch.reset(runner.pointee.watch)
    }
    runner.pointee.ring?.destroy()
    hooks.exit?(hooks.context)
    shim_set_thread_context(nil)
    return nil
  }

  /// Gives the thread what it needs and does not have yet. False: some of it could not be had.
  private static func prepare(_ runner: IORunnerPointer) -> Bool {
    let hooks = runner.pointee.pool.pointee.hooks
    if !runner.pointee.hasStarted { runner.pointee.hasStarted = hooks.start?(hooks.context) ?? true }
    return runner.pointee.hasStarted && openRing(runner)
  }

  /// Makes the thread's ring, where it is to have one. False: it could not be made.
  private static func openRing(_ runner: IORunnerPointer) -> Bool {
    guard let features = runner.pointee.pool.pointee.ringFeatures, runner.pointee.ring == nil else { return true }
    runner.pointee.ring = try? Ring.createFitting(features)
    guard var ring = runner.pointee.ring else { return false }
    let hooks = runner.pointee.pool.pointee.hooks
    if hooks.ring?(hooks.context, &ring) ?? true { return true }
    ring.destroy()
    runner.pointee.ring = nil
    return false
  }

  private static func awaitOrder(_ runner: IORunnerPointer) {
    let address = withUnsafePointer(to: runner.pointee.word) { UnsafeRawPointer($0) }
    while runner.pointee.word.load(ordering: .acquiring) == standingBy {
      _ = shim_futex_wait_until(address, standingBy, -1)
    }
  }
}

typealias IORunnerPointer = UnsafeMutablePointer<IORunner>
