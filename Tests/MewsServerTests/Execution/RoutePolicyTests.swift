import Testing

@testable import MewsServer

/// Feeds a policy with runs, wherever it has the route run at the time.
private struct PolicyScript {
  var policy = RoutePolicy()
  var mayPromote = true
  /// The classes that the route had, in their order.
  private(set) var path: [ExecutionClass] = [.worker]

  mutating func run(_ wallTime: Int64, cpu: Int64? = nil, waits: Int = 0, times: Int = 1) {
    for _ in 0..<times {
      let sample = RunSample(
        place: policy.execution, wallTime: wallTime, cpuTime: cpu ?? wallTime, waits: waits)
      note(policy.observe(sample, mayPromote: mayPromote))
    }
  }

  mutating func short(times: Int = 1) { run(8_000, times: times) }
  mutating func sleep(_ milliseconds: Int64 = 10, times: Int = 1) {
    run(milliseconds * 1_000_000, cpu: 20_000, waits: 1, times: times)
  }
  mutating func burn(_ milliseconds: Int64 = 5, times: Int = 1) { run(milliseconds * 1_000_000, times: times) }

  mutating func note(_ outcome: RoutePolicy.Outcome) { if outcome == .changed { path.append(policy.execution) } }
}

@Suite("How a route's class is learned")
struct RoutePolicyTests {
  @Test("A route starts on workers and is inline after 256 short runs in a row")
  func promotion() {
    var script = PolicyScript()
    script.short(times: 255)
    #expect(script.policy.execution == .worker)
    script.short()
    #expect(script.policy.execution == .inline)
    #expect(script.policy.reason == .shortRuns(count: 256, longest: 8_000))
    script.short(times: 100_000)
    #expect(script.path == [.worker, .inline])
  }

  @Test("One run that waits or is long begins the row of short runs anew", arguments: [0, 1])
  func brokenRow(waits: Int) {
    var script = PolicyScript()
    script.short(times: 255)
    script.run(waits == 0 ? 60_000 : 10_000, waits: waits)
    script.short(times: 255)
    #expect(script.policy.execution == .worker)
    script.short()
    #expect(script.policy.execution == .inline)
  }

  @Test("A route stays on workers while it may not be promoted, and is promoted by the next short run when it may")
  func gate() {
    var script = PolicyScript()
    script.mayPromote = false
    script.short(times: 10_000)
    #expect(script.path == [.worker])
    script.mayPromote = true
    script.short()
    #expect(script.path == [.worker, .inline])
  }

  @Test("A route whose runs sleep becomes blocking after 32 of them, and stays it")
  func sleeping() {
    var script = PolicyScript()
    script.sleep(times: 31)
    #expect(script.policy.execution == .worker)
    script.sleep(times: 100_000)
    #expect(script.path == [.worker, .blocking])
    #expect(script.policy.reason == .sleeps(count: 32, of: 32, longest: 9_980_000))
  }

  @Test("A route that sleeps every other time stays on workers")
  func alternating() {
    var script = PolicyScript()
    for _ in 0..<10_000 {
      script.short()
      script.sleep()
    }
    #expect(script.path == [.worker])
  }

  @Test("A blocking route stays so while a third of its runs sleep, and is counted again when they hardly do")
  func leavingBlocking() {
    var script = PolicyScript()
    script.sleep(times: 32)
    for _ in 0..<1_000 {
      script.sleep()
      script.run(60_000, times: 2)
    }
    #expect(script.path == [.worker, .blocking])
    script.run(60_000, times: 32)
    #expect(script.path == [.worker, .blocking, .worker])
  }

  @Test("A blocking route that begins to burn CPU time is counted again")
  func burningWhileBlocking() {
    var script = PolicyScript()
    script.sleep(times: 64)
    for _ in 0..<4 {
      script.sleep(times: 7)
      script.burn()
    }
    #expect(script.policy.execution == .worker)
    #expect(script.policy.reason == .burns(count: 4, of: 32, longest: 5_000_000))
  }

  @Test("A route that sleeps and burns CPU time in the same runs stays on workers")
  func sleepingAndBurning() {
    var script = PolicyScript()
    script.run(20_000_000, cpu: 3_000_000, waits: 4, times: 10_000)
    #expect(script.path == [.worker])
  }

  @Test("A route that burns 5 ms stays on workers")
  func burning() {
    var script = PolicyScript()
    script.burn(times: 10_000)
    #expect(script.path == [.worker])
  }

  @Test("Time in which others had the processor counts for nothing, on workers and inline")
  func stolenTime() {
    var script = PolicyScript()
    for _ in 0..<1_000 {
      script.short(times: 9)
      script.run(30_000_000, cpu: 8_000)
    }
    #expect(script.path == [.worker, .inline])
  }

  @Test("One long wait inline is enough to go back")
  func longWaitInline() {
    var script = PolicyScript()
    script.short(times: 300)
    script.sleep(50)
    #expect(script.policy.execution == .worker)
    #expect(script.policy.reason == .waitedInline(count: 1, of: 45, longest: 49_980_000))
  }

  @Test("A run that did not return is enough to go back, and is no news after that")
  func stuckInline() {
    var script = PolicyScript()
    script.short(times: 256)
    script.note(script.policy.didBlockInline(50_100_000))
    #expect(script.path == [.worker, .inline, .worker])
    #expect(script.policy.reason.description == "an inline run had not returned after 50.1 ms")
    #expect(script.policy.didBlockInline(60_000_000) == .unchanged)
    let late = RunSample(place: .inline, wallTime: 50_100_000, cpuTime: 10_000, waits: 1)
    #expect(script.policy.observe(late, mayPromote: true) == .unchanged)
  }

  @Test("One short wait or one long run inline is forgiven, a second soon after is not", arguments: [0, 1])
  func strikes(waits: Int) {
    var script = PolicyScript()
    script.short(times: 256)
    for _ in 0..<100 {
      script.run(waits == 0 ? 900_000 : 30_000, cpu: waits == 0 ? 900_000 : 10_000, waits: waits)
      script.short(times: 16)
    }
    #expect(script.policy.execution == .inline)
    script.run(waits == 0 ? 900_000 : 30_000, cpu: waits == 0 ? 900_000 : 10_000, waits: waits, times: 2)
    #expect(script.policy.execution == .worker)
  }

  @Test("Runs between the line for entering and the line for leaving keep a route where it is")
  func hysteresis() {
    var script = PolicyScript()
    script.run(150_000, times: 10_000)
    #expect(script.path == [.worker])
    script.short(times: 256)
    script.run(150_000, times: 10_000)
    #expect(script.path == [.worker, .inline])
  }

  @Test("Each return from inline doubles the row that is asked for, up to a limit")
  func backOff() {
    var script = PolicyScript()
    var needed = 256
    for _ in 0..<12 {
      script.short(times: needed - 1)
      #expect(script.policy.execution == .worker)
      script.short()
      #expect(script.policy.execution == .inline)
      script.note(script.policy.didBlockInline(2_000_000))
      needed = min(2 * needed, 65_536)
      #expect(script.policy.shortRunsNeeded == needed)
    }
  }

  @Test("A route that has been inline for long without a mistake is asked for less the next time")
  func forgiving() {
    var script = PolicyScript()
    script.short(times: 256)
    script.note(script.policy.didBlockInline(2_000_000))
    script.short(times: 512)
    #expect(script.policy.shortRunsNeeded == 512)
    script.short(times: 256)
    #expect(script.policy.shortRunsNeeded == 256)
    script.short(times: 10_000)
    #expect(script.policy.shortRunsNeeded == 256)
  }

  @Test("A route that is slow once in a thousand runs is inline ever more rarely, and settles on workers")
  func rareSleeper() {
    var script = PolicyScript()
    for _ in 0..<2_000 {
      for _ in 0..<999 where script.policy.execution != .inline { script.short() }
      // Of inline runs so few are measured that one stands for all of them; that one sleeps is told by the watch.
      if script.policy.execution == .inline {
        script.short()
        script.note(script.policy.didBlockInline(50_000_000))
      } else {
        script.sleep(50)
      }
    }
    #expect(script.policy.execution == .worker)
    #expect(script.path.count <= 5)
  }

  @Test("Runs that say that they may wait keep a route from being inline, and end it")
  func callsThatMayWait() {
    var script = PolicyScript()
    for _ in 0..<1_000 {
      script.note(script.policy.didCallBlocking(in: script.policy.execution))
      script.short()
    }
    #expect(script.path == [.worker])
    script.short(times: 256)
    script.note(script.policy.didCallBlocking(in: .inline))
    #expect(script.path == [.worker, .inline, .worker])
    #expect(script.policy.reason == .calledBlocking)
  }

  @Test("A class that somebody has chosen stays, whatever the runs are like")
  func fixed() {
    for execution in [ExecutionClass.inline, .worker, .blocking] {
      var script = PolicyScript(policy: RoutePolicy(fixed: execution, because: .declared))
      script.short(times: 1_000)
      script.sleep(times: 1_000)
      script.burn(times: 1_000)
      #expect(script.policy.execution == execution)
      #expect(script.path == [.worker])
    }
  }

  @Test("A declared inline route that waits or does not return is told of, one that is long is not")
  func complaints() {
    var policy = RoutePolicy(fixed: .inline, because: .declared)
    let long = RunSample(place: .inline, wallTime: 5_000_000, cpuTime: 5_000_000, waits: 0)
    for _ in 0..<100 { #expect(policy.observe(long, mayPromote: true) == .unchanged) }
    let sleep = RunSample(place: .inline, wallTime: 5_000_000, cpuTime: 10_000, waits: 1)
    #expect(policy.observe(sleep, mayPromote: true) == .waitedInline)
    #expect(policy.didBlockInline(7_000_000) == .waitedInline)
    #expect(policy.didCallBlocking(in: .inline) == .waitedInline)
    #expect(policy.inlineWaits == 3)
    #expect(policy.execution == .inline)
  }

  @Test("Every run is measured at first and after a change, and a part of them when nothing changes")
  func sampling() {
    var script = PolicyScript()
    script.run(150_000, times: 1_023)
    #expect(script.policy.needsEveryRun)
    script.run(150_000)
    #expect(!script.policy.needsEveryRun)
    script.sleep(times: 24)
    #expect(script.policy.execution == .blocking)
    #expect(script.policy.needsEveryRun)
    script.sleep(times: 64)
    #expect(!script.policy.needsEveryRun)
  }

  @Test("A policy says why a route has its class, in words")
  func explanations() {
    var script = PolicyScript()
    #expect(script.policy.explanation(mayPromote: true) == "not known long enough")
    script.short(times: 12)
    #expect(script.policy.explanation(mayPromote: true) == "12 of 256 short runs in a row, longest 8.0 us")
    #expect(
      script.policy.explanation(mayPromote: false)
        == "12 short runs in a row, longest 8.0 us, but nothing becomes inline here")
    script.sleep(50, times: 3)
    #expect(script.policy.explanation(mayPromote: true) == "3 of the last 15 measured runs waited, longest 49.9 ms")
    script.sleep(50, times: 24)
    #expect(script.policy.explanation(mayPromote: true) == "24 of 32 runs slept, longest 49.9 ms")
    #expect(RoutePolicy(fixed: .blocking, because: .declared).explanation(mayPromote: true) == "declared")

    var caller = PolicyScript()
    caller.short(times: 12)
    #expect(caller.policy.didCallBlocking(in: .worker) == .unchanged)
    #expect(caller.policy.explanation(mayPromote: true) == "1 runs called mews_blocking_begin")
  }
}
