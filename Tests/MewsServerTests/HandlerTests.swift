import CMews
import CMewsShims
import MewsCore
import Testing

@testable import MewsServer

@Suite("Handlers")
struct HandlerTests {
  static let executions = [MEWS_EXECUTION_INLINE, MEWS_EXECUTION_WORKER].map { Int($0) }
  static let internalError = ExpectedResponse("500 Internal Server Error\n", status: "500 Internal Server Error").text

  @Test("A handler that returns an error without a response is answered with 500 and logged", arguments: executions)
  func error(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/broken", on: execution) { exchange in
        _ = exchange.addField("X-Lost", "with the handler's other words")
        return mews_result(MEWS_E_NOT_FOUND)
      }
      let client = server.connect()
      client.send(get("/broken"))
      server.runWorkers()
      #expect(client.receive() == Self.internalError)
      #expect(server.log == ["GET /broken: the handler returned -8 (nothing by that name)"])
      #expect(client.state == .open)
    }
  }

  @Test("A handler that returns without a response is answered with 500 and logged", arguments: executions)
  func noResponse(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/silent", on: execution) { _ in mews_result(MEWS_OK) }
      let client = server.connect()
      client.send(get("/silent"))
      server.runWorkers()
      #expect(client.receive() == Self.internalError)
      #expect(server.log == ["GET /silent: the handler returned without a response"])
    }
  }

  @Test("An error after the response leaves the response as it is, and is logged", arguments: executions)
  func errorAfterResponse(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/late", on: execution) { exchange in
        _ = exchange.respond("fine")
        return mews_result(MEWS_E_FAILED)
      }
      let client = server.connect()
      client.send(get("/late"))
      server.runWorkers()
      #expect(client.receive() == ok("fine"))
      #expect(server.log == ["GET /late: the handler returned -1 (the operation failed) after its response"])
    }
  }

  @Test("A line of the log stays one line, whatever the path decodes to")
  func logInjection() throws {
    try withServer { server in
      server.handle("GET", "/a\r\nb") { _ in mews_result(MEWS_E_FAILED) }
      let client = server.connect()
      client.send(get("/a%0d%0ab"))
      #expect(server.log == ["GET /a\\r\\nb: the handler returned -1 (the operation failed)"])
    }
  }

  @Test("A second response is refused and changes nothing", arguments: executions)
  func secondResponse(execution: Int) throws {
    try withServer { server in
      var results: [mews_result] = []
      server.handle("GET", "/", on: execution) { exchange in
        results = [exchange.respond("first"), exchange.respond("second"), exchange.addField("X", "late")]
        return mews_result(MEWS_OK)
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(results == [0, mews_result(MEWS_E_WRONG_STATE), mews_result(MEWS_E_WRONG_STATE)])
      #expect(client.receive() == ok("first"))
    }
  }

  @Test("An exchange belongs to its handler's thread during the call, and to nobody afterwards", arguments: executions)
  func borrowedPointer(execution: Int) throws {
    try withServer { server in
      var inside: mews_result = 1
      var elsewhere: mews_result = 1
      var outside: mews_result = 1
      var borrowed: ExchangePointer?
      server.handle("GET", "/", on: execution) { exchange in
        borrowed = exchange.pointer
        inside = Exchange.check(exchange.pointer)
        let otherThread = { Exchange.check(exchange.pointer) }
        elsewhere = execution == MEWS_EXECUTION_INLINE ? server.onWorker(otherThread) : server.onIOThread(otherThread)
        let mine = shim_thread_context()
        shim_set_thread_context(nil)
        outside = Exchange.check(exchange.pointer)
        shim_set_thread_context(mine)
        return exchange.respond()
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(inside == mews_result(MEWS_OK))
      #expect(elsewhere == mews_result(MEWS_E_WRONG_THREAD))
      #expect(outside == mews_result(MEWS_E_WRONG_THREAD))
      let exchange = try #require(borrowed)
      #expect(server.onIOThread { Exchange.check(exchange) } == mews_result(MEWS_E_GONE))
      #expect(Exchange.check(exchange) == mews_result(MEWS_E_GONE))
    }
  }

  @Test("Every route runs on workers when the operator says so")
  func forcedWorkers() throws {
    try withServer(forcesWorkers: true) { server in
      server.handle("GET", "/", on: MEWS_EXECUTION_INLINE) { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/"))
      #expect(client.receive() == "")
      #expect(server.queuedHandlers == 1)
      server.runWorkers()
      #expect(client.receive() == ok("hello"))
    }
  }
}
