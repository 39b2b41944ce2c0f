import Foundation
import Synchronization
import Testing

@testable import MewsCore

@Suite("Schedules: what they find, and that they can be replayed")
struct PlantedBugTests {
  @Test("A seed determines the schedule: the same one gives the same steps, another one others")
  func replay() {
    expectReplay(PortScenario.self)
    expectReplay(BackendScenario<MemoryBackend>.self)
    expectReplay(BackendScenario<EpollBackend>.self)
  }

  private func expectReplay<Scenario: ScheduledScenario>(_ scenario: Scenario.Type) {
    let scheduler = Scheduler(threadCount: 4)
    defer { scheduler.finish() }
    let traces = (1...40).map { seed in
      let first = ScheduleExploration.run(scenario, seed: UInt64(seed), on: scheduler)
      let second = ScheduleExploration.run(scenario, seed: UInt64(seed), on: scheduler)
      #expect(first.trace == second.trace && first.failure == nil && second.failure == nil)
      #expect(first.trace.count > 0)
      return first.trace.description(last: .max)
    }
    #expect(Set(traces).count == traces.count)
  }

  @Test("A failure is replayed: the same seed gives the same failure after the same steps")
  func replayFailure() throws {
    let range: ClosedRange<UInt64> = 1...200
    let failure = try #require(
      ScheduleExploration.firstFailure(LateLookScenario.self, threads: 4, seeds: range))
    let again = try #require(
      ScheduleExploration.firstFailure(LateLookScenario.self, threads: 4, seeds: failure.seed...failure.seed))
    #expect(again.reason == failure.reason)
    #expect(again.trace == failure.trace)
  }

  @Test("A small queue without a flaw passes")
  func soundQueue() {
    #expect(ScheduleExploration.firstFailure(SoundScenario.self, threads: 4, seeds: 1...1_000) == nil)
  }

  @Test("A queue that looks too late is found to lose a wake-up")
  func lostWake() throws {
    let failure = try #require(
      ScheduleExploration.firstFailure(LateLookScenario.self, threads: 4, seeds: 1...200))
    #expect(failure.reason.contains("nobody will wake them"))
  }

  @Test("A queue that forgets to look again is found to lose a value")
  func takenTwice() throws {
    let failure = try #require(
      ScheduleExploration.firstFailure(StaleLookScenario.self, threads: 4, seeds: 1...200))
    #expect(failure.reason.contains("received"))
  }

  @Test("A completion port whose wake-ups get lost is found out")
  func droppedWake() throws {
    let failure = try #require(
      ScheduleExploration.firstFailure(PortScenario.self, threads: 4, seeds: 1...20, droppingWakes: true))
    #expect(failure.reason.contains("sleep"))
  }

  @Test("A wake-up that a port over io_uring loses is found", .ring)
  func droppedWakeOverRing() throws {
    let failure = ScheduleExploration.firstFailure(
      BackendScenario<ScheduledRingBackend>.self, threads: 5, seeds: 1...60, droppingWakes: true)
    #expect(try #require(failure).reason.contains("sleep"))
  }
}

/// A queue of numbers in front of which threads sleep, with a flaw or without.
private final class SmallQueue: @unchecked Sendable {
  enum Flaw {
    case none
    /// Reads the word to sleep on when the queue was already found empty.
    case looksTooLate
    /// Takes what it saw before it left the lock.
    case trustsAnOldLook
  }

  private let flaw: Flaw
  private let lock = FutexLock(spins: false)
  private let changes = Atomic<UInt32>(0)
  private var values: [Int] = []

  init(_ flaw: Flaw) { self.flaw = flaw }

  func push(_ value: Int) {
    lock.lock()
    values.append(value)
    lock.unlock()
    Interleaving.reach(Interleaving.store)
    changes.add(1, ordering: .releasing)
    Futex.wakeOne(address)
  }

  func pop() -> Int {
    while true {
      var seen = look()
      lock.lock()
      var first = values.first
      if flaw == .trustsAnOldLook && first != nil {
        lock.unlock()
        lock.lock()
      }
      if !values.isEmpty { values.removeFirst() } else if flaw != .trustsAnOldLook { first = nil }
      lock.unlock()
      if let first { return first }
      if flaw == .looksTooLate { seen = look() }
      _ = Futex.wait(on: address, while: seen, until: -1)
    }
  }

  private func look() -> UInt32 {
    Interleaving.reach(Interleaving.load)
    return changes.load(ordering: .acquiring)
  }

  private var address: UnsafeRawPointer { withUnsafePointer(to: changes) { UnsafeRawPointer($0) } }
}

/// Two threads push, two pop.
private class QueueScenario: ScheduledScenario {
  class var flaw: SmallQueue.Flaw { .none }

  private static let count = 3
  private let queue: SmallQueue
  private var received: [Int] = []

  required init(random: RandomSource, scheduler: Scheduler) { queue = SmallQueue(Self.flaw) }

  var bodies: [() -> Void] {
    let pushers = (0..<2).map { number in
      { [self] in for index in 0..<Self.count { queue.push(number * 10 + index) } }
    }
    let poppers = (0..<2).map { _ in
      { [self] in for _ in 0..<Self.count { received.append(queue.pop()) } }
    }
    return pushers + poppers
  }

  func finish() -> String? {
    let expected = (0..<2).flatMap { number in (0..<Self.count).map { number * 10 + $0 } }
    return received.sorted() == expected ? nil : "received \(received)"
  }
}

private final class SoundScenario: QueueScenario {}

private final class LateLookScenario: QueueScenario {
  override class var flaw: SmallQueue.Flaw { .looksTooLate }
}

private final class StaleLookScenario: QueueScenario {
  override class var flaw: SmallQueue.Flaw { .trustsAnOldLook }
}
