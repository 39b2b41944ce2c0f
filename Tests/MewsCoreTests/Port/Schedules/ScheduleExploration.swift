import Foundation
import Testing

/// What the threads of a schedule do, and what has to hold. A seed determines it.
protocol ScheduledScenario: AnyObject {
  init(random: RandomSource, scheduler: Scheduler)

  /// What the threads do, one each.
  var bodies: [() -> Void] { get }
  /// Looks whether all is as it should be, whenever a thread is about to take a lock; says what is not.
  func inspect() -> String?
  /// Looks at what holds when no thread can run before some time is over.
  func inspectQuiescence() -> String?
  /// Looks at what holds in the end, and releases what there is.
  func finish() -> String?
}

extension ScheduledScenario {
  func inspect() -> String? { nil }
  func inspectQuiescence() -> String? { nil }
}

/// Runs a scenario under many schedules, each with a seed of its own.
///
/// The environment variable `MEWS_SCHEDULES` has so many times as many explored (a number, possibly broken), and
/// `MEWS_SCHEDULE_SEED` one seed alone.
enum ScheduleExploration {
  struct Failure {
    var seed: UInt64
    var reason: String
    var trace: ScheduleTrace
  }

  /// Explores, and records a failure as an issue of the test.
  static func expectNoFailure<Scenario: ScheduledScenario>(
    _ scenario: Scenario.Type, threads: Int, schedules: Int, location: SourceLocation = #_sourceLocation
  ) {
    let environment = ProcessInfo.processInfo.environment
    var seeds: ClosedRange<UInt64> = 1...UInt64(schedules)
    if let factor = environment["MEWS_SCHEDULES"].flatMap(Double.init) {
      seeds = 1...max(1, UInt64(Double(schedules) * factor))
    }
    if let seed = environment["MEWS_SCHEDULE_SEED"].flatMap(UInt64.init) { seeds = seed...seed }
    guard let failure = firstFailure(scenario, threads: threads, seeds: seeds) else { return }
    Issue.record(
      """
      \(Scenario.self), MEWS_SCHEDULE_SEED=\(failure.seed): \(failure.reason)
      the last steps: \(failure.trace.description())
      """, sourceLocation: location)
  }

  /// The first seed of a range whose schedule fails.
  ///
  /// - Parameter droppingWakes: whether each schedule loses one wake-up.
  static func firstFailure<Scenario: ScheduledScenario>(
    _ scenario: Scenario.Type, threads: Int, seeds: ClosedRange<UInt64>, droppingWakes: Bool = false
  ) -> Failure? {
    let scheduler = Scheduler(threadCount: threads)
    defer { scheduler.finish() }
    for seed in seeds {
      let outcome = run(scenario, seed: seed, on: scheduler, droppingWakes: droppingWakes)
      if let reason = outcome.failure { return Failure(seed: seed, reason: reason, trace: outcome.trace) }
    }
    return nil
  }

  /// Runs one schedule.
  static func run<Scenario: ScheduledScenario>(
    _ scenario: Scenario.Type, seed: UInt64, on scheduler: Scheduler, droppingWakes: Bool = false
  ) -> Scheduler.Outcome {
    var random = RandomSource(seed: seed &* 2 &+ 1)
    let droppedWake = droppingWakes ? 1 + random.below(4) : -1
    // What it creates goes by the time of its threads.
    let scenario = TestClock(now: Scheduler.startOfTime).run { Scenario(random: random, scheduler: scheduler) }
    let plan = SchedulePlan(
      droppedWake: droppedWake, inspect: scenario.inspect, inspectQuiescence: scenario.inspectQuiescence)
    var outcome = scheduler.run(seed: seed, plan: plan, scenario.bodies)
    // What threads sleep in must not be released.
    guard !scheduler.isAbandoned else { return outcome }
    let finding = scenario.finish()
    if outcome.failure == nil { outcome.failure = finding }
    return outcome
  }
}
