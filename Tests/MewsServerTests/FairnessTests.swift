import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Fairness and wakes")
struct FairnessTests {
  @Test("A client that pipelines without end has its share of a pass, and others are served in that pass")
  func busyClient() throws {
    var limits = ServerLimits()
    limits.readsPerPass = 2
    try withServer(limits: limits) { server in
      var counts = [0, 0]
      server.handle("GET", "/busy") { exchange in
        counts[0] += 1
        return exchange.respond("busy")
      }
      server.handle("GET", "/other") { exchange in
        counts[1] += 1
        return exchange.respond("other")
      }
      // The busy client's events come first in a pass.
      let busy = try LoopbackClient(to: server, bufferSize: 1 << 20)
      let other = try LoopbackClient(to: server)
      let request = Array(get("/busy").utf8)
      let requests = (0..<3_000).flatMap { _ in request }
      let sent = busy.send(requests[...])
      // A read brings two blocks at most: half a head at the end of a block moves to a larger one.
      let share = limits.readsPerPass * 2 * BlockPool.blockSize / request.count
      try #require(sent / request.count > 2 * share, "the kernel takes enough to tell a share from all of it")
      #expect(other.send(Array(get("/other").utf8)[...]) > 0)

      server.runPass()
      #expect(counts[1] == 1)
      #expect(counts[0] > 0 && counts[0] <= share, "\(counts[0]) of \(share)")
      let total = sent / request.count
      #expect(server.runPasses { counts[0] == total })
    }
  }

  @Test("A connection's requests are answered together, also when more connections wait than a pass has handlers")
  func batches() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let clients = (0..<300).map { _ in server.connect() }
      let requests = String(repeating: get("/"), count: 16)
      server.onIOThread { for client in clients { client.deliver(requests) } }
      server.runPasses()
      for client in clients { #expect(client.receive() == String(repeating: ok("hello"), count: 16)) }
      // Where a pass ends in the middle of one connection's, those go in two pieces.
      #expect(clients.allSatisfy { $0.sends.count <= 2 })
    }
  }

  @Test("A connection with many requests has its turn, and then those who wait have theirs")
  func turns() throws {
    try withServer { server in
      var order: [String] = []
      for path in ["/busy", "/other"] {
        server.handle("GET", path) { exchange in
          order.append(path)
          return exchange.respond("")
        }
      }
      let (busy, other) = (server.connect(), server.connect())
      server.onIOThread {
        busy.deliver(String(repeating: get("/busy"), count: 100))
        other.deliver(get("/other"))
      }
      server.runPasses()
      #expect(order.count == 101)
      let waited = try #require(order.firstIndex(of: "/other"))
      #expect((1...32).contains(waited))
    }
  }

  @Test("What is for workers goes to them before the inline handlers of the pass")
  func workersFirst() throws {
    try withServer { server in
      server.handle("GET", "/worker", on: MEWS_EXECUTION_WORKER) { $0.respond("worker") }
      var handlersOfWorkers = 0
      server.handle("GET", "/inline") { exchange in
        handlersOfWorkers += server.runHandlersOfWorkers()
        return exchange.respond("inline")
      }
      let (first, second) = (server.connect(), server.connect())
      server.onIOThread {
        first.deliver(get("/inline"))
        second.deliver(get("/worker"))
      }
      server.runPasses()
      #expect(handlersOfWorkers == 1)
      #expect(first.receive() == ok("inline"))
      #expect(second.receive() == ok("worker"))
    }
  }

  @Test("Completions for an I/O thread that is awake cost no system call; one wakes it when it sleeps")
  func wakes() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let clients = (0..<50).map { _ in server.connect() }
      for _ in 0..<4 {
        for client in clients { client.send(get("/")) }
        server.runWorkers()
      }
      #expect(server.takeWakeCalls() == 0)

      for client in clients { client.send(get("/")) }
      server.whileParked { #expect(server.runHandlersOfWorkers() == 50) }
      #expect(server.takeWakeCalls() == 1)
      server.runPasses()
      for client in clients { #expect(client.receive() == String(repeating: ok("hello"), count: 5)) }
    }
  }
}
