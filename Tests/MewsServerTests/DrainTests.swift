import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Draining")
struct DrainTests {
  @Test("A server without connections ends at once")
  func nothing() throws {
    try withServer { server in
      #expect(!server.hasStopped)
      server.drain()
      #expect(server.hasStopped)
    }
  }

  @Test("Idle connections are closed at once, and with the last of them the thread ends")
  func idle() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let clients = (0..<3).map { _ in server.connect() }
      clients[0].send(get("/"))
      server.drain()
      #expect(clients.allSatisfy { $0.state == .closed })
      #expect(server.hasStopped)
    }
  }

  @Test("A request in flight is finished, its response says that the connection closes, and the thread ends after it")
  func inFlight() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/") + get("/"))
      server.drain()
      #expect(client.state == .open)
      #expect(!server.hasStopped)
      server.runWorkers()
      #expect(client.receive() == okAndClose("hello"))
      #expect(client.state == .lingering)
      #expect(!server.hasStopped, "the client has not read the response yet")
      client.finishSending()
      #expect(client.state == .closed)
      #expect(server.hasStopped)
    }
  }

  @Test("Of requests that wait for a slow reader, the next one is answered, and says that it is the last")
  func slowReader() throws {
    var limits = ServerLimits()
    limits.outputPause = 1_000
    try withServer(limits: limits) { server in
      let body = String(repeating: "x", count: 2_000)
      server.handle("GET", "/") { $0.respond(body) }
      let client = server.connect()
      client.isReading = false
      client.send(String(repeating: get("/"), count: 3))
      server.drain()
      #expect(!server.hasStopped)
      client.isReading = true
      server.runPasses()
      #expect(client.receive() == ok(body) + okAndClose(body))
      client.finishSending()
      #expect(server.hasStopped)
    }
  }

  @Test("A connection whose handler responded just before the drain is closed, too")
  func respondedBefore() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/"))
      server.runHandlersOfWorkers()
      // The response, already made, is in the mailbox behind the packet that begins the drain.
      server.onIOThread { IOContext.drain(server.context) }
      server.runPasses()
      #expect(client.receive() == ok("hello"))
      #expect(client.state == .lingering)
      client.finishSending()
      #expect(client.state == .closed)
      #expect(server.hasStopped)
    }
  }

  @Test("A connection that is still sending its response is closed after it")
  func sending() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.isReading = false
      client.send(get("/"))
      server.drain()
      #expect(client.state == .open)
      client.isReading = true
      server.runPasses()
      #expect(client.receive() == ok("hello"))
      #expect(client.state == .lingering)
      client.finishSending()
      #expect(server.hasStopped)
    }
  }

  @Test("Half a request may still become a whole one")
  func halfARequest() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.send("GET / HT")
      server.drain()
      #expect(client.state == .open)
      client.send("TP/1.1\r\nHost: mews\r\n\r\n")
      #expect(client.receive() == okAndClose("hello"))
      client.finishSending()
      #expect(server.hasStopped)
    }
  }

  @Test("A client that left while its handler runs keeps the thread until the handler has returned")
  func clientGone() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/"))
      client.disconnect()
      server.drain()
      #expect(!server.hasStopped)
      server.runWorkers()
      #expect(server.hasStopped)
    }
  }

  @Test("Cutting off what is left waits for handlers, also for those whose client has left already")
  func abort() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let gone = server.connect()
      let waiting = server.connect()
      let half = server.connect()
      gone.send(get("/"))
      waiting.send(get("/"))
      half.send("GET / HT")
      gone.disconnect()
      server.drain()
      server.abort()
      #expect([gone, waiting, half].allSatisfy { $0.state == .closed })
      #expect(server.context.pointee.connectionCount == 2, "the handlers still need theirs")
      #expect(!server.hasStopped)
      server.runWorkers()
      #expect(server.context.pointee.connectionCount == 0)
      #expect(server.hasStopped)
    }
  }
}
