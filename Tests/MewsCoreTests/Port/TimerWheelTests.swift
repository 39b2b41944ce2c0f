import MewsCore
import Testing

@Suite("Timer wheel")
struct TimerWheelTests {
  /// Timers of a wheel, with a record of those that ran.
  private final class Bench {
    let wheel: TimerWheel
    let timers: TimerPointer
    let count: Int
    var now: UInt64
    /// Index, deadline and time of each run.
    var runs: [(index: Int, deadline: UInt64, now: UInt64)] = []
    var onRun: (Int) -> Void = { _ in }

    init(count: Int, now: UInt64 = 0) throws {
      wheel = try #require(TimerWheel.create(now: now))
      timers = TimerPointer.allocate(capacity: count)
      self.count = count
      self.now = now
      for index in 0..<count {
        (timers + index).initialize(
          to: Timer(
            action: { timer in
              guard let context = timer.pointee.context else { return }
              Unmanaged<Bench>.fromOpaque(context).takeUnretainedValue().record(timer)
            },
            context: Unmanaged.passUnretained(self).toOpaque()))
      }
    }

    deinit {
      wheel.destroy()
      timers.deallocate()
    }

    func record(_ timer: TimerPointer) {
      runs.append((timer - timers, timer.pointee.deadline, now))
      onRun(timer - timers)
    }

    func start(_ index: Int, _ deadline: UInt64) { wheel.start(timers + index, deadline: deadline) }

    func advance(to time: UInt64) {
      now = time
      wheel.advance(to: time)
    }
  }

  @Test("A timer runs once, at its deadline and not before")
  func runsAtItsDeadline() throws {
    let bench = try Bench(count: 1, now: 1000)
    bench.start(0, 1050)
    bench.advance(to: 1049)
    #expect(bench.runs.isEmpty)
    #expect(bench.timers[0].isStarted)
    bench.advance(to: 1050)
    #expect(bench.runs.map(\.deadline) == [1050])
    #expect(!bench.timers[0].isStarted)
    bench.advance(to: 9999)
    #expect(bench.runs.count == 1)
  }

  @Test(
    "Deadlines are exact at every level",
    arguments: [1, 63, 64, 65, 4095, 4096, 262_143, 262_144, 1 << 24, 1 << 30, 1 << 36, 1 << 42, 1 << 60, .max - 5000])
  func exactAtEveryLevel(delay: UInt64) throws {
    for now: UInt64 in [0, 1, 63, 4000] {
      let bench = try Bench(count: 1, now: now)
      bench.start(0, now + delay)
      bench.advance(to: now + delay - 1)
      #expect(bench.runs.isEmpty)
      bench.advance(to: now + delay)
      #expect(bench.runs.count == 1)
    }
  }

  @Test("A cancelled timer does not run, and cancelling says whether it was started")
  func cancelled() throws {
    let bench = try Bench(count: 2)
    bench.start(0, 10)
    bench.start(1, 10)
    #expect(bench.wheel.count == 2)
    #expect(bench.wheel.cancel(bench.timers))
    #expect(!bench.wheel.cancel(bench.timers))
    bench.advance(to: 10)
    #expect(bench.runs.map(\.index) == [1])
    #expect(bench.wheel.count == 0)
  }

  @Test("Starting a timer anew moves it")
  func startedAnew() throws {
    let bench = try Bench(count: 1)
    bench.start(0, 10)
    bench.start(0, 500)
    bench.advance(to: 499)
    #expect(bench.runs.isEmpty)
    bench.advance(to: 500)
    #expect(bench.runs.map(\.deadline) == [500])
  }

  @Test("A deadline that has passed runs in the next advance, never in the one under way")
  func passedDeadlines() throws {
    let bench = try Bench(count: 2, now: 100)
    bench.start(0, 5)
    bench.advance(to: 100)
    #expect(bench.runs.isEmpty)
    bench.onRun = { index in bench.start(index, 0) }
    bench.advance(to: 200)
    #expect(bench.runs.map(\.now) == [200])
    bench.advance(to: 200)
    #expect(bench.runs.count == 1)
    bench.advance(to: 201)
    #expect(bench.runs.map(\.now) == [200, 201])
  }

  @Test("An action may cancel a timer that is due in the same advance")
  func actionCancels() throws {
    let bench = try Bench(count: 2)
    bench.start(0, 10)
    bench.start(1, 10)
    bench.onRun = { index in bench.wheel.cancel(bench.timers + (1 - index)) }
    bench.advance(to: 10)
    #expect(bench.runs.count == 1)
    #expect(bench.wheel.count == 0)
  }

  @Test("Time that lies back changes nothing")
  func timeBack() throws {
    let bench = try Bench(count: 1, now: 100)
    bench.start(0, 150)
    bench.advance(to: 40)
    #expect(bench.runs.isEmpty)
    bench.advance(to: 150)
    #expect(bench.runs.count == 1)
  }

  @Test("The next deadline is never later than the earliest timer, and waiting for it gets there")
  func nextDeadline() throws {
    let bench = try Bench(count: 2)
    #expect(bench.wheel.nextDeadline == nil)
    bench.start(0, 1_000_000)
    bench.start(1, 2_000_000)
    var steps = 0
    while bench.runs.isEmpty, let next = bench.wheel.nextDeadline {
      #expect(next <= 1_000_000)
      #expect(next > bench.now)
      bench.advance(to: next)
      steps += 1
    }
    #expect(bench.runs.map(\.now) == [1_000_000])
    #expect(steps <= 5)
  }

  @Test("Random starts, cancels and steps agree with a sorted list", arguments: 1...20)
  func agreesWithAModel(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    let count = 200
    let bench = try Bench(count: count, now: random.next() >> 40)
    var model: [Int: UInt64] = [:]
    for _ in 0..<2_000 {
      let index = Int(random.next() % UInt64(count))
      switch random.next() % 10 {
      case 0..<5:
        let spread = UInt64(1) << (random.next() % 30)
        let deadline = bench.now + random.next() % spread
        bench.start(index, deadline)
        model[index] = max(deadline, bench.now + 1)
      case 5..<7:
        #expect(bench.wheel.cancel(bench.timers + index) == (model.removeValue(forKey: index) != nil))
      default:
        let time = bench.now + random.next() % (UInt64(1) << (random.next() % 26))
        bench.runs = []
        bench.advance(to: time)
        let due = model.filter { $0.value <= time }
        #expect(bench.runs.map(\.deadline) == due.values.sorted())
        #expect(Set(bench.runs.map(\.index)) == Set(due.keys))
        for index in due.keys { model[index] = nil }
      }
      #expect(bench.wheel.count == model.count)
      if let earliest = model.values.min() {
        let next = try #require(bench.wheel.nextDeadline)
        #expect(next <= earliest && next > bench.now)
      } else {
        #expect(bench.wheel.nextDeadline == nil)
      }
    }
  }
}

/// Steele, Lea and Flood's SplitMix64: the same numbers for the same seed.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
