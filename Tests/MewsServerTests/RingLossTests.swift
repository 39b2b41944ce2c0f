import CMews
import CMewsShims
import Glibc
import Testing

@testable import MewsCore
@testable import MewsServer

/// What becomes of a server's connections when the kernel loses completions. The tests take them out of the ring, and
/// count them as the kernel would.
@Suite("Lost completions", .enabled(if: RingConnection.features.isSubset(of: RingProbe.ofThisProcess.features)))
struct RingLossTests {
  private func withServer(without switchedOff: RingFeatures = [], _ body: (InMemoryServer) throws -> Void) throws {
    let server = try InMemoryServer(usesRing: true, without: switchedOff)
    server.handle("GET", "/") { $0.respond("hello") }
    server.handle("GET", "/running", on: MEWS_EXECUTION_WORKER) { $0.respond("ran") }
    try body(server)
    server.finish()
  }

  private func expectRoundTrip(_ client: LoopbackClient) {
    #expect(client.send(get("/")))
    #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
  }

  private func expectClosed(_ clients: LoopbackClient..., server: InMemoryServer) {
    #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
    for client in clients {
      #expect(
        server.runPasses {
          client.read()
          return client.isAtEnd || client.readError != 0
        })
    }
  }

  private func losses(_ server: InMemoryServer) -> [String] { server.log.filter { $0.contains("lost completions") } }

  @Test("Nothing behind a gap is taken for a request, every connection is closed, and new ones are served")
  func gap() throws {
    try withServer { server in
      var paths: [String] = []
      server.handle("GET", "/smuggled") { exchange in
        paths.append("/smuggled")
        return exchange.respond("smuggled")
      }
      let client = try LoopbackClient(to: server)
      let idle = try LoopbackClient(to: server)
      expectRoundTrip(idle)
      // A body that looks like a request, once what says that it is one is missing.
      #expect(client.send(Array(get("/").utf8)[...]) > 0)
      #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
      let body = Array(get("/smuggled").utf8)
      let head = "POST / HTTP/1.1\r\nHost: mews\r\nContent-Length: \(body.count)\r\n\r\n"
      #expect(client.send(Array(head.utf8)[...]) > 0)
      try server.lose()
      #expect(client.send(body[...]) == body.count)
      expectClosed(client, idle, server: server)
      #expect(paths == [])
      #expect(losses(server).count == 1 && losses(server)[0].hasSuffix("connections closed: 2"))
      expectRoundTrip(try LoopbackClient(to: server))
      // The log hears of it once a second.
      server.stopClock()
      for milliseconds in [0, 1, 2_000] {
        server.passTime(milliseconds: Int64(milliseconds))
        try server.lose(atLeast: 0)
        server.runPass()
      }
      #expect(losses(server).count == 2)
    }
  }

  @Test("What was received before the loss and not told is thrown away with its connection")
  func untold() throws {
    try withServer { server in
      var count = 0
      server.handle("GET", "/counted") { exchange in
        count += 1
        return exchange.respond("counted")
      }
      let clients = try (0..<4).map { _ in try LoopbackClient(to: server) }
      server.runPass()
      for client in clients { #expect(client.send(Array(get("/counted").utf8)[...]) > 0) }
      try server.lose(1, atLeast: 4)
      expectClosed(clients[0], clients[1], clients[2], clients[3], server: server)
      #expect(count == 0)
    }
  }

  @Test("A send whose completion is lost ends, and what it sent from is given back once")
  func send() throws {
    try withServer { server in
      let lent = LentBytes(pattern(2_000_000))
      server.handle("GET", "/large") { $0.respond(lending: lent) }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/large")))
      #expect(server.runPasses { client.isWriteBlocked })
      for _ in 0..<10 { server.runPass() }
      for _ in 0..<50 { client.read() }
      try server.lose()
      expectClosed(client, server: server)
      #expect(lent.releaseCount == 1)
    }
  }

  @Test("A connection whose handler runs is freed when that has returned, with the input paused or not")
  func running() throws {
    try withServer { server in
      let first = try LoopbackClient(to: server)
      let second = try LoopbackClient(to: server, bufferSize: 1 << 20)
      #expect(first.send(get("/running")))
      let many = Array(String(repeating: get("/running"), count: 4_000).utf8)
      var sent = 0
      #expect(
        server.runPasses {
          sent += second.send(many[sent...])
          return second.isReadPaused
        })
      for _ in 0..<3 { server.runPass() }
      #expect(server.queuedHandlers == 2)
      try server.lose(atLeast: 0)
      server.runPass()
      #expect(server.context.pointee.connectionCount == 2)
      first.read()
      #expect(first.isAtEnd || first.readError != 0)
      server.runWorkers()
      expectClosed(first, second, server: server)
    }
  }

  @Test("Connections are taken as before, also when their own completions were lost", arguments: [0, 1])
  func listener(lost: Int) throws {
    try withServer { server in
      server.listen(on: try ListeningSet.bind(.loopbackIPv4(port: 0), count: 1))
      let listener = try #require(server.context.pointee.belongings.takeUnretainedValue().listeners.first)
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      server.runPass()
      let clients = try (0..<3).map { _ in try LoopbackClient(to: server, port: port) }
      let descriptors = try server.lose(lost, atLeast: 3)
      // They are new: nothing can be missing from them.
      #expect(server.runPasses { server.context.pointee.connectionCount == 3 - lost })
      let next = try LoopbackClient(to: server, port: port)
      #expect(server.runPasses { server.context.pointee.connectionCount == 4 - lost })
      expectRoundTrip(next)
      for client in clients[lost...] { expectRoundTrip(client) }
      #expect(listener.pointee.accepting.isArmed && !listener.pointee.isPaused)
      for client in clients + [next] { client.disconnect() }
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      for descriptor in descriptors { close(descriptor) }
    }
  }

  @Test("A server that stops ends, when completions are lost at any point of it", arguments: 0..<4)
  func stop(point: Int) throws {
    try withServer { server in
      server.listen(on: try ListeningSet.bind(.loopbackIPv4(port: 0), count: 1))
      let listener = try #require(server.context.pointee.belongings.takeUnretainedValue().listeners.first)
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      server.runPass()
      let client = try LoopbackClient(to: server, port: port)
      #expect(server.runPasses { server.context.pointee.connectionCount == 1 })
      #expect(client.send(get("/running")))
      #expect(server.runPasses { server.queuedHandlers == 1 })
      let late = try LoopbackClient(to: server, port: port)
      if point == 0 { try server.lose(0, atLeast: 1) }
      server.drain()
      if point == 1 { try server.lose(atLeast: 0) }
      #expect(
        server.runPasses {
          if point == 2, server.context.pointee.isListening { _ = try? server.lose(0, atLeast: 0) }
          return !server.context.pointee.isListening
        })
      if point == 3 { try server.lose(atLeast: 0) }
      server.runWorkers()
      late.disconnect()
      #expect(server.runPasses { server.hasStopped })
    }
  }

  @Test("Connections that the ring only watches go on, and hear of what they missed")
  func watched() throws {
    try withServer(without: .bufferRing) { server in
      let clients = try (0..<8).map { _ in try LoopbackClient(to: server) }
      server.runPass()
      for _ in 0..<3 {
        for client in clients { #expect(client.send(Array(get("/").utf8)[...]) > 0) }
        try server.lose(atLeast: 8)
        for client in clients { #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8)) }
      }
      #expect(losses(server).first?.hasSuffix("connections closed: 0") == true)
      for client in clients { client.disconnect() }
    }
  }
}

extension InMemoryServer {
  /// Has the kernel make completions of what has come, and takes the oldest of them away.
  ///
  /// - Returns: what they said.
  @discardableResult
  fileprivate func lose(_ count: Int = .max, atLeast minimum: UInt32 = 1) throws -> [Int32] {
    let ring = try #require(context.pointee.thread.proactor).ring
    for _ in 0..<10_000 where ring.unread < minimum { _ = shim_ring_enter(ring.state.pointee.ring, 1, 1_000_000) }
    try #require(ring.unread >= minimum)
    var results: [Int32] = []
    var event = shim_ring_event()
    while results.count < count, ring.nextEvent(&event) { results.append(event.result) }
    ring.state.pointee.knownLosses &-= 1
    return results
  }
}
