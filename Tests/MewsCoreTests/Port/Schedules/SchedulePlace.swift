import CMewsShims
import Foundation
import Synchronization

/// A thread of a scheduler, and where it is in the schedule. Whoever has the turn may touch all of it.
struct SchedulePlace: ~Copyable {
  enum Status {
    case runnable
    /// Waits for a wake of `word`, and until `deadline` at most.
    case asleep
    /// Waits for `descriptor` to be readable, and until `deadline` at most.
    case polling
    /// Waits until no other thread can run.
    case awaitingQuiescence
    case finished
  }

  let index: Int
  let scheduler: Unmanaged<Scheduler>
  /// Outlives the thread, as what a thread is under has to.
  let schedule: UnsafeMutablePointer<shim_schedule>
  var status = Status.finished
  var word: UnsafeRawPointer?
  var descriptor: Int32 = -1
  /// Negative for never.
  var deadline: Int64 = -1
  /// What the wait ended with.
  var answer: Int32 = 0
  var body: (() -> Void)?

  private let turn = Atomic<UInt32>(0)
  private var thread: pthread_t = 0
  private var isStopping = false

  private init(index: Int, scheduler: Scheduler, schedule: UnsafeMutablePointer<shim_schedule>) {
    self.index = index
    self.scheduler = Unmanaged.passUnretained(scheduler)
    self.schedule = schedule
  }

  /// Whether the end of a wait is a matter of time.
  var waitsForTime: Bool { (status == .asleep || status == .polling) && deadline >= 0 }

  static func start(_ place: SchedulePlacePointer, _ index: Int, _ scheduler: Scheduler) {
    let schedule = UnsafeMutablePointer<shim_schedule>.allocate(capacity: 1)
    schedule.initialize(
      to: shim_schedule(
        context: place, reach: reach, futex_wait: futexWait, futex_wake: futexWake, nanoseconds: nanoseconds,
        await_readable: awaitReadable))
    place.initialize(to: SchedulePlace(index: index, scheduler: scheduler, schedule: schedule))
    let error = shim_thread_create(&place.pointee.thread, 1 << 20, work, place)
    precondition(error == 0, "pthread_create: \(error)")
  }

  /// Ends the thread.
  static func stop(_ place: SchedulePlacePointer) {
    place.pointee.isStopping = true
    giveTurn(place)
    pthread_join(place.pointee.thread, nil)
  }

  static func giveTurn(_ place: SchedulePlacePointer) {
    place.pointee.turn.store(1, ordering: .releasing)
    shim_futex_wake_one(turnAddress(place))
  }

  static func awaitTurn(_ place: SchedulePlacePointer) {
    while place.pointee.turn.exchange(0, ordering: .acquiring) == 0 {
      _ = shim_futex_wait_until(turnAddress(place), 0, -1)
    }
  }

  private static func turnAddress(_ place: SchedulePlacePointer) -> UnsafeRawPointer {
    withUnsafePointer(to: place.pointee.turn) { UnsafeRawPointer($0) }
  }
}

typealias SchedulePlacePointer = UnsafeMutablePointer<SchedulePlace>

private func place(_ context: UnsafeMutableRawPointer?) -> SchedulePlacePointer {
  guard let context else { preconditionFailure("a schedule of no thread") }
  return context.assumingMemoryBound(to: SchedulePlace.self)
}

private func scheduler(_ context: UnsafeMutableRawPointer?) -> Scheduler {
  place(context).pointee.scheduler.takeUnretainedValue()
}

private func work(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  let place = place(context)
  stay(onProcessor: scheduler(context).processor)
  while true {
    SchedulePlace.awaitTurn(place)
    guard let body = place.pointee.body else { return nil }
    shim_set_schedule(place.pointee.schedule)
    body()
    shim_set_schedule(nil)
    scheduler(context).didFinish(place)
  }
}

/// Has the calling thread stay on a processor: where one thread runs at a time, a change of threads is cheapest without
/// a change of processors. Swift hides the functions.
private func stay(onProcessor processor: Int32) {
  typealias SetAffinity = @convention(c) (pid_t, Int, UnsafeRawPointer) -> Int32
  guard let symbol = dlsym(nil, "sched_setaffinity"), processor >= 0 else { return }
  var mask = InlineArray<16, UInt64>(repeating: 0)
  let (word, bit) = Int(processor).quotientAndRemainder(dividingBy: 64)
  guard word < mask.count else { return }
  mask[word] = 1 << UInt64(bit)
  _ = unsafeBitCast(symbol, to: SetAffinity.self)(0, MemoryLayout.size(ofValue: mask), &mask)
}

/// The processor that the calling thread runs on; negative when that is not known.
func currentProcessor() -> Int32 {
  guard let symbol = dlsym(nil, "sched_getcpu") else { return -1 }
  return unsafeBitCast(symbol, to: (@convention(c) () -> Int32).self)()
}

private func reach(_ context: UnsafeMutableRawPointer?, _ point: UInt32) {
  scheduler(context).reach(place(context), point)
}

private func futexWait(
  _ context: UnsafeMutableRawPointer?, _ word: UnsafeRawPointer, _ expected: UInt32, _ deadline: Int64
) -> Int32 {
  scheduler(context).futexWait(place(context), word, expected, deadline)
}

private func futexWake(_ context: UnsafeMutableRawPointer?, _ word: UnsafeRawPointer) {
  scheduler(context).futexWake(place(context), word)
}

private func nanoseconds(_ context: UnsafeMutableRawPointer?) -> Int64 {
  scheduler(context).nanoseconds(place(context))
}

private func awaitReadable(_ context: UnsafeMutableRawPointer?, _ descriptor: Int32, _ milliseconds: Int32) {
  scheduler(context).awaitReadable(place(context), descriptor, milliseconds)
}
