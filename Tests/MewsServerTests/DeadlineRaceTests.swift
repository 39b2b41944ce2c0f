import CMews
import Foundation
import MewsCore
import Synchronization
import Testing

@testable import MewsServer

/// Workers run handlers, other threads complete what those leave pending, and the test, as the I/O thread, moves the
/// clock, so that deadlines pass at every moment of a request's life: each request has exactly one response.
@Suite("Deadlines that race handlers and completions")
struct DeadlineRaceTests {
  final class Tally: Sendable {
    let isOver = Atomic<Bool>(false)
    let called = Atomic<Int>(0)
    let lent = Atomic<Int>(0)
    let released = Atomic<Int>(0)
    let foreignBytes = Atomic<Int>(0)

    var lending: ResponseBody {
      lent.add(1, ordering: .relaxed)
      let bytes: StaticString = "lent"
      return ResponseBody(
        referencing: bytes.utf8Start, count: bytes.utf8CodeUnitCount,
        release: { context in
          guard let context else { return }
          Unmanaged<Tally>.fromOpaque(context).takeUnretainedValue().released.add(1, ordering: .relaxed)
        }, context: Unmanaged.passUnretained(self).toOpaque())
    }
  }

  /// A client, and how many responses it is still to get.
  private struct Client {
    let end: InMemoryConnection
    var received = ""
    var sent = 0
  }

  private static let kinds = 6

  @Test("Twelve thousand of them", .timeLimit(.minutes(5)))
  func race() throws {
    try withServer { server in
      server.stopClock()
      let tally = Tally()
      let tokens = PendingRaceTests.Tokens()
      Self.addRoutes(to: server, tokens, tally)
      // What the workers use of it is made for several threads.
      nonisolated(unsafe) let shared = server
      let threads =
        (1...2).map { number in Self.start { try? shared.workUntil(tally.isOver, index: UInt32(number + 1)) } }
        + (1...2).map { number in Self.start { Self.complete(tokens, tally, seed: UInt64(number)) } }
      var random = SeededGenerator(seed: 7)
      var clients: [Client] = []
      var counts = (ok: 0, late: 0, left: 0)
      for number in 0..<12_000 {
        if clients.count < 16 { clients.append(Client(end: server.connect())) }
        let index = Int.random(in: 0..<clients.count, using: &random)
        let body = Self.body(number)
        clients[index].end.send(post("/\(number % Self.kinds)", body))
        clients[index].sent += 1
        if Int.random(in: 0..<64, using: &random) == 0 {
          clients[index].end.disconnect()
          clients.remove(at: index)
          counts.left += 1
        }
        server.passTime(milliseconds: Int64.random(in: 0...1, using: &random))
        Self.take(&clients, &counts)
      }
      // Whatever is left is answered by a handler or by its deadline.
      for _ in 0..<20 { server.passTime(milliseconds: 1) }
      Self.take(&clients, &counts)
      #expect(clients.allSatisfy { $0.sent == 0 }, "each request of a client that stays is answered")
      tally.isOver.store(true, ordering: .releasing)
      for thread in threads { while !thread.isFinished { server.runPasses() } }
      while let token = tokens.take() { _ = token.release() }
      server.runWorkers()
      #expect(counts.ok > 500 && counts.late > 500 && counts.left > 50, "\(counts)")
      #expect(tally.released.load(ordering: .relaxed) == tally.lent.load(ordering: .relaxed))
      #expect(tally.foreignBytes.load(ordering: .relaxed) == 0)
      let missed = (0..<Self.kinds).reduce(0) { $0 + server.missedDeadlines("/\($1)") }
      #expect(missed >= UInt64(counts.late))
    }
  }

  /// A body by which a handler knows its own request again.
  private static func body(_ number: Int) -> [UInt8] {
    Array(repeating: UInt8(truncatingIfNeeded: number), count: 32 + number % 3 * 3_000)
  }

  private static func addRoutes(to server: InMemoryServer, _ tokens: PendingRaceTests.Tokens, _ tally: Tally) {
    for kind in 0..<kinds {
      let execution = [MEWS_EXECUTION_WORKER, MEWS_EXECUTION_BLOCKING, MEWS_EXECUTION_INLINE][kind % 3]
      server.handle("POST", "/\(kind)", on: execution, timeout: 2) { exchange in
        let call = tally.called.add(1, ordering: .relaxed).newValue
        let body = exchange.body
        if execution != MEWS_EXECUTION_INLINE { for _ in 0..<call % 40 { sched_yield() } }
        if exchange.body != body || Set(body).count > 1 { tally.foreignBytes.add(1, ordering: .relaxed) }
        guard kind >= 3 else {
          return call % 2 == 0 ? exchange.respond("own") : exchange.respond(lendingFrom: tally)
        }
        guard let token = exchange.retain() else { return mews_result(MEWS_E_FAILED) }
        tokens.put(token)
        return mews_result(MEWS_PENDING)
      }
    }
  }

  private static func start(_ body: @escaping @Sendable () -> Void) -> Thread {
    let thread = Thread(block: body)
    thread.start()
    return thread
  }

  /// Completes, continues or releases tokens until it is over.
  private static func complete(_ tokens: PendingRaceTests.Tokens, _ tally: Tally, seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    while !tally.isOver.load(ordering: .acquiring) {
      guard let token = tokens.take() else {
        sched_yield()
        continue
      }
      for _ in 0..<Int.random(in: 0..<40, using: &random) { sched_yield() }
      switch Int.random(in: 0..<4, using: &random) {
      case 0: _ = token.complete("copied")
      case 1: _ = token.complete(tally.lending)
      case 2: _ = token.proceed { $0.respond("continued") }
      default: _ = token.status() == mews_result(MEWS_E_GONE) ? token.release() : token.complete("asked")
      }
    }
  }

  /// Takes what the clients have got. One that got 504 gets nothing more, whatever else it has asked for.
  private static func take(_ clients: inout [Client], _ counts: inout (ok: Int, late: Int, left: Int)) {
    for index in clients.indices.reversed() {
      clients[index].received += clients[index].end.receive()
      let responses = clients[index].received.components(separatedBy: "HTTP/1.1 ").dropFirst()
      guard !responses.isEmpty else { continue }
      clients[index].received = ""
      for response in responses.dropLast() { #expect(response.hasPrefix("200 OK")) }
      guard let last = responses.last else { continue }
      counts.ok += responses.count - 1
      #expect(responses.count <= clients[index].sent)
      clients[index].sent -= responses.count
      if last.hasPrefix("504") {
        counts.late += 1
        #expect(clients[index].end.state == .lingering)
        clients[index].end.finishSending()
        #expect(clients[index].end.receive() == "")
        clients.remove(at: index)
      } else {
        counts.ok += 1
        #expect(last.hasPrefix("200 OK"))
      }
    }
  }
}

extension HandledExchange {
  fileprivate func respond(lendingFrom tally: DeadlineRaceTests.Tally) -> mews_result {
    let type: StaticString = "text/plain"
    return Exchange.respond(
      pointer, status: 200, contentType: type.utf8Start, contentTypeCount: type.utf8CodeUnitCount, body: tally.lending)
  }
}
