import CMews
import Foundation
import MewsCore
import Synchronization
import Testing

@testable import MewsServer

/// Threads that complete, continue and release tokens while the test, as I/O thread and worker, runs the server and has
/// clients leave: every acceptance has exactly one outcome.
@Suite("Completions that race clients and handlers")
struct PendingRaceTests {
  /// What the threads have been told and what came of it.
  final class Tally: Sendable {
    let accepted = Atomic<Int>(0)
    let lent = Atomic<Int>(0)
    let released = Atomic<Int>(0)
    let continued = Atomic<Int>(0)
    let called = Atomic<Int>(0)

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

  /// Tokens on their way from the handlers to the threads.
  final class Tokens: @unchecked Sendable {
    /// Not `Mutex`: the thread sanitizer does not see into that.
    private let lock = NSLock()
    private var tokens: [UInt64] = []
    let isOver = Atomic<Bool>(false)

    func put(_ token: ExchangeToken) { lock.withLock { tokens.append(token.rawValue) } }
    func take() -> ExchangeToken? { lock.withLock { tokens.popLast() }.map { ExchangeToken(rawValue: $0) } }
  }

  @Test("Ten thousand of them", .timeLimit(.minutes(5)))
  func race() throws {
    try withServer { server in
      let tally = Tally()
      let tokens = Tokens()
      for execution in [MEWS_EXECUTION_INLINE, MEWS_EXECUTION_WORKER] {
        server.handle("GET", "/\(execution)", on: Int(execution)) { exchange in
          for _ in 0..<2 {
            guard let token = exchange.retain() else { break }
            tokens.put(token)
          }
          return mews_result(MEWS_PENDING)
        }
      }
      let threads = (0..<4).map { number in Self.startThread(seed: UInt64(number), tokens, tally) }
      var random = SeededGenerator(seed: 1)
      var clients: [InMemoryConnection] = []
      var answered = 0
      for number in 0..<10_000 {
        if clients.count < 16 { clients.append(server.connect()) }
        let index = Int.random(in: 0..<clients.count, using: &random)
        clients[index].send(get("/\(number % 2 + 1)"))
        server.runHandlersOfWorkers()
        if Int.random(in: 0..<4, using: &random) == 0 {
          clients[index].disconnect()
          clients.remove(at: index)
        }
        server.runPasses()
        for client in clients { answered += client.receive().components(separatedBy: "HTTP/1.1 ").count - 1 }
      }
      for client in clients { client.disconnect() }
      server.runWorkers()
      tokens.isOver.store(true, ordering: .releasing)
      for thread in threads { while !thread.isFinished { server.runWorkers() } }
      // Continuations that ran last may have left some.
      while let token = tokens.take() { _ = token.release() }
      server.runWorkers()
      #expect(answered > 100, "some clients stay long enough")
      #expect(tally.accepted.load(ordering: .relaxed) > 1_000)
      #expect(tally.released.load(ordering: .relaxed) == tally.lent.load(ordering: .relaxed))
      #expect(tally.called.load(ordering: .relaxed) == tally.continued.load(ordering: .relaxed))
    }
  }

  private static func startThread(seed: UInt64, _ tokens: Tokens, _ tally: Tally) -> Thread {
    let thread = Thread {
      var random = SeededGenerator(seed: seed)
      while true {
        let isOver = tokens.isOver.load(ordering: .acquiring)
        if let token = tokens.take() {
          finish(token, Int.random(in: 0..<8, using: &random), tokens, tally)
        } else if isOver {
          return
        } else {
          sched_yield()
        }
      }
    }
    thread.start()
    return thread
  }

  /// Deals with one token. It is spent afterwards, or was accepted.
  private static func finish(_ token: ExchangeToken, _ choice: Int, _ tokens: Tokens, _ tally: Tally) {
    let result: mews_result
    switch choice {
    case 0: result = mews_result(MEWS_E_WRONG_STATE)
    case 1, 2: result = token.complete("copied")
    case 3: result = token.complete(tally.lending)
    default:
      result = token.proceed { exchange in
        tally.called.add(1, ordering: .relaxed)
        guard choice == 4, let fresh = exchange.retain() else { return exchange.respond("continued") }
        tokens.put(fresh)
        return mews_result(MEWS_PENDING)
      }
      if result == mews_result(MEWS_OK) { tally.continued.add(1, ordering: .relaxed) }
    }
    if result == mews_result(MEWS_OK) { tally.accepted.add(1, ordering: .relaxed) }
    // Another token of the exchange was faster, or it is given up: then this one is still there.
    if result == mews_result(MEWS_E_WRONG_STATE) { _ = token.release() }
  }
}
