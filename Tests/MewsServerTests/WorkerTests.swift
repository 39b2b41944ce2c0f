import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Handlers on workers")
struct WorkerTests {
  @Test("The exchange goes to the port and back, and the next request of the connection proceeds after it")
  func roundTrip() throws {
    try withServer { server in
      var order: [String] = []
      server.handle("POST", "/worker", on: MEWS_EXECUTION_WORKER) { exchange in
        order.append("worker")
        return exchange.respond(copying: exchange.body)
      }
      server.handle("GET", "/inline") { exchange in
        order.append("inline")
        return exchange.respond("inline")
      }
      let client = server.connect()
      client.send(post("/worker", Array("body".utf8)) + Array(get("/inline").utf8))
      #expect(server.queuedHandlers == 1)
      #expect(client.connection.pointee.phase == .running)
      #expect(order == [])

      #expect(server.runHandlersOfWorkers() == 1)
      #expect(order == ["worker"])
      #expect(client.receive() == "")

      server.runPasses()
      #expect(order == ["worker", "inline"])
      #expect(client.sends.count == 1)
      #expect(client.receive() == ok("body") + ok("inline"))
    }
  }

  @Test("Requests of many connections reach the port together, and each connection gets its own response")
  func manyConnections() throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { $0.respond(copying: $0.body) }
      let clients = (0..<100).map { _ in server.connect() }
      for (number, client) in clients.enumerated() { client.send(post("/", Array("client \(number)".utf8))) }
      #expect(server.queuedHandlers == 100)
      server.runWorkers()
      for (number, client) in clients.enumerated() { #expect(client.receive() == ok("client \(number)")) }
    }
  }

  @Test("Pipelined requests for workers run one after the other")
  func pipelined() throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { $0.respond(copying: $0.body) }
      let client = server.connect()
      client.send((0..<16).flatMap { post("/", Array("request \($0)".utf8)) })
      for number in 0..<16 {
        #expect(server.queuedHandlers == 1)
        #expect(server.runHandlersOfWorkers() == 1)
        server.runPasses()
        #expect(client.receive() == ok("request \(number)"))
      }
      #expect(server.queuedHandlers == 0)
    }
  }

  @Test("The request stays as it is while the handler runs and more comes in")
  func requestIsStable() throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        exchange.respond("\(exchange.header("X-Field") ?? "") " + String(decoding: exchange.body, as: UTF8.self))
      }
      let client = server.connect()
      let request = post("/", Array("first".utf8), "X-Field: value")
      client.send(request)
      for _ in 0..<500 { client.send(request) }
      server.runWorkers()
      #expect(client.receive() == String(repeating: ok("value first"), count: 501))
    }
  }

  @Test("When the client leaves while the handler runs, the response is dropped and nothing leaks")
  func clientGone() throws {
    try withServer { server in
      var didRun = false
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        didRun = true
        #expect(exchange.body == pattern(5_000))
        return exchange.respond(copying: pattern(100_000))
      }
      let client = server.connect()
      client.send(post("/", pattern(5_000)) + post("/", pattern(5_000)))
      client.disconnect()
      #expect(server.context.pointee.connectionCount == 1, "the handler still needs it")
      server.runWorkers()
      #expect(didRun)
      #expect(client.receive() == "")
      #expect(server.context.pointee.connectionCount == 0)
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(server.rentedBlocks == 0)
    }
  }

  @Test("A client that ends its side while the handler runs is still answered, and then let go")
  func clientFinished() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/") + get("/"))
      client.finishSending()
      #expect(client.state == .open)
      server.runWorkers()
      #expect(client.receive() == ok("hello") + ok("hello"))
      #expect(client.state == .closed)
    }
  }

  @Test(
    "A client that ended its side behind half a request is let go after the response from the worker",
    arguments: [
      "GET / HT", "POST / HTTP/1.1\r\nHost: mews\r\nContent-Length: 9\r\n\r\nhalf",
      "POST / HTTP/1.1\r\nHost: mews\r\nContent-Length: 9000\r\n\r\nhalf",
      "POST / HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ])
  func clientFinishedWithHalfARequest(half: String) throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/") + half)
      client.finishSending()
      server.runWorkers()
      #expect(client.receive() == ok("hello"))
      #expect(client.state == .closed)
    }
  }

  @Test("The last response of a connection can come from a worker")
  func closesAfterWorker() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/", "Connection: close") + get("/"))
      server.runWorkers()
      #expect(client.receive() == okAndClose("hello"))
      #expect(client.state == .lingering)
    }
  }
}

@Suite("Backpressure")
struct BackpressureTests {
  @Test("A client that sends on while a handler runs is paused, and is read again when there is room")
  func input() throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("\($0.body.count)") }
      let limit = server.context.pointee.limits.inputPause
      let client = server.connect()
      let count = 400
      client.send((0..<count).flatMap { _ in post("/", pattern(1_000)) })
      #expect(client.isPaused)
      #expect(client.unread > 0)
      #expect(client.connection.pointee.input.count < limit + BlockPool.blockSize)

      server.runHandlersOfWorkers()
      server.runPasses()
      #expect(client.isPaused, "one small request makes not enough room")
      server.runWorkers()
      #expect(!client.isPaused)
      #expect(client.unread == 0)
      #expect(client.receive() == String(repeating: ok("1000"), count: count))
    }
  }

  @Test("A large body is not held back by the threshold", arguments: [40_000, 65_536, 70_000, 500_000])
  func largeBody(size: Int) throws {
    try withServer { server in
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("\($0.body.count)") }
      let client = server.connect()
      client.send(post("/", pattern(size)) + post("/", pattern(size)))
      server.runWorkers()
      #expect(client.receive() == ok("\(size)") + ok("\(size)"))
      #expect(!client.isPaused)
    }
  }

  @Test("A paused client whose last request asks to close is read to the end, and what it still sends is thrown away")
  func closing() throws {
    try withServer { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond("hello") }
      let client = server.connect()
      client.send(Array(get("/", "Connection: close").utf8) + pattern(200_000))
      #expect(client.isPaused)
      server.runWorkers()
      #expect(client.receive() == okAndClose("hello"))
      #expect(client.state == .lingering)
      #expect(client.unread == 0)
    }
  }
}
