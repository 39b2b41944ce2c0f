import CMews
import Foundation
import MewsCore
import Testing

@testable import MewsServer

@Suite("What threads share of a route's record")
struct RouteRecordRaceTests {
  private static let rounds = 2_000

  /// One of the threads: asks for the class, and feeds the record with short runs, and now and then with some that
  /// wait, so that the class changes to and fro.
  private static func run(_ record: RouteRecordPointer, number: Int) {
    let short = RunSample(place: .worker, wallTime: 8_000, cpuTime: 8_000, waits: 0)
    let waiting = RunSample(place: .worker, wallTime: 9_000_000, cpuTime: 8_000, waits: 1)
    for round in 0..<rounds {
      _ = RouteRecord.execution(record)
      _ = RouteRecord.measureOnWorker(record)
      RouteRecord.observe(record, round % 700 < 600 ? short : waiting)
      if round % 100 == number { RouteRecord.willBlock(record, isInline: false) }
      if round % 500 == number { RouteRecord.didBlockInline(record, nanoseconds: 2_000_000) }
      if round % 50 == number { _ = RouteRecord.report(record) }
    }
  }

  @Test("Threads that ask for the class, observe runs and report at once: every change is counted, the last one holds")
  func race() throws {
    let learning = RouteLearning(ioThreads: 1, log: ServerLog(function: nil, context: nil, level: 0))
    learning.mayPromote = true
    let names = RouteNames(method: "GET", pattern: "/", plugin: "test", declared: "auto")
    let record = try #require(RouteRecord.create(names, policy: RoutePolicy(), learning: learning))
    defer { RouteRecord.destroy(record) }
    nonisolated(unsafe) let shared = record
    let threads = (0..<4).map { number in Thread { Self.run(shared, number: number) } }
    for thread in threads { thread.start() }
    for thread in threads { while !thread.isFinished { usleep(200) } }
    let report = RouteRecord.report(record)
    #expect(report.changes > 0)
    #expect(report.changes == learning.changes)
    #expect(RouteRecord.execution(record) == report.execution.rawValue)
  }
}
