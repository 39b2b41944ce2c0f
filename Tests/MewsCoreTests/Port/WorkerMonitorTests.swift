import Foundation
import MewsCore
import Synchronization
import Testing

@Suite("Worker pool: blocking handlers")
struct WorkerMonitorTests {
  @Test("A worker asleep in a handler while packets wait is noticed, and another runs in its place")
  func sleeper() throws {
    try withWorkers(concurrency: 1) { port, pool in
      let gate = Gate()
      let sleeper = Job { gate.pass() }
      let next = Job()
      sleeper.post(to: port)
      next.post(to: port)
      #expect(eventually { next.isDone })
      #expect(!sleeper.isDone)
      #expect(eventually { pool.statistics.released == 1 })
      #expect(eventually { port.activeCount == 0 })
      gate.open()
      #expect(eventually { sleeper.isDone && port.waiterCount == 2 })
      #expect(port.activeCount == 0)
    }
  }

  @Test(
    "C6: a worker that blocks is noticed, whatever it blocks in, and another runs in its place", arguments: Block.all)
  func blocked(block: Block) throws {
    try withWorkers(concurrency: 1) { port, pool in
      let obstacle = block.obstacle()
      let sleeper = Job { obstacle.block() }
      let next = Job()
      sleeper.post(to: port)
      #expect(eventually { sleeper.hasBegun })
      next.post(to: port)
      #expect(eventually { next.isDone })
      #expect(!sleeper.isDone)
      #expect(eventually { port.activeCount == 0 })
      if block.isNoticedByMonitor { #expect(eventually { pool.statistics.released >= 1 }) }
      obstacle.remove()
      #expect(eventually { sleeper.isDone && port.waiterCount == 2 })
      #expect(port.activeCount == 0)
    }
  }

  @Test("C6: a worker with a packet of another port is none of the monitor's business, and no slot is taken for it")
  func activeElsewhere() throws {
    try withPort(concurrency: 1) { other in
      try withWorkers(concurrency: 1) { port, pool in
        let (gate, flag) = (Gate(), Flag())
        other.post(key: 1)
        let stranger = Job {
          guard case .packet = other.get(timeoutNanoseconds: -1) else { return }
          gate.pass()
        }
        let spinners = (0..<2).map { _ in Job { flag.spin() } }
        stranger.post(to: port)
        #expect(eventually { other.activeCount == 1 })
        for job in spinners { job.post(to: port) }
        #expect(eventually { spinners.contains(where: \.hasBegun) })
        let looks = pool.statistics.looks
        #expect(eventually { pool.statistics.looks >= looks + 50 })
        let begun = spinners.count(where: \.hasBegun)
        #expect(begun == 1, "one may run")
        #expect((port.activeCount, other.activeCount) == (1, 1))
        gate.open()
        flag.set()
        #expect(eventually { stranger.isDone && spinners.allSatisfy(\.isDone) })
        #expect(eventually { port.waiterCount == 2 && other.activeCount == 0 })
      }
    }
  }

  @Test("A worker that burns CPU keeps its slot, however often the monitor looks")
  func spinner() throws {
    try withWorkers(concurrency: 1) { port, pool in
      let flag = Flag()
      let spinner = Job { flag.spin() }
      let next = Job()
      spinner.post(to: port)
      next.post(to: port)
      #expect(eventually { pool.statistics.looks >= 100 })
      #expect(pool.statistics.released == 0)
      #expect(!next.hasBegun && port.activeCount == 1)
      #expect(pool.statistics.threads == 2, "another thread would not help")
      flag.set()
      #expect(eventually { next.isDone })
    }
  }

  @Test("As many workers burn CPU as may, and no more, while others sleep")
  func sleepersAndSpinners() throws {
    try withWorkers(concurrency: 2) { port, pool in
      let (gate, flag) = (Gate(), Flag())
      let sleepers = (0..<3).map { _ in Job { gate.pass() } }
      let spinners = (0..<4).map { _ in Job { flag.spin() } }
      for job in sleepers + spinners { job.post(to: port) }
      #expect(eventually { spinners.count(where: \.hasBegun) == 2 && sleepers.allSatisfy(\.hasBegun) })
      let looks = pool.statistics.looks
      #expect(eventually { pool.statistics.looks >= looks + 50 })
      let begun = spinners.count(where: \.hasBegun)
      #expect(begun == 2)
      #expect(port.activeCount == 2)
      #expect(pool.statistics.released == 3)
      flag.set()
      gate.open()
      #expect(eventually { (sleepers + spinners).allSatisfy(\.isDone) })
    }
  }

  @Test("A sleeper that wakes up and burns CPU counts again, once")
  func reclaimed() throws {
    try withWorkers(concurrency: 1) { port, pool in
      let (gate, flag, secondFlag) = (Gate(), Flag(), Flag())
      let sleeper = Job {
        gate.pass()
        flag.spin()
      }
      let spinner = Job { secondFlag.spin() }
      let next = Job()
      sleeper.post(to: port)
      spinner.post(to: port)
      next.post(to: port)
      #expect(eventually { spinner.hasBegun })
      #expect(port.activeCount == 1)
      gate.open()
      #expect(eventually { port.activeCount == 2 })
      #expect(eventually { pool.statistics.reclaimed == 1 })
      secondFlag.set()
      #expect(eventually { spinner.isDone && port.activeCount == 1 })
      #expect(!next.hasBegun, "the excess is worked off first")
      flag.set()
      #expect(eventually { next.isDone && port.activeCount == 0 })
    }
  }

  @Test("A handler that says it blocks is replaced without the monitor, and nested scopes count once")
  func explicitScope() throws {
    try withWorkers(concurrency: 1) { port, _ in
      let gate = Gate()
      let sleeper = Job {
        CompletionPort.current?.blockingBegin()
        CompletionPort.current?.blockingBegin()
        gate.pass()
        CompletionPort.current?.blockingEnd()
        CompletionPort.current?.blockingEnd()
      }
      let counts = Guarded<[Int]>([])
      let next = Job { counts.withLock { $0.append(port.activeCount) } }
      sleeper.post(to: port)
      next.post(to: port)
      #expect(eventually { next.isDone })
      #expect(counts.withLock { $0 } == [1])
      gate.open()
      #expect(eventually { sleeper.isDone && port.activeCount == 0 })
    }
  }

  @Test("Uncounted packets run at once up to the most threads that there may be, beside counted ones")
  func uncounted() throws {
    let limits = WorkerLimits(concurrency: 1, maximum: 40)
    try withWorkers(concurrency: 1, limits: limits) { port, pool in
      let (gate, flag) = (Gate(), Flag())
      let spinner = Job { flag.spin() }
      let sleepers = (0..<60).map { _ in Job(isUncounted: true) { gate.pass() } }
      spinner.post(to: port)
      for job in sleepers { job.post(to: port) }
      #expect(eventually { sleepers.count(where: \.hasBegun) == 39 })
      let looks = pool.statistics.looks
      #expect(eventually { pool.statistics.looks >= looks + 20 })
      let begun = sleepers.count(where: \.hasBegun)
      #expect(begun == 39, "the fortieth thread spins")
      #expect((pool.statistics.threads, port.activeCount) == (40, 1))
      #expect(pool.statistics.released == 0, "there was nothing to give up")
      flag.set()
      gate.open()
      #expect(eventually { sleepers.allSatisfy(\.isDone) })
    }
  }

  @Test("Where every handler sleeps, threads are added until all run, and end again when they have idled")
  func growsAndShrinks() throws {
    var limits = WorkerLimits(concurrency: 2, maximum: 12)
    limits.idleNanoseconds = 30_000_000
    try withWorkers(concurrency: 2, limits: limits) { port, pool in
      let gate = Gate()
      let sleepers = (0..<12).map { _ in Job { gate.pass() } }
      for job in sleepers { job.post(to: port) }
      #expect(eventually { sleepers.allSatisfy(\.hasBegun) })
      #expect(pool.statistics.threads == 12)
      gate.open()
      #expect(eventually { pool.statistics.threads == 4 })
      let looks = pool.statistics.looks
      #expect(eventually { port.waiterCount == 4 })
      #expect(pool.statistics.looks == looks, "the monitor sleeps while no packet waits")
      let next = Job()
      next.post(to: port)
      #expect(eventually { next.isDone })
      #expect(pool.statistics.threads == 4)
    }
  }

  @Test("A burst of sleepers has its threads within a fraction of a second")
  func growsQuickly() throws {
    try withWorkers(concurrency: 2, limits: WorkerLimits(concurrency: 2)) { port, pool in
      let gate = Gate()
      let sleepers = (0..<100).map { _ in
        Job {
          port.blockingBegin()
          gate.pass()
          port.blockingEnd()
        }
      }
      let begin = DispatchTime.now().uptimeNanoseconds
      for job in sleepers { job.post(to: port) }
      #expect(eventually { sleepers.allSatisfy(\.hasBegun) })
      // 100 threads, one every 2 ms; a loaded machine may take its time, but not the 20 s of one every 200 ms.
      #expect(DispatchTime.now().uptimeNanoseconds - begin < 8_000_000_000)
      #expect(pool.statistics.threads >= 100)
      gate.open()
      #expect(eventually { sleepers.allSatisfy(\.isDone) })
    }
  }

  @Test("The place of a thread that has ended, with its index, goes to the next one")
  func indexesAreReused() throws {
    final class Record: Sendable {
      let indexes = Guarded<[UInt32]>([])
    }
    let record = Record()
    let hooks = ThreadHooks(
      start: { context in
        guard let context, let thread = ThreadContext.current else { return }
        let index = thread.pointee.index
        Unmanaged<Record>.fromOpaque(context).takeUnretainedValue().indexes.withLock { $0.append(index) }
      }, context: Unmanaged.passUnretained(record).toOpaque())
    var limits = WorkerLimits(concurrency: 1, maximum: 6)
    limits.idleNanoseconds = 1_000_000
    try withWorkers(concurrency: 1, limits: limits, hooks: hooks) { port, pool in
      for round in 1...3 {
        let gate = Gate()
        let sleepers = (0..<6).map { _ in Job(isUncounted: true) { gate.pass() } }
        for job in sleepers { job.post(to: port) }
        #expect(eventually { sleepers.allSatisfy(\.hasBegun) })
        #expect(record.indexes.withLock { $0.count } == 2 + 4 * round)
        gate.open()
        #expect(eventually { pool.statistics.threads == 2 })
      }
      #expect(record.indexes.withLock { Set($0) } == Set(2..<8))
    }
  }

  @Test("Stopping waits for sleepers, and for what is queued behind them")
  func stopWithSleepers() throws {
    let gate = Gate()
    let sleepers = (0..<8).map { _ in Job { gate.pass() } }
    let last = Job { gate.open() }
    try withWorkers(concurrency: 1) { port, _ in
      for job in sleepers + [last] { job.post(to: port) }
    }
    for job in sleepers + [last] { #expect(job.isDone) }
  }

  @Test("Under a mix of handlers that sleep, burn and say so, every packet runs once and no slot is lost")
  func mixture() throws {
    let runs = Guarded(0)
    let jobs = (0..<6_000).map { number in
      Job(isUncounted: number % 7 == 0) {
        switch number % 50 {
        case 1: usleep(700)
        case 2:
          let end = DispatchTime.now().uptimeNanoseconds + 400_000
          while DispatchTime.now().uptimeNanoseconds < end {}
        case 3:
          CompletionPort.current?.blockingBegin()
          usleep(300)
          if number % 4 == 3 { CompletionPort.current?.blockingEnd() }
        default: break
        }
        runs.withLock { $0 += 1 }
      }
    }
    var limits = WorkerLimits(concurrency: 2, maximum: 16)
    limits.idleNanoseconds = 500_000
    try withWorkers(concurrency: 2, limits: limits) { port, _ in
      withThreads(3) { threads in
        let posted = threads.enumerated().map { number, thread in
          thread.begin {
            for index in stride(from: number, to: jobs.count, by: 3) {
              jobs[index].post(to: port)
              if index % 200 == number { usleep(1_000) }
            }
            return true
          }
        }
        for pending in posted { #expect(pending.value) }
      }
      #expect(eventually { jobs.allSatisfy(\.isDone) })
      #expect(eventually { port.activeCount == 0 })
    }
    #expect(runs.withLock { $0 } == jobs.count)
  }
}
