import CMews
import Testing

@testable import MewsServer

private let isOK = mews_result(MEWS_OK)
private let isPending = mews_result(MEWS_PENDING)
private let isGone = mews_result(MEWS_E_GONE)

/// The answer to a request whose handler took too long.
let gatewayTimeout = refusal("504 Gateway Timeout", "there was no response in time")

/// Runs a test with a server whose clock stands still.
private func withStoppedClock(_ body: (InMemoryServer) throws -> Void) throws {
  try withServer { server in
    server.stopClock()
    try body(server)
  }
}

extension InMemoryServer {
  /// For a handler that is about to take its time: if it runs inline, another thread takes over the I/O thread's work.
  fileprivate func holdUp(_ execution: Int) { if execution == MEWS_EXECUTION_INLINE { takeOver() } }
}

@Suite("Handlers that miss their deadline")
struct DeadlineTests {
  static let workers = [MEWS_EXECUTION_WORKER, MEWS_EXECUTION_BLOCKING]
  static let executions = [MEWS_EXECUTION_INLINE] + workers

  @Test(
    "The client gets 504 and the connection closes, while the handler goes on as before; its response is dropped",
    arguments: executions)
  func handlerRuns(execution: Int) throws {
    try withStoppedClock { server in
      let client = server.connect()
      var note = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/", on: execution, timeout: 100) { exchange in
        note = exchange.store("a note")
        server.holdUp(execution)
        server.passTime(milliseconds: 100)
        #expect(client.receive() == "")
        server.passTime(milliseconds: 1)
        #expect(client.receive() == gatewayTimeout)
        #expect(client.state == .lingering)
        client.finishSending()
        #expect(client.state == .closed)
        #expect(server.context.pointee.connectionCount == 0, "nothing of it waits for the handler")
        // The memory of the connection is another client's by now.
        let other = server.connect()
        other.send(post("/none", pattern(3_000)))
        #expect(other.receive().hasPrefix("HTTP/1.1 404"))
        #expect(exchange.body == pattern(1_000))
        #expect(exchange.header("X-Field") == "value")
        #expect(Array(note) == Array("a note".utf8))
        #expect(Array(exchange.store("another")) == Array("another".utf8))
        #expect(exchange.addField("X-Late", "yes") == isOK)
        let token = exchange.retain()
        #expect(token?.status() == isGone)
        #expect(token?.release() == isOK)
        return exchange.respond(copying: pattern(50_000))
      }
      client.send(post("/", pattern(1_000), "X-Field: value"))
      server.runWorkers()
      #expect(client.receive() == "")
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(server.log == ["POST /: answered with 504 after 100 ms, the handler has not returned"])
      #expect(server.missedDeadlines("/") == 1)
    }
  }

  @Test("A body in memory of its own stays for the late handler, too", arguments: workers)
  func gatheredBody(execution: Int) throws {
    try withStoppedClock { server in
      let client = server.connect()
      server.handle("POST", "/", on: execution, timeout: 5) { exchange in
        server.passTime(milliseconds: 10)
        #expect(client.receive() == gatewayTimeout)
        client.disconnect()
        #expect(exchange.body == pattern(200_000))
        #expect(exchange.header("Transfer-Encoding") == "chunked")
        return exchange.respond()
      }
      let head = "POST / HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n"
      client.send(Array(head.utf8) + chunked(pattern(200_000), by: 3_000))
      server.runWorkers()
      #expect(client.receive() == "")
      #expect(server.context.pointee.connectionCount == 0)
    }
  }

  @Test("A handler that no worker has begun to run is not run any more", arguments: workers)
  func queued(execution: Int) throws {
    try withStoppedClock { server in
      var calls = 0
      server.handle("GET", "/", on: execution, timeout: 100) { exchange in
        calls += 1
        return exchange.respond("late")
      }
      let client = server.connect()
      client.send(get("/"))
      server.passTime(milliseconds: 101)
      #expect(client.receive() == gatewayTimeout)
      client.finishSending()
      #expect(client.state == .closed)
      #expect(server.queuedHandlers == 1, "the port still has it")
      server.runWorkers()
      #expect(calls == 0)
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(server.log == ["GET /: answered with 504 after 100 ms, the handler was not called yet"])
    }
  }

  @Test("An inline handler that waits for its turn on a busy I/O thread is not run any more")
  func queuedInline() throws {
    try withStoppedClock { server in
      var calls = 0
      server.handle("GET", "/", timeout: 100) { exchange in
        calls += 1
        // The first one keeps the thread for so long that the pass after it comes too late for the others.
        if calls == 1 { server.moveClock(milliseconds: 200) }
        return exchange.respond("in time")
      }
      let clients = (0..<300).map { _ in server.connect() }
      server.onIOThread { for client in clients { client.deliver(get("/")) } }
      server.runPasses()
      let responses = clients.map { $0.receive() }
      #expect(calls == 256, "what a pass runs at most")
      #expect(responses.filter { $0 == ok("in time") }.count == 256)
      #expect(responses.filter { $0 == gatewayTimeout }.count == 44)
      #expect(server.missedDeadlines("/") == 44)
    }
  }

  @Test("HEAD is answered without a body, and so is one by HTTP/1.0")
  func methods() throws {
    try withStoppedClock { server in
      server.handle("HEAD", "/", on: MEWS_EXECUTION_WORKER, timeout: 1) { $0.respond("late") }
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 1) { $0.respond("late") }
      let clients = [server.connect(), server.connect()]
      clients[0].send("HEAD / HTTP/1.1\r\nHost: mews\r\n\r\n")
      clients[1].send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      server.passTime(milliseconds: 2)
      #expect(clients[0].receive() == String(gatewayTimeout.prefix { $0 != "\r\n" }) + headEnd(gatewayTimeout))
      #expect(clients[1].receive() == gatewayTimeout)
      server.runWorkers()
    }
  }

  /// What follows the first line of a response's head.
  private func headEnd(_ response: String) -> String {
    guard let line = response.range(of: "\r\n"), let end = response.range(of: "\r\n\r\n") else { return "" }
    return String(response[line.lowerBound..<end.upperBound])
  }

  @Test("What the late handler fails with is neither sent nor logged", arguments: [-3, 0, 1])
  func failures(result: Int) throws {
    try withStoppedClock { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { _ in
        server.passTime(milliseconds: 101)
        return mews_result(result)
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == gatewayTimeout)
      #expect(server.log == ["GET /: answered with 504 after 100 ms, the handler has not returned"])
    }
  }

  @Test("Bytes that the late response was to be sent from are given back once")
  func lentBytes() throws {
    try withStoppedClock { server in
      let lent = LentBytes(pattern(10_000))
      var token: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        token = exchange.retain()
        server.passTime(milliseconds: 101)
        return exchange.respond(lending: lent)
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == gatewayTimeout)
      #expect(lent.releaseCount == 1, "although a token keeps the exchange")
      #expect(token?.release() == isOK)
      server.runPasses()
    }
  }

  @Test("Responses before it are sent before it, and requests behind it are thrown away", arguments: executions)
  func pipelined(execution: Int) throws {
    try withStoppedClock { server in
      var calls = 0
      server.handle("GET", "/slow", on: execution, timeout: 100) { exchange in
        server.holdUp(execution)
        server.passTime(milliseconds: 101)
        return exchange.respond("late")
      }
      server.handle("GET", "/fast", on: execution) { exchange in
        calls += 1
        return exchange.respond("fast")
      }
      let client = server.connect()
      let behind = Array(get("/fast").utf8) + post("/fast", pattern(100_000)).dropLast(10)
      client.send(Array((get("/fast") + get("/slow")).utf8) + behind)
      server.runWorkers()
      #expect(client.receive() == ok("fast") + gatewayTimeout)
      #expect(calls == 1)
      #expect(client.unread == 0, "what the client has sent is read, so that it gets the response")
      client.send(get("/fast"))
      client.finishSending()
      #expect(client.state == .closed)
      #expect(calls == 1)
    }
  }

  @Test("A client that reads nothing gets it when it reads, behind what it has not read")
  func slowClient() throws {
    try withStoppedClock { server in
      server.handle("GET", "/large") { $0.respond(copying: pattern(100_000)) }
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("late") }
      let client = server.connect()
      client.isReading = false
      client.send(get("/large") + get("/"))
      server.passTime(milliseconds: 101)
      client.isReading = true
      server.runWorkers()
      expectBytes(client.receiveBytes(), ExpectedResponse(pattern(100_000)).bytes + Array(gatewayTimeout.utf8))
      #expect(client.state == .lingering)
    }
  }

  @Test("A client that has left gets nothing, and the deadline is forgotten", arguments: executions)
  func clientGone(execution: Int) throws {
    try withStoppedClock { server in
      let client = server.connect()
      server.handle("GET", "/", on: execution, timeout: 100) { exchange in
        server.holdUp(execution)
        client.disconnect()
        server.passTime(milliseconds: 200)
        return exchange.respond("nobody")
      }
      client.send(get("/"))
      server.runWorkers()
      server.passTime(milliseconds: 200)
      #expect(client.receive() == "")
      #expect(server.context.pointee.connectionCount == 0)
      #expect(server.missedDeadlines("/") == 0)
      #expect(server.log == [])
    }
  }

  @Test("A client that only ends its side gets 504, and is then let go")
  func clientFinished() throws {
    try withStoppedClock { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("late") }
      let client = server.connect()
      client.send(get("/"))
      client.finishSending()
      server.passTime(milliseconds: 101)
      #expect(client.receive() == gatewayTimeout)
      #expect(client.state == .closed)
      server.runWorkers()
    }
  }

  @Test("A stop answers those whose time passes, and waits for their handlers")
  func drain() throws {
    try withStoppedClock { server in
      let client = server.connect()
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        server.drain()
        server.passTime(milliseconds: 101)
        #expect(client.receive() == gatewayTimeout)
        client.finishSending()
        #expect(server.context.pointee.connectionCount == 0)
        #expect(!server.hasStopped)
        return exchange.respond("late")
      }
      client.send(get("/"))
      server.runWorkers()
      #expect(server.hasStopped)
    }
  }
}

@Suite("Deadlines that are met")
struct MetDeadlineTests {
  static let executions = DeadlineTests.executions

  @Test("Nothing happens to the response, nor later to the idle connection", arguments: executions)
  func met(execution: Int) throws {
    try withStoppedClock { server in
      server.handle("GET", "/", on: execution, timeout: 100) { exchange in
        server.holdUp(execution)
        server.passTime(milliseconds: 70)
        return exchange.respond("hello")
      }
      let client = server.connect()
      for _ in 0..<5 {
        client.send(get("/"))
        server.runWorkers()
        #expect(client.receive() == ok("hello"))
      }
      server.passTime(milliseconds: 1_000)
      #expect(client.state == .open)
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == ok("hello"))
      #expect(server.log == [])
    }
  }

  @Test("A request without a deadline behind one with, and one with a shorter behind a longer, have their own")
  func changing() throws {
    try withStoppedClock { server in
      server.handle("GET", "/long", on: MEWS_EXECUTION_WORKER, timeout: 1_000) { $0.respond("long") }
      server.handle("GET", "/short", on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("short") }
      server.handle("GET", "/none", on: MEWS_EXECUTION_WORKER) { $0.respond("none") }
      let client = server.connect()
      client.send(get("/long") + get("/none"))
      server.runHandlersOfWorkers()
      server.runPasses()
      server.passTime(milliseconds: 5_000)
      server.runWorkers()
      #expect(client.receive() == ok("long") + ok("none"))
      client.send(get("/long") + get("/short"))
      server.runHandlersOfWorkers()
      server.runPasses()
      server.passTime(milliseconds: 101)
      #expect(client.receive() == ok("long") + gatewayTimeout)
      server.runWorkers()

      let other = server.connect()
      other.send(get("/short") + get("/long"))
      server.runHandlersOfWorkers()
      server.runPasses()
      server.passTime(milliseconds: 900)
      #expect(other.receive() == ok("short"))
      server.passTime(milliseconds: 101)
      #expect(other.receive() == gatewayTimeout)
      server.runWorkers()
    }
  }

  @Test("The response that an inline handler gives before it gets stuck is sent when the time is over, and no other")
  func answeredInPlace() throws {
    try withStoppedClock { server in
      let client = server.connect()
      server.handle("GET", "/", timeout: 100) { exchange in
        #expect(exchange.respond("hello") == isOK)
        server.takeOver()
        server.passTime(milliseconds: 101)
        #expect(client.receive() == ok("hello"))
        #expect(exchange.respond("again") == mews_result(MEWS_E_WRONG_STATE))
        client.send(get("/other"))
        #expect(client.receive() == ok("other"), "the connection does not wait for the handler")
        server.passTime(milliseconds: 500)
        return isOK
      }
      server.handle("GET", "/other", timeout: 100) { $0.respond("other") }
      for _ in 0..<2 {
        client.send(get("/"))
        #expect(client.receive() == "")
        #expect(client.state == .open)
      }
      #expect(server.missedDeadlines("/") == 0)
    }
  }

  @Test("Handlers of the same pass take nothing of the time of a request that is dispatched behind them")
  func behindOthers() throws {
    try withStoppedClock { server in
      let client = server.connect()
      server.handle("GET", "/") { exchange in
        server.moveClock(milliseconds: 90)
        return exchange.respond("hello")
      }
      server.handle("GET", "/worker", on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("in time") }
      client.send(get("/") + get("/worker"))
      #expect(client.receive() == ok("hello"))
      server.passTime(milliseconds: 100)
      #expect(client.receive() == "")
      server.runWorkers()
      #expect(client.receive() == ok("in time"))
    }
  }

  @Test("A response that is there in the pass in which the time is over is sent")
  func inTheSamePass() throws {
    try withStoppedClock { server in
      var taken: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("hello") }
      server.handle("GET", "/pending", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        taken = exchange.retain()
        return isPending
      }
      let client = server.connect()
      client.send(get("/") + get("/pending"))
      server.runHandlersOfWorkers()
      server.passTime(milliseconds: 101)
      #expect(client.receive() == ok("hello"))
      server.runHandlersOfWorkers()
      #expect(taken?.complete("later") == isOK)
      server.passTime(milliseconds: 101)
      #expect(client.receive() == ok("later"))
      #expect(client.state == .open)
    }
  }
}

@Suite("Pending responses that miss their deadline")
struct PendingDeadlineTests {
  static let executions = DeadlineTests.executions

  @Test("The client gets 504; tokens say so, keep the request's memory, and are spent", arguments: executions)
  func pending(execution: Int) throws {
    try withStoppedClock { server in
      var tokens: [ExchangeToken] = []
      var body = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/", on: execution, timeout: 100) { exchange in
        tokens = (0..<3).compactMap { _ in exchange.retain() }
        body = exchange.pointer.pointee.bodyView
        return isPending
      }
      let client = server.connect()
      client.send(post("/", pattern(1_000)))
      server.runWorkers()
      server.passTime(milliseconds: 101)
      #expect(client.receive() == gatewayTimeout)
      client.finishSending()
      #expect(server.context.pointee.connectionCount == 0)
      #expect(server.context.pointee.exchangeCount == 0, "a stop does not wait for it")
      #expect(tokens.map { $0.status() } == [isGone, isGone, isGone])
      #expect(tokens[0].complete("nobody") == isGone)
      #expect(tokens[1].proceed { _ in isOK } == isGone)
      #expect(Array(body) == pattern(1_000))
      #expect(tokens[2].release() == isOK)
      server.runPasses()
      #expect(server.rentedBlocks == 0)
      #expect(server.log == ["POST /: answered with 504 after 100 ms, it is pending"])
    }
  }

  @Test("A completion that comes before the handler has returned is dropped with it", arguments: executions)
  func early(execution: Int) throws {
    try withStoppedClock { server in
      let lent = LentBytes(pattern(10_000))
      server.handle("GET", "/", on: execution, timeout: 100) { exchange in
        #expect(exchange.retain()?.complete(lending: lent) == isOK)
        server.holdUp(execution)
        server.passTime(milliseconds: 101)
        return isPending
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == gatewayTimeout)
      #expect(lent.releaseCount == 1)
      #expect(server.context.pointee.exchangeCount == 0)
    }
  }

  @Test("A handler that leaves it pending too late ends it, with or without a token", arguments: [0, 1])
  func tooLate(tokens: Int) throws {
    try withStoppedClock { server in
      var taken: [ExchangeToken] = []
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        for _ in 0..<tokens { if let token = exchange.retain() { taken.append(token) } }
        server.passTime(milliseconds: 101)
        return isPending
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == gatewayTimeout)
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(taken.map { $0.complete("late") } == Array(repeating: isGone, count: tokens))
      server.runPasses()
      #expect(server.log.count == 1)
    }
  }

  @Test("A continuation that was accepted in time is called once all the same, and its response is dropped")
  func continuation() throws {
    try withStoppedClock { server in
      var taken: ExchangeToken?
      var calls = 0
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        taken = exchange.retain()
        return isPending
      }
      let client = server.connect()
      client.send(post("/", pattern(500)))
      server.runWorkers()
      let result = taken?.proceed { exchange in
        calls += 1
        #expect(exchange.body == pattern(500))
        let token = exchange.retain()
        #expect(token?.status() == isGone)
        #expect(token?.complete("late") == isGone)
        return exchange.respond("late")
      }
      #expect(result == isOK)
      server.passTime(milliseconds: 101)
      #expect(client.receive() == gatewayTimeout)
      server.runWorkers()
      #expect(calls == 1)
      #expect(client.receive() == "")
      #expect(server.context.pointee.exchangeCount == 0)
    }
  }

  @Test("The deadline is that of the request, however many handlers go on with it")
  func stages() throws {
    try withStoppedClock { server in
      var taken: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        taken = exchange.retain()
        return isPending
      }
      let client = server.connect()
      client.send(get("/"))
      for _ in 0..<3 {
        server.runWorkers()
        server.passTime(milliseconds: 30)
        #expect(client.receive() == "")
        let result = taken?.proceed { exchange in
          taken = exchange.retain()
          return isPending
        }
        #expect(result == isOK)
      }
      server.runWorkers()
      server.passTime(milliseconds: 11)
      #expect(client.receive() == gatewayTimeout)
      #expect(taken?.release() == isOK)
      server.runPasses()
    }
  }

  @Test("The release of the last token in the moment before it is no failure to be told any more")
  func stranded() throws {
    try withStoppedClock { server in
      var taken: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER, timeout: 100) { exchange in
        taken = exchange.retain()
        server.passTime(milliseconds: 101)
        return isPending
      }
      let client = server.connect()
      client.send(get("/"))
      server.runHandlersOfWorkers()
      #expect(taken?.release() == isOK)
      server.runPasses()
      #expect(client.receive() == gatewayTimeout)
      #expect(server.context.pointee.exchangeCount == 0)
    }
  }
}

@Suite("What the log hears of missed deadlines")
struct DeadlineLogTests {
  @Test("A route is named once a second at most, with how many there were in between; all are counted")
  func interval() throws {
    try withStoppedClock { server in
      for path in ["/a", "/b"] {
        server.handle("GET", path, on: MEWS_EXECUTION_WORKER, timeout: 100) { $0.respond("late") }
      }
      func miss(_ path: String, times: Int) {
        let clients = (0..<times).map { _ in server.connect() }
        for client in clients { client.send(get(path)) }
        server.passTime(milliseconds: 101)
        for client in clients { #expect(client.receive() == gatewayTimeout) }
        server.runWorkers()
      }
      let text = "answered with 504 after 100 ms, the handler was not called yet"
      miss("/a", times: 3)
      miss("/b", times: 1)
      miss("/a", times: 2)
      #expect(server.log == ["GET /a: \(text)", "GET /b: \(text)"])
      server.passTime(milliseconds: 1_000)
      miss("/a", times: 1)
      #expect(server.log.count == 3)
      #expect(server.log.last == "GET /a: \(text); so were 4 more since the last such line")
      #expect(server.missedDeadlines("/a") == 6)
      #expect(server.missedDeadlines("/b") == 1)
    }
  }
}
