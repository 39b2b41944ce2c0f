import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Connections over sockets")
struct SocketConnectionTests {
  @Test("Requests and responses pass through")
  func roundTrips() throws {
    try withServer { server in
      server.handle("POST", "/inline") { $0.respond(copying: $0.body) }
      server.handle("POST", "/worker", on: MEWS_EXECUTION_WORKER) { $0.respond(copying: $0.body) }
      let client = try LoopbackClient(to: server)
      for size in [1, 3_000, 200_000] {
        let response = ExpectedResponse(pattern(size)).bytes
        #expect(client.send(post("/inline", pattern(size))))
        expectBytes(client.receive(response.count), response)
        #expect(client.send(post("/worker", pattern(size))))
        #expect(server.runPasses { server.runHandlersOfWorkers() == 1 })
        expectBytes(client.receive(response.count), response)
      }
    }
  }

  @Test("A response larger than the kernel takes reaches a slow reader whole and in order", arguments: [true, false])
  func slowReader(isLent: Bool) throws {
    try withServer { server in
      let body = pattern(2_000_000)
      let lent = LentBytes(body)
      server.handle("GET", "/") { isLent ? $0.respond(lending: lent) : $0.respond(copying: body) }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/") + get("/")))
      #expect(server.runPasses { client.isWriteBlocked })
      let response = ExpectedResponse(body).bytes
      var blockedCount = 0
      let isComplete = server.runPasses {
        if client.isWriteBlocked { blockedCount += 1 }
        client.read(upTo: 50_000)
        return client.received.count >= 2 * response.count
      }
      #expect(isComplete)
      #expect(blockedCount > 1)
      expectBytes(client.received, response + response)
      #expect(server.runPasses { lent.releaseCount == (isLent ? 2 : 0) })
    }
  }

  @Test("A client whose body is refused while it still sends it reads the response, and no reset")
  func lingering() throws {
    var limits = ServerLimits()
    limits.bodyBytes = 1_000
    try withServer(limits: limits) { server in
      let client = try LoopbackClient(to: server, bufferSize: 100_000)
      #expect(client.send(post("/", pattern(1_000_000))), "the server reads on")
      let expected = refusal("413 Content Too Large", "the body is larger than the server takes")
      #expect(client.receive(expected.utf8.count) == Array(expected.utf8))
      let isEnded = server.runPasses {
        client.read()
        return client.isAtEnd
      }
      #expect(isEnded)
      #expect(client.readError == 0)
      #expect(server.context.pointee.connectionCount == 1, "the server waits for the client to close")
      client.disconnect()
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
    }
  }

  @Test("A client that does not close after the last response is let go after a moment")
  func lingeringEnds() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/", "Connection: close")))
      let expected = okAndClose("hello")
      #expect(client.receive(expected.utf8.count) == Array(expected.utf8))
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
    }
  }

  @Test("A client that sends without end after the last response is cut off")
  func lingeringIsBounded() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = try LoopbackClient(to: server, bufferSize: 1 << 20)
      #expect(client.send(get("/", "Connection: close")))
      let noise = pattern(100_000)
      var sent = 0
      let isCutOff = server.runPasses {
        sent += client.send(noise[...])
        return server.context.pointee.connectionCount == 0
      }
      #expect(isCutOff)
      #expect(sent > SocketConnection.lingerBytes)
    }
  }

  @Test(
    "A reset in the middle of a request ends the connection",
    arguments: [
      "GET / HT", "POST / HTTP/1.1\r\nHost: mews\r\nContent-Length: 9\r\n\r\nhalf",
      "POST / HTTP/1.1\r\nHost: mews\r\nContent-Length: 90000\r\n\r\nhalf",
      "POST / HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ])
  func resetInRequest(half: String) throws {
    try withServer { server in
      let client = try LoopbackClient(to: server)
      #expect(client.send(half))
      #expect(server.runPasses { server.context.pointee.exchangeCount == 1 })
      client.reset()
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      #expect(server.context.pointee.exchangeCount == 0)
    }
  }

  @Test("A reset while the handler runs drops the response, and the memory goes when the handler has returned")
  func resetWhileRunning() throws {
    try withServer { server in
      let lent = LentBytes(pattern(100_000))
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond(lending: lent) }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/")))
      #expect(server.runPasses { server.queuedHandlers == 1 })
      client.reset()
      #expect(server.runPasses { client.isClosed })
      #expect(server.context.pointee.connectionCount == 1)
      server.runWorkers()
      #expect(lent.releaseCount == 1)
      #expect(server.context.pointee.connectionCount == 0)
    }
  }

  @Test("A client that ends its side while the handler runs is answered, and then the connection is closed")
  func finishWhileRunning() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/")))
      client.finishSending()
      #expect(server.runPasses { server.queuedHandlers == 1 && client.connection.pointee.inputEnded })
      server.runWorkers()
      #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
    }
  }

  @Test("While a handler runs, a client that sends on in small pieces fills the input pipe up to its threshold only")
  func backpressure() throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("\($0.body.count)") }
      let limit = server.context.pointee.limits.inputPause
      let client = try LoopbackClient(to: server)
      let count = 1_000
      let requests = (0..<count).flatMap { _ in post("/", pattern(500)) }
      var sent = 0
      // Until neither the server nor the kernel takes any more.
      var refusals = 0
      while refusals < 100, sent < requests.count {
        let taken = client.send(requests[sent..<min(sent + 700, requests.count)])
        sent += taken
        refusals = taken == 0 ? refusals + 1 : 0
        server.runPass()
      }
      #expect(sent < requests.count)
      #expect(client.isReadPaused)
      #expect(client.connection.pointee.input.count < limit + 2 * BlockPool.blockSize)

      let expected = String(repeating: ok("500"), count: count)
      let isComplete = server.runPasses {
        sent += client.send(requests[sent...])
        server.runWorkers()
        client.read()
        return client.received.count >= expected.utf8.count
      }
      #expect(isComplete)
      expectBytes(client.received, Array(expected.utf8))
    }
  }

  @Test("A request that has reached the kernel when the server begins to drain is answered")
  func drainAnswers() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = try LoopbackClient(to: server)
      let idle = try LoopbackClient(to: server)
      let request = Array(get("/").utf8)
      #expect(client.send(request[...]) == request.count)
      // Before a pass has told the connection of it.
      server.onIOThread { IOContext.drain(server.context) }
      let expected = okAndClose("hello")
      #expect(client.receive(expected.utf8.count) == Array(expected.utf8))
      client.disconnect()
      #expect(server.runPasses { server.hasStopped })
      idle.read()
      #expect(idle.isAtEnd)
    }
  }

  @Test("A reset is noticed although the input pipe is full")
  func resetWhilePaused() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = try LoopbackClient(to: server)
      let requests = Array(String(repeating: get("/"), count: 10_000).utf8)
      var sent = 0
      let isPaused = server.runPasses {
        sent += client.send(requests[sent...])
        return client.isReadPaused
      }
      #expect(isPaused)
      client.reset()
      #expect(server.runPasses { client.isClosed })
      server.runWorkers()
      #expect(server.context.pointee.connectionCount == 0)
    }
  }
}
