import CMews
import Glibc
import Testing

@testable import MewsServer

@Suite("Routes whose class is learned")
struct RouteRecordTests {
  /// Sends a request over a connection of its own and returns whether its handler ran inline.
  private func runsInline(_ server: InMemoryServer, _ path: String = "/") -> Bool {
    let client = server.connect()
    client.send(get(path))
    let isInline = server.queuedHandlers == 0
    server.runWorkers()
    #expect(client.receive() == ok("done"))
    client.disconnect()
    return isInline
  }

  /// Makes a route believe that its handler is short: how much CPU time handlers take in tests is the machine's affair.
  private func pretendShortRuns(_ record: RouteRecordPointer, count: Int = 256) {
    for _ in 0..<count {
      RouteRecord.observe(record, RunSample(place: .worker, wallTime: 8_000, cpuTime: 8_000, waits: 0))
    }
  }

  @Test("A short handler goes over the workers at first and is inline afterwards, which the log says once")
  func promotion() throws {
    try withServer { server in
      server.learning.mayPromote = true
      let record = try server.learn("/") { $0.respond("done") }
      #expect(!runsInline(server))
      pretendShortRuns(record, count: 512)
      #expect(runsInline(server))
      #expect(runsInline(server))
      #expect(server.log.count == 1)
      #expect(server.log.first?.hasPrefix("GET / runs inline from now on: 256 runs in a row were short") == true)
      let report = RouteRecord.report(record)
      #expect(report.inlineRuns == 2)
      #expect(report.workerRuns == 1)
      #expect(report.changes == 1)
      #expect(server.learning.changes == 1)
    }
  }

  @Test("Every run on a worker is measured at first")
  func measuring() throws {
    try withServer { server in
      let record = try server.learn("/") { $0.respond("done") }
      #expect(RouteRecord.report(record).why == "not known long enough")
      for _ in 0..<3 { #expect(!runsInline(server)) }
      #expect(RouteRecord.report(record).why.contains("short runs in a row"))
    }
  }

  @Test("Where nothing may be promoted, nothing is, and nothing is said")
  func gate() throws {
    try withServer { server in
      let record = try server.learn("/") { $0.respond("done") }
      pretendShortRuns(record, count: 1_000)
      #expect(!runsInline(server))
      #expect(server.log == [])
    }
  }

  @Test("A handler that was stuck inline goes over the workers from the next request on")
  func stuck() throws {
    try withServer { server in
      server.learning.mayPromote = true
      let record = try server.learn("/") { $0.respond("done") }
      pretendShortRuns(record)
      RouteRecord.didBlockInline(record, nanoseconds: 50_100_000)
      #expect(!runsInline(server))
      #expect(server.log.last == "GET / runs on workers from now on: an inline run had not returned after 50.1 ms")
    }
  }

  @Test("A handler that sleeps becomes blocking, and then takes no place among those that run at once")
  func sleeping() throws {
    try withServer { server in
      let record = try server.learn("/") { exchange in
        usleep(500)
        return exchange.respond("done")
      }
      for _ in 0..<32 { #expect(!runsInline(server)) }
      #expect(RouteRecord.report(record).execution == .blocking)
      let client = server.connect()
      client.send(get("/"))
      #expect(client.connection.pointee.exchange?.pointee.packet.isUncounted == 1)
      server.runWorkers()
      #expect(server.log.count == 1)
      #expect(server.log.first?.hasPrefix("GET / runs as blocking from now on: ") == true)
    }
  }

  @Test("A handler that says that it waits is not made inline, and one that begins to is inline no more")
  func callsThatMayWait() throws {
    try withServer { server in
      server.learning.mayPromote = true
      var waits = true
      let record = try server.learn("/") { exchange in
        if waits { Exchange.threadWillBlock() }
        return exchange.respond("done")
      }
      for _ in 0..<300 { #expect(!runsInline(server)) }
      waits = false
      pretendShortRuns(record)
      waits = true
      #expect(runsInline(server))
      #expect(!runsInline(server))
      #expect(server.log.last == "GET / runs on workers from now on: an inline run called mews_blocking_begin")
    }
  }

  @Test("A declared inline route stays inline when it waits, and the log says so a few times and no more")
  func complaints() throws {
    try withServer { server in
      let record = try server.learn("/", policy: RoutePolicy(fixed: .inline, because: .declared)) { exchange in
        usleep(500)
        return exchange.respond("done")
      }
      #expect(runsInline(server))
      #expect(server.log.count == 1)
      #expect(
        server.log.first?.hasPrefix("GET / is declared inline, but 1 of 1 inline runs waited, longest ") == true)
      for _ in 0..<100 { RouteRecord.didBlockInline(record, nanoseconds: 2_000_000) }
      #expect(runsInline(server))
      #expect(server.log.count == 4)
      #expect(RouteRecord.report(record).inlineWaits == 101)
      #expect(server.learning.inlineWaits == 101)
    }
  }

  @Test("A handler that waits inline is found out by the samples")
  func becomesSlow() throws {
    try withServer { server in
      server.learning.mayPromote = true
      let record = try server.learn("/") { exchange in
        usleep(300)
        return exchange.respond("done")
      }
      pretendShortRuns(record)
      var runs = 0
      while runsInline(server), runs < 1_000 { runs += 1 }
      #expect(runs == 1)
      #expect(RouteRecord.report(record).why.contains("waited"))
    }
  }

  @Test("The first few changes are said in the log, and then one a minute with the number of those before")
  func logLimit() {
    var limit = ChangeLogLimit()
    for time in 0..<4 { #expect(limit.admit(at: Int64(time)) == 0) }
    for time in 4..<50 { #expect(limit.admit(at: Int64(time)) == nil) }
    #expect(limit.admit(at: 60_000_000_003) == 46)
    #expect(limit.admit(at: 60_000_000_004) == nil)
    #expect(limit.admit(at: 200_000_000_000) == 1)
  }
}

@Suite("Which inline runs are measured")
struct RunCellTests {
  private func withCell(_ body: (RunCell) -> Void) {
    let words = UnsafeMutablePointer<UInt64>.allocate(capacity: RunCell.wordCount)
    words.initialize(repeating: 0, count: RunCell.wordCount)
    body(RunCell(words: words))
    words.deallocate()
  }

  @Test("The time of one in 64 is taken, and more of one in 1,024, beginning with the first")
  func intervals() {
    withCell { cell in
      #expect(cell.countInlineRun() == .usage)
      var counts = [RunMeasure.none: 0, .time: 0, .usage: 0]
      for _ in 0..<1_024_000 { counts[cell.countInlineRun(), default: 0] += 1 }
      #expect((14_000...18_000).contains(counts[.time, default: 0]))
      #expect((850...1_150).contains(counts[.usage, default: 0]))
      #expect(cell.inlineRuns == 1_024_001)
    }
  }

  @Test("No regular pattern of requests escapes: each remainder of the run's number is sampled", arguments: [2, 8, 64])
  func patterns(period: UInt64) {
    withCell { cell in
      var samples = [UInt64: Int]()
      for run in 0..<32_000 * period where cell.countInlineRun() != .none {
        samples[run % period, default: 0] += 1
      }
      #expect(samples.count == Int(period))
    }
  }

  @Test("After a run that took long, the next eight are measured")
  func suspicion() {
    withCell { cell in
      for _ in 0..<100 { _ = cell.countInlineRun() }
      cell.suspect()
      for _ in 0..<8 { #expect(cell.countInlineRun() == .usage) }
      var next = 0
      while cell.countInlineRun() == .none { next += 1 }
      #expect(next < 96)
    }
  }

  @Test("Runs on workers are counted apart")
  func workerRuns() {
    withCell { cell in
      for _ in 0..<10 { cell.countWorkerRun() }
      #expect(cell.workerRuns == 10)
      #expect(cell.inlineRuns == 0)
    }
  }
}
