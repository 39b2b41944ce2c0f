import CMews
import MewsCore
import Testing

@testable import MewsServer

private let isOK = mews_result(MEWS_OK)
private let isPending = mews_result(MEWS_PENDING)
private let isGone = mews_result(MEWS_E_GONE)
private let isWrongState = mews_result(MEWS_E_WRONG_STATE)
private let isInvalid = mews_result(MEWS_E_INVALID_ARGUMENT)

extension InMemoryServer {
  /// A route whose handler takes tokens, hands them to the test, and leaves the response pending.
  func leavePending(
    _ method: String = "GET", _ path: String = "/", on execution: Int, tokens: Int = 1,
    _ take: @escaping (ExchangeToken) -> Void
  ) {
    handle(method, path, on: execution) { exchange in
      for _ in 0..<tokens {
        guard let token = exchange.retain() else { return mews_result(MEWS_E_FAILED) }
        take(token)
      }
      return isPending
    }
  }
}

@Suite("Pending responses")
struct PendingTests {
  static let executions = HandlerTests.executions
  private static let internalError = HandlerTests.internalError

  @Test("It is sent when it is completed, and the next request of the connection comes after it", arguments: executions)
  func completion(execution: Int) throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: execution) { taken = $0 }
      server.handle("GET", "/next") { $0.respond("next") }
      let client = server.connect()
      client.send(get("/") + get("/next"))
      server.runWorkers()
      #expect(client.receive() == "")
      #expect(client.connection.pointee.phase == .running)
      let token = try #require(taken)
      #expect(token.status() == isOK)

      #expect(token.complete("later") == isOK)
      #expect(token.complete("once more") == isGone, "the completion has spent the token")
      server.runPasses()
      #expect(client.receive() == ok("later") + ok("next"))
      #expect(token.status() == isGone)
      #expect(token.complete("too late") == isGone)
      #expect(token.release() == isGone)
      #expect(server.log == [])
    }
  }

  @Test("A completion that comes before the handler has returned is held back until it has", arguments: executions)
  func completionInside(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/", on: execution) { exchange in
        #expect(exchange.retain()?.complete("early") == isOK)
        return isPending
      }
      let client = server.connect()
      client.send(get("/") + get("/"))
      server.runWorkers()
      #expect(client.receive() == ok("early") + ok("early"))
    }
  }

  @Test("Only the first completion of several counts; the others are told", arguments: executions)
  func severalCompletions(execution: Int) throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.leavePending(on: execution, tokens: 3) { tokens.append($0) }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(tokens[0].complete("first") == isOK)
      #expect(tokens[1].complete("second") == isWrongState)
      #expect(tokens[1].proceed { $0.respond("third") } == isWrongState)
      server.runWorkers()
      #expect(client.receive() == ok("first"))
      #expect(tokens[1].complete("fourth") == isGone)
      #expect(tokens[2].release() == isOK)
      #expect(tokens[2].release() == isGone, "a refused completion leaves the token, a late one spends it")
      server.runPasses()
    }
  }

  @Test(
    "A body of any size arrives, copied",
    arguments: [0, 1, 2_047, 2_048, 2_049, 4_096, 100_000])
  func bodies(size: Int) throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: MEWS_EXECUTION_WORKER) { taken = $0 }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(taken?.complete(copying: pattern(size), type: nil) == isOK)
      server.runPasses()
      expectBytes(client.receiveBytes(), ExpectedResponse(pattern(size), fields: "").bytes)
    }
  }

  @Test("Fields that the handler added are sent; HEAD has no body; the last response of a connection closes it")
  func heads() throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.handle("HEAD", "/") { exchange in
        _ = exchange.addField("X-Field", "value")
        taken = exchange.retain()
        return isPending
      }
      let client = server.connect()
      client.send("HEAD / HTTP/1.1\r\nHost: mews\r\nConnection: close\r\n\r\n")
      #expect(taken?.complete(copying: pattern(5_000), status: 404, type: "a/b") == isOK)
      server.runPasses()
      var response = ExpectedResponse(
        pattern(5_000), status: "404 Not Found",
        fields: "Connection: close\r\nContent-Type: a/b\r\nX-Field: value\r\n")
      response.body = []
      #expect(client.receive() == response.text)
      #expect(client.state == .lingering)
    }
  }

  @Test("What is no response is refused, and leaves the token")
  func invalid() throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: MEWS_EXECUTION_INLINE) { taken = $0 }
      let client = server.connect()
      client.send(get("/"))
      let token = try #require(taken)
      let lent = LentBytes([1, 2, 3])
      #expect(token.complete("x", status: 199) == isInvalid)
      #expect(token.complete("x", status: 600) == isInvalid)
      #expect(token.complete("x", type: "a/b\r\nX-Split: 1") == isInvalid)
      #expect(token.complete(lending: lent, status: 0) == isInvalid)
      #expect(lent.releaseCount == 1)
      #expect(token.complete("valid") == isOK)
      server.runPasses()
      #expect(client.receive() == ok("valid"))
    }
  }

  @Test("A handler that leaves nobody to complete its response is answered with 500 and logged", arguments: executions)
  func noToken(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/none", on: execution) { _ in isPending }
      server.handle("GET", "/released", on: execution) { exchange in
        _ = exchange.retain()?.release()
        return isPending
      }
      let client = server.connect()
      client.send(get("/none") + get("/released"))
      server.runWorkers()
      #expect(client.receive() == Self.internalError + Self.internalError)
      #expect(server.log.first == "GET /none: the handler returned MEWS_PENDING without a token")
      #expect(server.log.last == "GET /released: the handler returned MEWS_PENDING without a token")
    }
  }

  @Test(
    "When the last token is released without a completion the client gets 500, and it is logged", arguments: executions)
  func released(execution: Int) throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.leavePending("GET", "/dropped", on: execution, tokens: 2) { tokens.append($0) }
      let client = server.connect()
      client.send(get("/dropped") + get("/dropped"))
      for _ in 0..<2 {
        server.runWorkers()
        #expect(tokens[0].release() == isOK)
        server.runWorkers()
        #expect(client.receive() == "")
        #expect(tokens[1].release() == isOK)
        #expect(tokens[1].complete("too late") == isGone)
        tokens = []
        server.runWorkers()
        #expect(client.receive() == Self.internalError)
      }
      let line = "GET /dropped: it is pending, and every token was released"
      #expect(server.log == [line, line])
    }
  }

  @Test("The response of a handler that returns MEWS_PENDING after it counts", arguments: executions)
  func respondedAndPending(execution: Int) throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      var calls = 0
      server.handle("GET", "/", on: execution) { exchange in
        tokens = [exchange.retain(), exchange.retain()].compactMap { $0 }
        return exchange.respond("own") < 0 ? mews_result(MEWS_E_FAILED) : isPending
      }
      server.handle("GET", "/completed", on: execution) { exchange in
        #expect(exchange.retain()?.complete("dropped") == isOK)
        return exchange.respond("own")
      }
      server.handle("GET", "/continued", on: execution) { exchange in
        let result = exchange.retain()?.proceed { exchange in
          calls += 1
          #expect(exchange.path == "/continued")
          #expect(exchange.respond("second") == isWrongState)
          return isPending
        }
        #expect(result == isOK)
        return exchange.respond("own")
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == ok("own"))
      #expect(tokens[0].complete("late") == isGone)
      #expect(tokens[1].proceed { _ in isOK } == isGone)
      client.send(get("/completed") + get("/continued"))
      server.runWorkers()
      #expect(client.receive() == ok("own") + ok("own"))
      #expect(calls == 1, "what was accepted is called, although it comes too late")
      #expect(server.log == [])
    }
  }

  @Test(
    "A completion that is accepted before the handler fails is dropped, and its bytes are released",
    arguments: executions)
  func failedAfterCompletion(execution: Int) throws {
    try withServer { server in
      let lent = LentBytes(pattern(10_000))
      var kept: ExchangeToken?
      server.handle("GET", "/", on: execution) { exchange in
        kept = exchange.retain()
        #expect(exchange.retain()?.complete(lending: lent) == isOK)
        return mews_result(MEWS_E_FAILED)
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == Self.internalError)
      // The end of the exchange sends what was held back to the mailbox.
      server.runPasses()
      #expect(lent.releaseCount == 1)
      #expect(kept?.status() == isGone)
      #expect(kept?.release() == isOK)
      server.runPasses()
    }
  }
}

@Suite("Pending responses by reference")
struct LentCompletionTests {
  @Test("The bytes are released once: when they are sent, and when they are not")
  func releases() throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.leavePending("GET", "/", on: MEWS_EXECUTION_WORKER, tokens: 2) { tokens.append($0) }
      server.leavePending("HEAD", "/", on: MEWS_EXECUTION_WORKER, tokens: 2) { tokens.append($0) }
      for method in ["GET", "HEAD"] {
        let client = server.connect()
        client.send(get("/").replacing("GET", with: method))
        server.runWorkers()
        let sent = LentBytes(pattern(10_000))
        let refused = LentBytes(pattern(10))
        let late = LentBytes(pattern(10))
        #expect(tokens[0].complete(lending: sent) == isOK)
        #expect(sent.releaseCount == 0)
        #expect(tokens[1].complete(lending: refused) == isWrongState)
        #expect(refused.releaseCount == 1)
        server.runPasses()
        #expect(sent.releaseCount == 1)
        #expect(tokens[1].complete(lending: late) == isGone)
        #expect(late.releaseCount == 1)
        var response = ExpectedResponse(pattern(10_000))
        if method == "HEAD" { response.body = [] }
        expectBytes(client.receiveBytes(), response.bytes)
        tokens = []
      }
      server.runPasses()
    }
  }

  @Test("The bytes are released once when the client leaves before the I/O thread has them")
  func clientGone() throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: MEWS_EXECUTION_WORKER) { taken = $0 }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      let lent = LentBytes(pattern(10_000))
      #expect(taken?.complete(lending: lent) == isOK)
      #expect(lent.releaseCount == 0)
      client.disconnect()
      #expect(lent.releaseCount == 1)
      #expect(server.context.pointee.connectionCount == 0)
    }
  }
}

@Suite("Clients that leave pending requests")
struct AbandonedRequestTests {
  static let executions = HandlerTests.executions

  @Test(
    "The exchange is over at once; tokens say so, keep its memory, and are spent by a completion", arguments: executions
  )
  func clientGone(execution: Int) throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      var body = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/", on: execution) { exchange in
        tokens = (0..<3).compactMap { _ in exchange.retain() }
        body = exchange.pointer.pointee.bodyView
        return isPending
      }
      let client = server.connect()
      client.send(post("/", pattern(1_000)))
      server.runWorkers()
      client.disconnect()
      #expect(server.context.pointee.connectionCount == 0)
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(tokens.map { $0.status() } == [isGone, isGone, isGone])
      #expect(Array(body) == pattern(1_000))
      #expect(tokens[0].complete("nobody") == isGone)
      #expect(tokens[1].proceed { _ in isOK } == isGone)
      #expect(server.queuedHandlers == 0)
      #expect(Array(body) == pattern(1_000))
      #expect(server.rentedBlocks > 0)
      #expect(tokens[2].release() == isOK)
      #expect(tokens[2].release() == isGone)
      server.runPasses()
      #expect(server.rentedBlocks == 0)
      #expect(server.log == [])
    }
  }

  @Test("A client that leaves while the handler runs is known to its token, and MEWS_PENDING then ends the exchange")
  func goneBeforePending() throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        taken = exchange.retain()
        #expect(taken?.status() == isGone)
        return isPending
      }
      let client = server.connect()
      client.send(get("/"))
      client.disconnect()
      server.runWorkers()
      #expect(server.context.pointee.connectionCount == 0)
      #expect(taken?.complete("nobody") == isGone)
      server.runPasses()
      #expect(server.log == [])
    }
  }

  @Test("What was accepted before the client left is dealt with: a response dropped, a continuation called once")
  func goneAfterAcceptance() throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      var calls = 0
      server.leavePending(on: MEWS_EXECUTION_WORKER, tokens: 2) { tokens.append($0) }
      for number in 0..<2 {
        tokens = []
        let client = server.connect()
        client.send(get("/"))
        server.runWorkers()
        let result =
          number == 0
          ? tokens[0].complete(copying: pattern(5_000))
          : tokens[0].proceed { exchange in
            calls += 1
            return exchange.respond(copying: pattern(5_000))
          }
        #expect(result == isOK)
        client.disconnect()
        #expect(tokens[1].status() == isGone)
        #expect(tokens[1].complete("nobody") == isGone)
        server.runWorkers()
        #expect(client.receive() == "")
        #expect(server.context.pointee.connectionCount == 0)
      }
      #expect(calls == 1)
      #expect(server.rentedBlocks == 0)
    }
  }

  @Test("A client that only ends its side is answered, and then let go")
  func clientFinished() throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: MEWS_EXECUTION_INLINE) { taken = $0 }
      let client = server.connect()
      client.send(get("/"))
      client.finishSending()
      #expect(taken?.complete("hello") == isOK)
      server.runPasses()
      #expect(client.receive() == ok("hello"))
      #expect(client.state == .closed)
    }
  }
}

@Suite("Continued requests")
struct ContinuationTests {
  static let executions = HandlerTests.executions

  @Test(
    "A worker goes on with request, arena and fields, and may leave the response pending again", arguments: executions)
  func stages(execution: Int) throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      var note = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/", on: execution) { exchange in
        _ = exchange.addField("X-Stage", "1")
        note = exchange.store("a note")
        tokens = [exchange.retain(), exchange.retain()].compactMap { $0 }
        return isPending
      }
      let client = server.connect()
      client.send(post("/", pattern(300), "X-Field: value"))
      server.runWorkers()
      let first = tokens[0].proceed { exchange in
        #expect(exchange.addField("X-Stage", "2") == isOK)
        #expect(exchange.body == pattern(300))
        return isPending
      }
      #expect(first == isOK)
      #expect(client.connection.pointee.phase == .running)
      #expect(server.queuedHandlers == 1)
      server.runWorkers()
      #expect(client.receive() == "")
      let second = tokens[1].proceed { exchange in
        #expect(exchange.header("X-Field") == "value")
        #expect(Array(note) == Array("a note".utf8))
        guard let fresh = exchange.retain() else { return mews_result(MEWS_E_FAILED) }
        #expect(fresh.complete("third stage") == isOK)
        return isPending
      }
      #expect(second == isOK)
      server.runWorkers()
      let fields = "Content-Type: text/plain\r\nX-Stage: 1\r\nX-Stage: 2\r\n"
      #expect(client.receive() == ExpectedResponse("third stage", fields: fields).text)
    }
  }

  @Test("A continuation that fails, or leaves nobody to go on, is answered with 500 and logged", arguments: executions)
  func failures(execution: Int) throws {
    try withServer { server in
      var taken: ExchangeToken?
      server.leavePending(on: execution) { taken = $0 }
      let client = server.connect()
      for result in [mews_result(MEWS_E_NOT_FOUND), isOK, isPending] {
        client.send(get("/"))
        server.runWorkers()
        #expect(taken?.proceed { _ in result } == isOK)
        server.runWorkers()
        #expect(client.receive() == HandlerTests.internalError)
      }
      #expect(
        server.log == [
          "GET /: the handler returned -8 (nothing by that name)", "GET /: the handler returned without a response",
          "GET /: the handler returned MEWS_PENDING without a token",
        ])
    }
  }

  @Test("A continuation belongs to its thread during the call, and to nobody before and afterwards")
  func threads() throws {
    try withServer { server in
      var taken: ExchangeToken?
      var pointer: ExchangePointer?
      server.leavePending(on: MEWS_EXECUTION_INLINE) { taken = $0 }
      let client = server.connect()
      client.send(get("/"))
      let result = taken?.proceed { exchange in
        pointer = exchange.pointer
        #expect(Exchange.check(exchange.pointer) == isOK)
        return exchange.respond("hello")
      }
      #expect(result == isOK)
      server.runWorkers()
      let exchange = try #require(pointer)
      #expect(Exchange.check(exchange) == isGone)
      #expect(client.receive() == ok("hello"))
    }
  }
}

@Suite("Draining with pending requests")
struct PendingDrainTests {
  @Test("A drain waits for them; each is answered, its connection closed, and the thread ends after the last")
  func waits() throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.leavePending(on: MEWS_EXECUTION_WORKER) { tokens.append($0) }
      let clients = (0..<2).map { _ in server.connect() }
      for client in clients { client.send(get("/")) }
      server.runWorkers()
      server.drain()
      #expect(!server.hasStopped)
      #expect(tokens.map { $0.status() } == [isOK, isOK])
      #expect(tokens[0].complete("copied") == isOK)
      #expect(tokens[1].proceed { $0.respond("continued") } == isOK)
      server.runWorkers()
      #expect(Set(clients.map { $0.receive() }) == [okAndClose("copied"), okAndClose("continued")])
      for client in clients { client.finishSending() }
      #expect(server.hasStopped)
    }
  }

  @Test("Those that are left at the end of the drain timeout are cut off, and their tokens say so")
  func cutOff() throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.leavePending(on: MEWS_EXECUTION_WORKER) { tokens.append($0) }
      let clients = (0..<2).map { _ in server.connect() }
      for client in clients { client.send(get("/")) }
      server.runWorkers()
      server.drain()
      server.abort()
      #expect(clients.allSatisfy { $0.state == .closed })
      #expect(server.hasStopped)
      #expect(tokens[0].complete("too late") == isGone)
      #expect(tokens[1].release() == isOK)
      server.runPasses()
    }
  }

  @Test("A token that is used when its server is gone does no harm")
  func serverGone() throws {
    var tokens: [ExchangeToken] = []
    let server = try InMemoryServer()
    server.leavePending(on: MEWS_EXECUTION_INLINE, tokens: 2) { tokens.append($0) }
    let client = server.connect()
    client.send(get("/"))
    client.disconnect()
    #expect(tokens[0].release() == isOK)
    #expect(tokens[1].complete("nobody") == isGone)
    server.runPasses()
    server.finish()
    #expect(tokens[0].complete("nobody") == isGone)
    #expect(tokens[1].proceed { _ in isOK } == isGone)
    #expect(tokens[1].status() == isGone)
  }
}
