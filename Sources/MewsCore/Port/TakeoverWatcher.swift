import CMewsShims
import Glibc
import Synchronization

/// The thread that notices handlers which do not return to their I/O threads, and has others take the work over.
///
/// It looks every millisecond while handlers run on I/O threads, and sleeps when none has for a while: then the next
/// handler wakes it.
struct TakeoverWatcher {
  private struct State: ~Copyable {
    let pool: IORunnerPoolState.Pointer
    /// 1 once the thread is to end.
    let isEnding = Atomic<UInt32>(0)
    var thread: pthread_t = 0
    var isStarted = false
  }

  private let state: UnsafeMutablePointer<State>

  private static var stackSize: Int { 256 << 10 }
  /// Nanoseconds between two looks.
  private static var pause: Int64 { 1_000_000 }
  /// A handler that burns CPU for so long, in nanoseconds, is treated as one that sleeps.
  private static var patience: Int64 { 10_000_000 }
  /// When nobody has been able to take over for so long, in nanoseconds, that is said.
  private static var reportPatience: Int64 { 100_000_000 }
  /// It goes to sleep after so many looks at which no handler had run.
  private static var quietLooks: Int { 64 }

  static func create(pool: IORunnerPoolState.Pointer) -> TakeoverWatcher {
    let state = UnsafeMutablePointer<State>.allocate(capacity: 1)
    state.initialize(to: State(pool: pool))
    return TakeoverWatcher(state: state)
  }

  /// Starts the thread. Returns 0 or an errno.
  func start() -> Int32 {
    var thread: pthread_t = 0
    let error = shim_thread_create(&thread, Self.stackSize, Self.body, state)
    state.pointee.thread = thread
    state.pointee.isStarted = error == 0
    return error
  }

  /// Ends the thread and waits for it; does nothing when it does not run.
  func end() {
    guard state.pointee.isStarted else { return }
    state.pointee.isStarted = false
    state.pointee.isEnding.store(1, ordering: .sequentiallyConsistent)
    shim_futex_wake_one(Self.endingAddress(state))
    Self.wake(state.pointee.pool.pointee.isWatchedAddress)
    pthread_join(state.pointee.thread, nil)
  }

  func destroy() {
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Wakes the watcher that sleeps on a word. Any thread.
  static func wake(_ isWatched: UnsafePointer<UInt32>) {
    if shim_run_watch_wake(UnsafeMutablePointer(mutating: isWatched)) { shim_futex_wake_one(isWatched) }
  }

  private static func endingAddress(_ state: UnsafeMutablePointer<State>) -> UnsafeRawPointer {
    withUnsafePointer(to: state.pointee.isEnding) { UnsafeRawPointer($0) }
  }

  private static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let state = argument?.assumingMemoryBound(to: State.self) else { return nil }
    shim_thread_set_plain_name("mews-takeover")
    let pool = state.pointee.pool
    var quiet = quietLooks
    while state.pointee.isEnding.load(ordering: .acquiring) == 0 {
      if quiet >= quietLooks {
        sleep(state)
        quiet = 0
      }
      let now = shim_monotonic_nanoseconds()
      quiet = look(pool, now: now) ? 0 : quiet + 1
      IORunnerPoolState.keepOneStandingBy(pool)
      _ = shim_futex_wait_until(endingAddress(state), 0, now &+ pause)
    }
    return nil
  }

  /// Sleeps until a handler runs.
  private static func sleep(_ state: UnsafeMutablePointer<State>) {
    let pool = state.pointee.pool
    let isWatched = pool.pointee.isWatched
    shim_run_watch_sleep(isWatched)
    // A handler that began before that and did not see it is seen here.
    shim_run_barrier()
    let hasBegun = look(pool, now: shim_monotonic_nanoseconds())
    if hasBegun || state.pointee.isEnding.load(ordering: .sequentiallyConsistent) != 0 {
      wake(UnsafePointer(isWatched))
      return
    }
    while shim_run_watch_sleeps(isWatched) { _ = shim_futex_wait_until(isWatched, 0, -1) }
  }

  /// Looks once. Returns whether any handler runs or has run since the last look.
  private static func look(_ pool: IORunnerPoolState.Pointer, now: Int64) -> Bool {
    var isActive = false
    for number in 0..<pool.pointee.seatCount {
      pool.pointee.lock.lock()
      guard let runner = pool.pointee.seats[number].runner else {
        pool.pointee.lock.unlock()
        continue
      }
      let word = RunWatch.word(runner.pointee.watch)
      let seat = pool.pointee.seats + number
      let isSame = seat.pointee.word == word
      if !isSame {
        seat.pointee.word = word
        seat.pointee.since = now
        seat.pointee.isStranded = false
      }
      let isStuck = isSame && RunWatch.isRun(word) && mayTake(runner, now &- seat.pointee.since)
      let nanoseconds = now &- seat.pointee.since
      isActive = isActive || !isSame || RunWatch.isRun(word)
      pool.pointee.lock.unlock()
      guard isStuck, !IORunnerPoolState.takeOver(pool, seat: number, number: word, after: nanoseconds),
        nanoseconds >= reportPatience, !seat.pointee.isStranded
      else { continue }
      seat.pointee.isStranded = true
      let hooks = pool.pointee.hooks
      hooks.stranded?(hooks.context, number)
    }
    return isActive
  }

  /// Whether a handler that was seen to run for so long is one that does not return soon.
  private static func mayTake(_ runner: IORunnerPointer, _ nanoseconds: Int64) -> Bool {
    // Through a pointer of its own: what is changed behind it is no part of the runner.
    let sample = runner.pointee.sample
    return nanoseconds >= patience || sample.pointee.isAsleep() == true
  }
}
