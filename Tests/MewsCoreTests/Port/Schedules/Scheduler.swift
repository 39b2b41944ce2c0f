import CMewsShims
import Foundation
import Synchronization

/// Runs threads one at a time, in an order that follows from a seed alone.
///
/// Each is a thread of the system, but only the one that has the turn runs. At every point at which it might notice or
/// affect another (`Interleaving`, `Futex`, `MonotonicClock`) a policy decides who goes on. Sleeping, waking and the
/// time are the scheduler's own: a deadline passes when the policy says so, or when nobody can run otherwise. When
/// nobody can run and no deadline is left, a wake-up was lost.
///
/// What is explored are interleavings; the order in which a processor lets others see its writes is not.
final class Scheduler: @unchecked Sendable {
  /// What a schedule came to.
  struct Outcome {
    /// What went wrong first, if anything did.
    var failure: String?
    /// Who did what, in order.
    var trace: ScheduleTrace
  }

  let threadCount: Int
  /// All threads of the scheduler stay on it.
  let processor = currentProcessor()
  private let places: SchedulePlacePointer
  private let isOver = DispatchSemaphore(value: 0)
  /// Threads were left waiting for ever: none can be used again.
  private(set) var isAbandoned = false

  // Of the schedule under way. Whoever has the turn may touch these.
  private var policy = SchedulePolicy(seed: 0)
  private(set) var now: Int64 = 0
  private(set) var step = 0
  /// Whether anybody waits for a time.
  private(set) var hasDeadline = false
  private var failure: String?
  private var trace = ScheduleTrace()
  private var recoveries = 0
  private var wakes = 0
  private var plan = SchedulePlan()

  /// Where schedules begin, in nanoseconds.
  static let startOfTime: Int64 = 1_000_000_000
  /// A schedule of more steps goes round in circles.
  private static let stepLimit = 100_000

  init(threadCount: Int) {
    precondition(threadCount < SchedulePolicy.clock)
    self.threadCount = threadCount
    places = .allocate(capacity: threadCount)
    for index in 0..<threadCount {
      SchedulePlace.start(places + index, index, self)
    }
  }

  /// Ends the threads. The memory stays: threads that were abandoned sleep in it.
  func finish() {
    guard !isAbandoned else { return }
    for index in 0..<threadCount { SchedulePlace.stop(places + index) }
  }

  /// Runs bodies, one a thread, to their end.
  func run(seed: UInt64, plan: SchedulePlan = SchedulePlan(), _ bodies: [() -> Void]) -> Outcome {
    precondition(bodies.count <= threadCount && !isAbandoned)
    policy = SchedulePolicy(seed: seed)
    self.plan = plan
    (now, step, failure, recoveries, wakes) = (Self.startOfTime, 0, nil, 0, 0)
    trace = ScheduleTrace()
    for (index, body) in bodies.enumerated() {
      places[index].body = body
      places[index].status = .runnable
    }
    if let first = decide(nil) {
      SchedulePlace.giveTurn(places + first)
      isOver.wait()
    }
    self.plan = SchedulePlan()
    return Outcome(failure: failure, trace: trace)
  }

  /// Notes what went wrong; the first counts. On the thread that has the turn.
  func fail(_ reason: @autoclosure () -> String) {
    if failure == nil { failure = "step \(step): \(reason())" }
  }

  /// Returns when no other thread can run, whatever time it is. On the thread of that number.
  func awaitQuiescence(_ index: Int) {
    places[index].status = .awaitingQuiescence
    handTurnOn(places + index)
  }

  /// A point of a test's own.
  static func pass() { shim_schedule_reach(SHIM_POINT_TEST.rawValue) }

}

/// What a schedule is to be besides random.
struct SchedulePlan {
  /// Of the wakes that wake somebody, the number of one that does not: a bug that has to be found.
  var droppedWake = -1
  /// Looks whether all is as it should be, whenever a thread is about to take a lock; says what is not.
  var inspect: (() -> String?)?
  /// Looks at what holds when no thread can run before some time is over.
  var inspectQuiescence: (() -> String?)?
}

// MARK: On the thread that has the turn

extension Scheduler {
  func reach(_ place: SchedulePlacePointer, _ point: UInt32) {
    record(place.pointee.index, point)
    // What a lock guards changes between points like these only.
    if point == SHIM_POINT_LOCK.rawValue { look(plan.inspect, place) }
    handTurnOn(place)
  }

  func didFinish(_ place: SchedulePlacePointer) {
    place.pointee.status = .finished
    place.pointee.body = nil
    if let next = decide(place) { SchedulePlace.giveTurn(places + next) } else { isOver.signal() }
  }

  func futexWait(
    _ place: SchedulePlacePointer, _ word: UnsafeRawPointer, _ expected: UInt32, _ deadline: Int64
  ) -> Int32 {
    reach(place, SHIM_POINT_WAIT.rawValue)
    let atomic = word.assumingMemoryBound(to: Atomic<UInt32>.self)
    guard atomic.pointee.load(ordering: .acquiring) == expected else { return 0 }
    guard deadline < 0 || deadline > now else { return ETIMEDOUT }
    place.pointee.status = .asleep
    place.pointee.word = word
    place.pointee.deadline = deadline
    handTurnOn(place)
    return place.pointee.answer
  }

  func futexWake(_ place: SchedulePlacePointer, _ word: UnsafeRawPointer) {
    reach(place, SHIM_POINT_WAKE.rawValue)
    var sleepers: UInt32 = 0
    for index in 0..<threadCount where places[index].status == .asleep && places[index].word == word {
      sleepers |= 1 << UInt32(index)
    }
    guard sleepers != 0 else { return }
    wakes += 1
    guard wakes != plan.droppedWake else { return }
    resume(policy.random.bit(of: sleepers), answer: 0)
  }

  func nanoseconds(_ place: SchedulePlacePointer) -> Int64 {
    reach(place, SHIM_POINT_CLOCK.rawValue)
    return now
  }

  func awaitReadable(
    _ place: SchedulePlacePointer, _ descriptor: Int32, _ milliseconds: Int32
  ) {
    reach(place, SHIM_POINT_POLL.rawValue)
    guard milliseconds != 0, !isReadable(descriptor) else { return }
    place.pointee.status = .polling
    place.pointee.descriptor = descriptor
    place.pointee.deadline = milliseconds < 0 ? -1 : now + Int64(milliseconds) * 1_000_000
    handTurnOn(place)
  }

  private func record(_ thread: Int, _ point: UInt32) {
    step += 1
    trace.append(thread: thread, point: point)
  }

  private func resume(_ index: Int, answer: Int32) {
    places[index].status = .runnable
    places[index].answer = answer
  }

  /// Lets another go on if the policy says so, and returns when it is this thread's turn again.
  private func handTurnOn(_ place: SchedulePlacePointer) {
    guard let next = decide(place) else {
      // The schedule is given up, and the thread stays here.
      isOver.signal()
      return SchedulePlace.awaitTurn(place)
    }
    guard next != place.pointee.index else { return }
    SchedulePlace.giveTurn(places + next)
    SchedulePlace.awaitTurn(place)
  }

  /// Who is next; nil when the schedule is over.
  private func decide(_ place: SchedulePlacePointer?) -> Int? {
    while true {
      guard step < Self.stepLimit else { return abandon("the threads go round in circles") }
      let runnable: UInt32
      (runnable, hasDeadline) = candidates()
      if runnable == 0, let place { look(plan.inspectQuiescence, place) }
      let mask = hasDeadline ? runnable | 1 << UInt32(SchedulePolicy.clock) : runnable
      if mask == 0 {
        if let index = first(.awaitingQuiescence) {
          resume(index, answer: 0)
          return index
        }
        guard first(.asleep) != nil || first(.polling) != nil else { return nil }
        guard recover() else { return nil }
        continue
      }
      let picked = policy.pick(mask, current: place?.pointee.index ?? 0, step: step)
      guard picked == SchedulePolicy.clock else {
        if places[picked].status == .polling { resume(picked, answer: 0) }
        return picked
      }
      passTime()
    }
  }

  /// Who can go on, and whether anybody waits for a time. This is most of what a step costs in a debug build, hence
  /// the plain loop.
  private func candidates() -> (runnable: UInt32, hasDeadline: Bool) {
    var mask: UInt32 = 0
    var hasDeadline = false
    var index = 0
    while index < threadCount {
      let place = places + index
      switch place.pointee.status {
      case .runnable: mask |= 1 << UInt32(index)
      case .asleep: hasDeadline = hasDeadline || place.pointee.deadline >= 0
      case .polling:
        if isReadable(place.pointee.descriptor) { mask |= 1 << UInt32(index) }
        hasDeadline = hasDeadline || place.pointee.deadline >= 0
      case .finished, .awaitingQuiescence: break
      }
      index &+= 1
    }
    return (mask, hasDeadline)
  }

  private func first(_ status: SchedulePlace.Status) -> Int? {
    (0..<threadCount).first { places[$0].status == status }
  }

  /// Moves the clock to the earliest deadline.
  private func passTime() {
    record(SchedulePolicy.clock, SHIM_POINT_CLOCK.rawValue)
    var earliest = Int64.max
    for index in 0..<threadCount where places[index].waitsForTime { earliest = min(earliest, places[index].deadline) }
    now = max(now, earliest)
    for index in 0..<threadCount where places[index].waitsForTime && places[index].deadline <= now {
      resume(index, answer: ETIMEDOUT)
    }
  }

  /// Nobody can run. Wakes the sleepers, which a futex may do at any time, so that they find what they were not woken
  /// for and come to their ends.
  private func recover() -> Bool {
    let sleepers = (0..<threadCount).filter { places[$0].status == .asleep || places[$0].status == .polling }
    fail("threads \(sleepers) sleep, and nobody will wake them")
    recoveries += 1
    guard recoveries <= 3 else { return abandon("") != nil }
    for index in sleepers { resume(index, answer: 0) }
    return true
  }

  private func abandon(_ reason: String) -> Int? {
    fail(reason)
    isAbandoned = true
    return nil
  }

  /// Notes what an inspection finds. What it calls is no part of the schedule.
  private func look(_ inspect: (() -> String?)?, _ place: SchedulePlacePointer) {
    guard let inspect, failure == nil else { return }
    shim_set_schedule(nil)
    if let finding = inspect() { fail(finding) }
    shim_set_schedule(place.pointee.schedule)
  }
}
