import CMewsShims
import Foundation
import Synchronization
import Testing

@testable import MewsCore

/// An I/O thread whose handlers are closures, and which can be taken over.
private final class TakeoverBench: @unchecked Sendable {
  let thread: IOThread
  private let runners: IORunnerPool
  /// The index of each thread that has done the work, in turn.
  let adopters = Guarded<[UInt32]>([])
  /// Those of handlers that returned to what was another thread's by then.
  let lost = Guarded<[UInt32]>([])
  private let record: UnsafeMutablePointer<Unmanaged<Guarded<[UInt32]>>>

  init(standbys: Int = 8, runnerHooks: IORunnerHooks = IORunnerHooks()) throws {
    record = .allocate(capacity: 1)
    record.initialize(to: Unmanaged.passUnretained(adopters))
    let hooks = IOThreadHooks(
      adopt: { context, _ in
        guard let record = context?.assumingMemoryBound(to: Unmanaged<Guarded<[UInt32]>>.self) else { return }
        let index = ThreadContext.current?.pointee.index ?? .max
        record.pointee.takeUnretainedValue().withLock { $0.append(index) }
      }, context: record)
    thread = try IOThread.create(hooks: hooks)
    runners = try makeRunners([thread], standbys: standbys, hooks: runnerHooks)
    #expect(runners.start() == 0)
  }

  var statistics: TakeoverStatistics { runners.statistics }

  /// Has the I/O thread run the body, as a packet's action.
  func post(_ body: @escaping @Sendable () -> Void) {
    thread.post(Self.packet { body() })
  }

  /// Has the I/O thread run the body as it runs handlers, and returns when it does.
  func begin(_ body: @escaping @Sendable () -> Void) {
    let hasBegun = DispatchSemaphore(value: 0)
    handle {
      hasBegun.signal()
      body()
    }
    hasBegun.wait()
  }

  /// Has the I/O thread run the body as it runs handlers.
  func handle(_ body: @escaping @Sendable () -> Void) {
    let handler = Self.packet { [self] in
      let watch = thread.watch
      RunWatch.begin(watch)
      body()
      guard !RunWatch.enter(watch) else { return }
      lost.withLock { $0.append(ThreadContext.current?.pointee.index ?? .max) }
    }
    let address = UInt(bitPattern: handler)
    post { [self] in if let handler = PacketPointer(bitPattern: address) { thread.runHandler(handler) } }
  }

  func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
    let pending = Pending<Value>()
    post { pending.fulfil(body()) }
    return pending.value
  }

  func finish() {
    thread.stop()
    runners.join()
    thread.destroy()
    runners.destroy()
    record.deallocate()
  }

  private static func packet(_ body: @escaping @Sendable () -> Void) -> PacketPointer {
    let packet = PacketPointer.allocate(capacity: 1)
    packet.initialize(
      to: Packet(
        operation: Unmanaged.passRetained(Box(body)).toOpaque(),
        action: { packet in
          guard let operation = packet.pointee.operation else { return }
          packet.deallocate()
          Unmanaged<Box>.fromOpaque(operation).takeRetainedValue().body()
        }))
    return packet
  }

  private final class Box: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}

@Suite("Takeover of an I/O thread's work", .serialized, .enabled(if: RunWatch.isSupported))
struct TakeoverTests {
  @Test("While a handler sleeps, another thread does the I/O thread's work; the sleeper leaves it alone when it wakes")
  func sleeper() throws {
    let bench = try TakeoverBench()
    let mayGoOn = DispatchSemaphore(value: 0)
    bench.begin { mayGoOn.wait() }
    // Answered by the other thread: the one that has the handler is in it.
    #expect(bench.perform { ThreadContext.current?.pointee.index } == 100)
    #expect(bench.lost.withLock { $0 } == [])
    mayGoOn.signal()
    #expect(eventually { bench.lost.withLock { $0 } == [0] })
    #expect(bench.perform { ThreadContext.current?.pointee.index } == 100)
    #expect(bench.adopters.withLock { $0 } == [0, 100])
    #expect(bench.statistics.taken == 1)
    bench.finish()
  }

  @Test("A handler that burns CPU is one that holds up the I/O thread, too")
  func burner() throws {
    let bench = try TakeoverBench()
    let mayGoOn = Guarded(false)
    bench.begin { while !mayGoOn.withLock({ $0 }) { for _ in 0..<100 { shim_cpu_relax() } } }
    #expect(bench.perform { ThreadContext.current?.pointee.index } == 100)
    mayGoOn.withLock { $0 = true }
    #expect(eventually { bench.lost.withLock { $0 } == [0] })
    bench.finish()
  }

  @Test("A thread that was stuck stands by from then on, and takes over in its turn")
  func turns() throws {
    let bench = try TakeoverBench(standbys: 1)
    for turn in 1...6 {
      let mayGoOn = DispatchSemaphore(value: 0)
      bench.handle { mayGoOn.wait() }
      #expect(eventually { bench.adopters.withLock { $0.count } == turn + 1 })
      mayGoOn.signal()
      #expect(eventually { bench.statistics.standingBy == 1 })
    }
    #expect(bench.adopters.withLock { $0 } == [0, 100, 0, 100, 0, 100, 0])
    bench.finish()
  }

  @Test("As many handlers as there are threads may be stuck at once; with the last thread stuck, the work waits")
  func everybodyStuck() throws {
    let bench = try TakeoverBench(standbys: 3)
    let mayGoOn = DispatchSemaphore(value: 0)
    for number in 1...4 {
      bench.handle { mayGoOn.wait() }
      if number < 4 { #expect(eventually { bench.adopters.withLock { $0.count } == number + 1 }) }
    }
    #expect(eventually { bench.statistics.missed > 0 })
    let answer = Pending<Bool>()
    bench.post { answer.fulfil(true) }
    #expect(!answer.isFulfilled)
    for _ in 1...4 { mayGoOn.signal() }
    #expect(answer.value)
    #expect(eventually { bench.lost.withLock { $0.count } >= 3 })
    bench.finish()
  }

  @Test("Where nobody can take over from a stuck handler, that is told, once for each")
  func stranded() throws {
    let told = Atomic<Int>(0)
    try withUnsafePointer(to: told) { address in
      let hooks = IORunnerHooks(
        stranded: { context, ioThread in
          context?.assumingMemoryBound(to: Atomic<Int>.self).pointee.add(ioThread == 0 ? 1 : 100, ordering: .relaxed)
        }, context: UnsafeMutableRawPointer(mutating: address))
      let bench = try TakeoverBench(standbys: 1, runnerHooks: hooks)
      let mayGoOn = DispatchSemaphore(value: 0)
      for _ in 1...2 { bench.handle { mayGoOn.wait() } }
      #expect(eventually { told.load(ordering: .relaxed) == 1 })
      let missed = bench.statistics.missed
      #expect(eventually { bench.statistics.missed > missed + 20 })
      #expect(told.load(ordering: .relaxed) == 1)
      for _ in 1...2 { mayGoOn.signal() }
      bench.finish()
    }
  }

  @Test("A thread that lacks what it needs to stand by tries again, and no others are made meanwhile")
  func shortage() throws {
    let tries = Atomic<Int>(0)
    try withUnsafePointer(to: tries) { address in
      let hooks = IORunnerHooks(
        start: { context in
          guard ThreadContext.current?.pointee.index != 0 else { return true }
          let tries = context?.assumingMemoryBound(to: Atomic<Int>.self).pointee.add(1, ordering: .relaxed).newValue
          return tries ?? 0 > 3
        }, context: UnsafeMutableRawPointer(mutating: address))
      let bench = try TakeoverBench(standbys: 2, runnerHooks: hooks)
      let mayGoOn = DispatchSemaphore(value: 0)
      bench.begin { mayGoOn.wait() }
      #expect(bench.perform { ThreadContext.current?.pointee.index } == 100)
      #expect(tries.load(ordering: .relaxed) >= 4)
      mayGoOn.signal()
      bench.finish()
    }
  }

  @Test("Handlers that were queued behind the stuck one run, in their order, and once each")
  func queue() throws {
    let bench = try TakeoverBench()
    let mayGoOn = DispatchSemaphore(value: 0)
    let order = Guarded<[Int]>([])
    let isQueued = DispatchSemaphore(value: 0)
    bench.post { isQueued.wait() }
    bench.handle {
      mayGoOn.wait()
      order.withLock { $0.append(0) }
    }
    for number in 1...1_000 { bench.handle { order.withLock { $0.append(number) } } }
    isQueued.signal()
    #expect(eventually { order.withLock { $0.count } == 1_000 })
    #expect(order.withLock { $0 } == Array(1...1_000))
    mayGoOn.signal()
    #expect(eventually { bench.lost.withLock { $0.count } == 1 })
    #expect(order.withLock { $0.last } == 0)
    bench.finish()
  }

  @Test("While a handler touches what belongs to the I/O thread, nobody takes that over")
  func entered() throws {
    let bench = try TakeoverBench()
    let isInside = DispatchSemaphore(value: 0)
    let mayGoOn = DispatchSemaphore(value: 0)
    let outcome = Pending<Bool>()
    bench.post { [bench] in
      let watch = bench.thread.watch
      RunWatch.begin(watch)
      let before = RunWatch.enter(watch)
      isInside.signal()
      mayGoOn.wait()
      RunWatch.resume(watch)
      let after = RunWatch.enter(watch)
      outcome.fulfil(before && after)
    }
    isInside.wait()
    // The watcher looks every millisecond: long enough for it to have seen a run that can be taken.
    usleep(50_000)
    #expect(bench.statistics.taken == 0)
    mayGoOn.signal()
    #expect(outcome.value)
    bench.finish()
  }

  @Test("A handler that gives the work away is not waited for, and finds it gone")
  func handOver() throws {
    let bench = try TakeoverBench()
    let mayGoOn = DispatchSemaphore(value: 0)
    let isGone = Pending<Bool>()
    #expect(eventually { bench.statistics.standingBy == 1 })
    bench.handle {
      let isFirst = IORunnerPool.handOver()
      let isSecond = IORunnerPool.handOver()
      isGone.fulfil(isFirst && isSecond)
      mayGoOn.wait()
    }
    #expect(isGone.value)
    #expect(bench.perform { ThreadContext.current?.pointee.index } == 100)
    #expect((bench.statistics.given, bench.statistics.taken) == (1, 0))
    mayGoOn.signal()
    #expect(eventually { bench.lost.withLock { $0 } == [0] })
    bench.finish()
  }

  @Test("With nobody standing by, a handler keeps the work, and is told")
  func handOverToNobody() throws {
    let bench = try TakeoverBench(standbys: 0)
    let answer = Pending<Bool>()
    bench.handle { answer.fulfil(IORunnerPool.handOver()) }
    #expect(!answer.value)
    #expect(bench.perform { ThreadContext.current?.pointee.index } == 0)
    bench.finish()
  }

  @Test("The watcher sleeps while no handler runs, and the next one wakes it")
  func watcherSleeps() throws {
    let bench = try TakeoverBench()
    for turn in 1...3 {
      #expect(
        eventually { bench.perform { shim_run_watch_sleeps(bench.thread.state.pointee.watch.pointee.is_watched) } })
      let mayGoOn = DispatchSemaphore(value: 0)
      bench.handle { mayGoOn.wait() }
      #expect(eventually { bench.statistics.taken == turn })
      mayGoOn.signal()
      #expect(eventually { bench.lost.withLock { $0.count } == turn })
    }
    bench.finish()
  }

  @Test("Handlers that return just when they are taken over: each ends on one side, and no work is done twice")
  func race() throws {
    let bench = try TakeoverBench()
    let ran = Guarded(0)
    let delays = (0..<300).map { UInt32(($0 &* 7_919) % 2_000) }
    for (number, delay) in delays.enumerated() {
      bench.handle {
        // Around the time at which the watcher comes for the second time.
        usleep(1_000 + delay)
        ran.withLock { $0 += 1 }
      }
      if number % 3 == 0 { #expect(bench.perform { true }) }
    }
    #expect(eventually { ran.withLock { $0 } == delays.count })
    #expect(eventually { bench.lost.withLock { $0.count } == bench.statistics.taken })
    #expect(bench.statistics.taken > 0)
    bench.finish()
  }

  @Test("An I/O thread that ends when its last handler returns, just when that is to be taken over, ends in order")
  func raceWithTheEnd() throws {
    for number in 0..<100 {
      let bench = try TakeoverBench()
      let delay = UInt32((number &* 7_919) % 2_000)
      bench.begin { usleep(1_000 + delay) }
      bench.finish()
      // Whoever found the work gone had it taken by another thread.
      #expect(bench.adopters.withLock { $0.count } == bench.lost.withLock { $0.count } + 1)
    }
  }
}
