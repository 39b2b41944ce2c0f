import Testing

@testable import MewsCore

@Suite("Worker pool: growth")
struct WorkerGrowthTests {
  private let millisecond: Int64 = 1_000_000

  @Test("As many threads as the burst come at once, and no more")
  func burst() {
    var growth = WorkerGrowth(burst: 4)
    #expect(growth.grant(3, now: 0) == 3)
    #expect(growth.grant(3, now: 0) == 1)
    #expect(growth.grant(3, now: 2 * millisecond - 1) == 0)
  }

  @Test("After the burst there is one every 2 ms, however often it is asked for", arguments: [1, 3, 7])
  func pace(askedEvery step: Int64) {
    var growth = WorkerGrowth(burst: 2)
    var granted = 0
    for now in stride(from: Int64(0), through: 1_000, by: Int64.Stride(step)) {
      granted += growth.grant(100, now: now * millisecond)
    }
    // Where it is asked more rarely than that, a burst at most is saved up in between.
    #expect((2 + 1_000 / max(2, step) - 1...2 + 500).contains(Int64(granted)))
  }

  @Test("What is not used is saved up to a burst, and no further")
  func saving() {
    var growth = WorkerGrowth(burst: 3)
    #expect(growth.grant(3, now: 0) == 3)
    #expect(growth.grant(9, now: 4 * millisecond) == 2)
    #expect(growth.grant(9, now: 3_600_000 * millisecond) == 3)
    #expect(growth.grant(9, now: 3_600_000 * millisecond) == 0)
  }

  @Test("It grants nothing to who wants nothing, and a clock that stands still earns nothing")
  func nothing() {
    var growth = WorkerGrowth(burst: 1)
    #expect(growth.grant(0, now: 0) == 0)
    #expect(growth.grant(-1, now: 0) == 0)
    #expect(growth.grant(1, now: 0) == 1)
    #expect(growth.grant(1, now: 0) == 0)
    #expect(growth.grant(1, now: -5 * millisecond) == 0)
  }

  @Test("Limits follow from the concurrency value")
  func limits() {
    let usual = WorkerLimits(concurrency: 2)
    #expect((usual.minimum, usual.maximum, usual.burst) == (4, 512, 2))
    let large = WorkerLimits(concurrency: 400)
    #expect((large.minimum, large.maximum) == (800, 800))
    let tight = WorkerLimits(concurrency: 8, maximum: 3)
    #expect((tight.minimum, tight.maximum) == (8, 8))
    #expect(WorkerLimits(concurrency: 8, maximum: 12).minimum == 12)
    for concurrency in [0, -1, Int.max] { #expect(!WorkerLimits(concurrency: concurrency).areValid) }
  }
}

@Suite("Worker pool: the monitor's pace")
struct MonitorPaceTests {
  private let microsecond: Int64 = 1_000

  @Test("Looks that find nothing come ever more rarely, down to one in 2 ms")
  func slowsDown() {
    var pace = MonitorPace(time: 0, cpuTime: 0)
    let pauses = (0..<6).map { _ in pace.pause(found: false, time: 0, cpuTime: 0) / microsecond }
    #expect(pauses == [200, 400, 800, 1_600, 2_000, 2_000])
  }

  @Test("A look that finds something, or a restart, makes the next one come soon")
  func speedsUp() {
    var pace = MonitorPace(time: 0, cpuTime: 0)
    for _ in 0..<6 { _ = pace.pause(found: false, time: 0, cpuTime: 0) }
    #expect(pace.pause(found: true, time: 0, cpuTime: 0) == 200 * microsecond)
    #expect(pace.pause(found: false, time: 0, cpuTime: 0) == 400 * microsecond)
    pace.restart()
    #expect(pace.pause(found: false, time: 0, cpuTime: 0) == 200 * microsecond)
  }

  @Test("However much there is to find, looks take at most 1.5 % of the time", arguments: [5, 20, 100, 1_000])
  func share(microsecondsPerLook: Int64) {
    var pace = MonitorPace(time: 0, cpuTime: 0)
    var time: Int64 = 0
    var cpuTime: Int64 = 0
    while time < 10_000_000 * microsecond {
      time += microsecondsPerLook * microsecond
      cpuTime += microsecondsPerLook * microsecond
      time += pace.pause(found: true, time: time, cpuTime: cpuTime)
    }
    let share = Double(cpuTime) / Double(time)
    #expect(share < 0.015)
    #expect(share > 0.0125 || microsecondsPerLook == 5)
  }

  @Test("What a quiet time saved lets the first looks come fast, for a while")
  func saving() {
    var pace = MonitorPace(time: 0, cpuTime: 0)
    var time: Int64 = 3_600_000_000 * microsecond
    var cpuTime: Int64 = 0
    var fastLooks = 0
    while pace.pause(found: true, time: time, cpuTime: cpuTime) == MonitorPace.shortestPause, fastLooks < 1_000 {
      fastLooks += 1
      time += MonitorPace.shortestPause
      cpuTime += 20 * microsecond
    }
    #expect((50...60).contains(fastLooks))
  }
}
