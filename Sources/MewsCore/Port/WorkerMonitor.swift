import CMewsShims
import Glibc
import Synchronization

/// The thread that watches over a pool of workers while packets wait: it releases others in the place of workers that
/// sleep, and adds threads where none is left.
///
/// While no packet waits it sleeps, and costs nothing: whoever posts a packet that no thread could be handed wakes it.
/// From then on it looks by itself, every 0.2 to 2 milliseconds as `MonitorPace` has it, until packets have been taken
/// at once for a while.
struct WorkerMonitor {
  private struct State: ~Copyable {
    let isEnding = Atomic<Bool>(false)
    let pool: WorkerPoolState.Pointer
    /// What the port wakes. The thread is not one of the port's: the record is only there for its word.
    let record: PortThreadPointer
    var thread: pthread_t = 0
    var isStarted = false
  }

  private let state: UnsafeMutablePointer<State>

  private static var stackSize: Int { 256 << 10 }
  /// It goes to sleep after so many looks that found no packet waiting.
  private static var quietLooks: Int { 8 }

  static func create(pool: WorkerPoolState.Pointer) -> WorkerMonitor {
    let record = PortThreadPointer.allocate(capacity: 1)
    record.initialize(to: PortThread())
    let state = UnsafeMutablePointer<State>.allocate(capacity: 1)
    state.initialize(to: State(pool: pool, record: record))
    return WorkerMonitor(state: state)
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
    state.pointee.isEnding.store(true, ordering: .releasing)
    state.pointee.pool.pointee.port.unwatch()
    let record = state.pointee.record
    record.pointee.next = nil
    PortState.wake(record, of: state.pointee.pool.pointee.port.state)
    pthread_join(state.pointee.thread, nil)
  }

  func destroy() {
    state.pointee.record.deinitialize(count: 1)
    state.pointee.record.deallocate()
    state.deinitialize(count: 1)
    state.deallocate()
  }

  private static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let state = argument?.assumingMemoryBound(to: State.self) else { return nil }
    shim_thread_set_plain_name("mews-monitor")
    let record = state.pointee.record
    let clock = shim_thread_clock()
    var pace = MonitorPace(time: shim_monotonic_nanoseconds(), cpuTime: shim_clock_nanoseconds(clock))
    while !state.pointee.isEnding.load(ordering: .acquiring) {
      sleepUntilPacketsWait(state, record)
      pace.restart()
      var quiet = 0
      while quiet < quietLooks && !state.pointee.isEnding.load(ordering: .acquiring) {
        let outcome = MonitorRounds.look(state.pointee.pool, now: shim_monotonic_nanoseconds())
        quiet = outcome.isQuiet ? quiet + 1 : 0
        let now = shim_monotonic_nanoseconds()
        let pause = pace.pause(found: outcome.hasActed, time: now, cpuTime: shim_clock_nanoseconds(clock))
        record.pointee.word.store(PortThread.parked, ordering: .relaxed)
        sleep(record, until: now &+ pause)
      }
    }
    return nil
  }

  private static func sleepUntilPacketsWait(_ state: UnsafeMutablePointer<State>, _ record: PortThreadPointer) {
    record.pointee.word.store(PortThread.parked, ordering: .relaxed)
    guard state.pointee.pool.pointee.port.watch(record) else { return }
    // Who ends it says so first and then takes the port's lock, which this thread has just had: either it is seen here,
    // or the record is woken after the store above.
    guard !state.pointee.isEnding.load(ordering: .acquiring) else {
      state.pointee.pool.pointee.port.unwatch()
      return
    }
    sleep(record, until: -1)
  }

  /// - Parameter deadline: on the monotonic clock; -1 for never.
  private static func sleep(_ record: PortThreadPointer, until deadline: Int64) {
    while record.pointee.word.load(ordering: .acquiring) == PortThread.parked {
      if shim_futex_wait_until(record.pointee.wordAddress, PortThread.parked, deadline) == ETIMEDOUT { return }
    }
  }
}
