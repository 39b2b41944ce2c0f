import CMewsShims
import Glibc
import Synchronization

/// The memory behind an `IORunnerPool`: who does the work of which I/O thread, and who stands by.
///
/// What the lock guards comes first, for the reason that `PortState` has.
struct IORunnerPoolState: ~Copyable {
  typealias Pointer = UnsafeMutablePointer<IORunnerPoolState>

  /// An I/O thread with the thread that does its work.
  struct Seat {
    let work: IOThreadState.Pointer
    var runner: IORunnerPointer?
    /// The watcher's: what it last saw in the runner's word, and since when, and whether it has said that nobody can
    /// take the run over.
    var word: UInt64 = 1
    var since: Int64 = 0
    var isStranded = false
  }

  // Guarded by the lock, as are the seats' runners.
  private var runnerCount = 0
  private var first: IORunnerPointer?
  /// Threads that are about to stand by.
  private var starting = 0
  private var isEnding = false
  private var figures = TakeoverStatistics()

  let seats: UnsafeMutablePointer<Seat>
  let seatCount: Int
  let standbys: Int
  let firstStandbyIndex: UInt32
  let server: UnsafeMutableRawPointer?
  let hooks: IORunnerHooks
  /// What the threads' rings use; nil where they have none.
  let ringFeatures: RingFeatures?
  /// 0 while the watcher sleeps. Runners look at it whenever a handler begins.
  let isWatched: UnsafeMutablePointer<UInt32>

  let lock = FutexLock(spins: ProcessorCount.available > 1)
  /// Guarded by the lock.
  private let runners: UnsafeMutablePointer<IORunnerPointer>
  /// I/O threads that have started and not ended. `awaitEnd` sleeps on it.
  let serving = Atomic<UInt32>(0)

  init(
    ioThreads: [IOThread], standbys: Int, firstStandbyIndex: UInt32, server: UnsafeMutableRawPointer?,
    hooks: IORunnerHooks, ringFeatures: RingFeatures?
  ) {
    self.ringFeatures = ringFeatures
    seatCount = ioThreads.count
    seats = .allocate(capacity: max(1, seatCount))
    for (index, thread) in ioThreads.enumerated() { (seats + index).initialize(to: Seat(work: thread.state)) }
    self.standbys = standbys
    self.firstStandbyIndex = firstStandbyIndex
    self.server = server
    self.hooks = hooks
    runners = .allocate(capacity: max(1, seatCount + standbys))
    isWatched = .allocate(capacity: 1)
    // Where nothing can be taken over, nobody is to be woken.
    isWatched.initialize(to: standbys > 0 ? 0 : 1)
  }

  deinit {
    for index in 0..<runnerCount { IORunner.destroy(runners[index]) }
    runners.deallocate()
    seats.deallocate()
    isWatched.deallocate()
  }

  var isWatchedAddress: UnsafePointer<UInt32> { UnsafePointer(isWatched) }

  /// Adds a thread: one to do the work of a seat, or one to stand by.
  ///
  /// - Returns: 0 or an errno: EAGAIN when there are as many as may be, ESRCH when the pool ends.
  static func addRunner(_ pool: Pointer, seat: Int?) -> Int32 {
    pool.pointee.lock.lock()
    let number = pool.pointee.runnerCount
    guard !pool.pointee.isEnding, number < pool.pointee.seatCount + pool.pointee.standbys else {
      let isEnding = pool.pointee.isEnding
      pool.pointee.lock.unlock()
      return isEnding ? ESRCH : EAGAIN
    }
    guard let runner = makeRunner(pool, number, seat) else {
      pool.pointee.lock.unlock()
      return ENOMEM
    }
    // With the pool locked, so that its end finds either no runner or one with a thread.
    var thread: pthread_t = 0
    let error = shim_thread_create(&thread, IORunner.stackSize, IORunner.body, runner)
    if error == 0 {
      runner.pointee.thread = thread
      (pool.pointee.runners + number).initialize(to: runner)
      pool.pointee.runnerCount += 1
      if let seat {
        pool.pointee.seats[seat].runner = runner
        pool.pointee.serving.add(1, ordering: .relaxed)
      } else {
        runner.pointee.isStarting = true
        pool.pointee.starting += 1
      }
    }
    pool.pointee.lock.unlock()
    if error != 0 { IORunner.destroy(runner) }
    return error
  }

  private static func makeRunner(_ pool: Pointer, _ number: Int, _ seat: Int?) -> IORunnerPointer? {
    let server = pool.pointee.server
    guard let seat else {
      let index = UInt32(truncatingIfNeeded: number - pool.pointee.seatCount)
      let context = ThreadContext(kind: .ioThread, index: pool.pointee.firstStandbyIndex &+ index, server: server)
      return IORunner.create(context, name: IORunner.Name(prefix: "mews-standby", number: index), pool: pool)
    }
    let index = UInt32(truncatingIfNeeded: seat)
    let context = ThreadContext(kind: .ioThread, index: index, server: server)
    guard let runner = IORunner.create(context, name: IORunner.Name(prefix: "mews-io", number: index), pool: pool)
    else { return nil }
    let assignment = IORunner.Assignment(work: pool.pointee.seats[seat].work, seat: seat, adoption: nil)
    runner.pointee.assignment = assignment
    runner.pointee.word.store(IORunner.assigned, ordering: .relaxed)
    return runner
  }

  // MARK: On runners

  /// The calling runner has nothing to do and stands by. False: the pool ends.
  static func standBy(_ runner: IORunnerPointer) -> Bool {
    let pool = runner.pointee.pool
    pool.pointee.lock.lock()
    defer { pool.pointee.lock.unlock() }
    hasStarted(runner)
    guard !pool.pointee.isEnding else { return false }
    runner.pointee.next = pool.pointee.first
    pool.pointee.first = runner
    return true
  }

  /// How long a runner waits that lacks what it would need to stand by, in nanoseconds.
  private static var retryPause: Int64 { 100_000_000 }

  /// The calling runner lacks what it would need to stand by, descriptors or memory: waits a moment. It counts as one
  /// that is about to stand by, so that no other is made, which would lack the same. False: the pool ends.
  static func awaitAnotherTry(_ runner: IORunnerPointer) -> Bool {
    let pool = runner.pointee.pool
    pool.pointee.lock.lock()
    let isEnding = pool.pointee.isEnding
    if !isEnding && !runner.pointee.isStarting {
      runner.pointee.isStarting = true
      pool.pointee.starting += 1
    }
    pool.pointee.lock.unlock()
    guard !isEnding else { return false }
    let address = withUnsafePointer(to: runner.pointee.word) { UnsafeRawPointer($0) }
    _ = shim_futex_wait_until(address, IORunner.standingBy, shim_monotonic_nanoseconds() &+ retryPause)
    return true
  }

  /// With the lock held.
  private static func hasStarted(_ runner: IORunnerPointer) {
    guard runner.pointee.isStarting else { return }
    runner.pointee.isStarting = false
    runner.pointee.pool.pointee.starting -= 1
  }

  /// The work of an I/O thread comes to its end: no handler runs any more, and from now on nobody looks at what it is
  /// done with.
  static func willEnd(_ assignment: IORunner.Assignment, _ pool: Pointer) {
    pool.pointee.lock.lock()
    pool.pointee.seats[assignment.seat].runner = nil
    pool.pointee.lock.unlock()
  }

  /// It has come to its end, after `willEnd`.
  static func didEnd(_ pool: Pointer) {
    let address = withUnsafePointer(to: pool.pointee.serving) { UnsafeRawPointer($0) }
    pool.pointee.serving.subtract(1, ordering: .releasing)
    shim_futex_wake_one(address)
  }

  /// Gives the work away that the calling thread does, from within a handler. False: nobody can take it.
  static func handOver(_ runner: IORunnerPointer) -> Bool {
    let watch = runner.pointee.watch
    // Outside of a handler there is nothing to give away, and after a takeover nothing any more.
    guard RunWatch.isRun(RunWatch.word(watch)), RunWatch.enter(watch) else { return true }
    let pool = runner.pointee.pool
    let seat = runner.pointee.seat
    pool.pointee.lock.lock()
    guard IOThreadState.mayBeAdopted(pool.pointee.seats[seat].work), let standby = takeStandby(pool) else {
      pool.pointee.figures.missed += 1
      pool.pointee.lock.unlock()
      RunWatch.resume(watch)
      return false
    }
    seatRunner(standby, pool, seat)
    pool.pointee.figures.given += 1
    pool.pointee.lock.unlock()
    shim_run_give_up(watch)
    give(standby, pool, seat, isGiven: true, nanoseconds: 0)
    return true
  }

  // MARK: For the watcher

  /// Gives the work of a seat to a thread that stands by, if the handler still runs whose number this is. False: nobody
  /// can take it.
  static func takeOver(_ pool: Pointer, seat: Int, number: UInt64, after nanoseconds: Int64) -> Bool {
    pool.pointee.lock.lock()
    guard let stuck = pool.pointee.seats[seat].runner, RunWatch.word(stuck.pointee.watch) == number else {
      pool.pointee.lock.unlock()
      return true
    }
    guard IOThreadState.mayBeAdopted(pool.pointee.seats[seat].work), let standby = takeStandby(pool) else {
      pool.pointee.figures.missed += 1
      pool.pointee.lock.unlock()
      return false
    }
    guard shim_run_take(stuck.pointee.watch, number) else {
      standby.pointee.next = pool.pointee.first
      pool.pointee.first = standby
      pool.pointee.lock.unlock()
      return true
    }
    seatRunner(standby, pool, seat)
    pool.pointee.figures.taken += 1
    let place = min(Int(nanoseconds / 100_000), pool.pointee.figures.delays.count - 1)
    pool.pointee.figures.delays[max(0, place)] += 1
    pool.pointee.lock.unlock()
    give(standby, pool, seat, isGiven: false, nanoseconds: nanoseconds)
    return true
  }

  private static func give(
    _ standby: IORunnerPointer, _ pool: Pointer, _ seat: Int, isGiven: Bool, nanoseconds: Int64
  ) {
    let work = pool.pointee.seats[seat].work
    let adoption = IOThreadHooks.Adoption(
      stuckPacket: work.pointee.runningPacket, isGiven: isGiven, nanoseconds: nanoseconds)
    IORunner.assign(standby, IORunner.Assignment(work: work, seat: seat, adoption: adoption))
  }

  /// With the lock held.
  private static func seatRunner(_ runner: IORunnerPointer, _ pool: Pointer, _ seat: Int) {
    pool.pointee.seats[seat].runner = runner
    // Runs of different threads have the same numbers.
    pool.pointee.seats[seat].word = UInt64(SHIM_RUN_BUSY)
  }

  /// Adds a thread when none stands by or is about to, so that who needs one does not have to wait until it is made.
  static func keepOneStandingBy(_ pool: Pointer) {
    pool.pointee.lock.lock()
    let isNeeded = pool.pointee.first == nil && pool.pointee.starting == 0
    pool.pointee.lock.unlock()
    if isNeeded { _ = addRunner(pool, seat: nil) }
  }

  /// With the lock held.
  private static func takeStandby(_ pool: Pointer) -> IORunnerPointer? {
    guard !pool.pointee.isEnding, let standby = pool.pointee.first else { return nil }
    pool.pointee.first = standby.pointee.next
    return standby
  }

  // MARK: For the owner

  static func statistics(_ pool: Pointer) -> TakeoverStatistics {
    pool.pointee.lock.lock()
    defer { pool.pointee.lock.unlock() }
    var figures = pool.pointee.figures
    var next = pool.pointee.first
    while let runner = next {
      figures.standingBy += 1
      next = runner.pointee.next
    }
    return figures
  }

  static func awaitEnd(_ pool: Pointer) {
    let address = withUnsafePointer(to: pool.pointee.serving) { UnsafeRawPointer($0) }
    while true {
      let serving = pool.pointee.serving.load(ordering: .acquiring)
      if serving == 0 { return }
      _ = shim_futex_wait_until(address, serving, -1)
    }
  }

  /// Ends all threads and waits for them. No I/O thread's work goes on.
  static func endStandbys(_ pool: Pointer) {
    pool.pointee.lock.lock()
    pool.pointee.isEnding = true
    var next = pool.pointee.first
    pool.pointee.first = nil
    // None is added any more, but those that are on their way to stand by still change what is behind the lock.
    let count = pool.pointee.runnerCount
    pool.pointee.lock.unlock()
    while let runner = next {
      next = runner.pointee.next
      IORunner.tell(runner, IORunner.ending)
    }
    // Those that are stuck or on their way end by themselves.
    for index in 0..<count { pthread_join(pool.pointee.runners[index].pointee.thread, nil) }
  }
}
