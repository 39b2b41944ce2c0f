import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Responses")
struct ResponseTests {
  static let executions = HandlerTests.executions

  @Test("Added fields are sent in their order, repetitions too", arguments: executions)
  func fields(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/", on: execution) { exchange in
        _ = exchange.addField("Set-Cookie", "a=1")
        _ = exchange.addField("Set-Cookie", "b=2")
        _ = exchange.addField("X-Empty", "")
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      let fields = "Content-Type: text/plain\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty: \r\n"
      #expect(client.receive() == ExpectedResponse("hello", fields: fields).text)
    }
  }

  @Test("Fields that are the server's own, and those that would split the response, are refused and not sent")
  func refusedFields() throws {
    try withServer { server in
      let refused = [
        ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("CONNECTION", "close"), ("Date", "today"),
        ("Server", "other"), ("", "value"), ("X Y", "value"), ("X:", "value"), ("X\r\nY", "value"),
        ("X", "value\r\nY: injected"), ("X", "value\nY: injected"), ("X", "nul\u{0}"),
      ]
      var results: [mews_result] = []
      server.handle("GET", "/") { exchange in
        results = refused.map { exchange.addField($0.0, $0.1) }
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/"))
      #expect(results == refused.map { _ in mews_result(MEWS_E_INVALID_ARGUMENT) })
      #expect(client.receive() == ok("hello"))
    }
  }

  @Test("A content type that would split the response, and a status that is none, are refused")
  func refusedResponses() throws {
    try withServer { server in
      var results: [mews_result] = []
      server.handle("GET", "/") { exchange in
        results.append(exchange.respond("x", type: "text/plain\r\nX: injected"))
        for status: UInt32 in [0, 100, 101, 199, 600, .max] { results.append(exchange.respond("x", status: status)) }
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/"))
      #expect(results == [mews_result](repeating: mews_result(MEWS_E_INVALID_ARGUMENT), count: 7))
      #expect(client.receive() == ok("hello"))
    }
  }

  @Test("Added fields have room for 16 KiB and not for more", arguments: executions)
  func fieldLimit(execution: Int) throws {
    try withServer { server in
      // With ": " and the line end: 64 fields of 256 bytes are the limit.
      let value = String(repeating: "v", count: 256 - 4 - "X-Number".utf8.count)
      var results: [mews_result] = []
      var largest: [mews_result] = []
      server.handle("GET", "/many", on: execution) { exchange in
        results = (0..<65).map { _ in exchange.addField("X-Number", value) }
        return exchange.respond("hello")
      }
      server.handle("GET", "/one", on: execution) { exchange in
        let size = ResponseFields.limit - "X: \r\n".utf8.count
        largest = [size + 1, size].map { exchange.addField("X", String(repeating: "v", count: $0)) }
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/many") + get("/one"))
      server.runWorkers()
      #expect(results == [mews_result](repeating: 0, count: 64) + [mews_result(MEWS_E_LIMIT)])
      #expect(largest == [mews_result(MEWS_E_LIMIT), 0])
      let type = "Content-Type: text/plain\r\n"
      let many = String(repeating: "X-Number: \(value)\r\n", count: 64)
      let one = "X: " + String(repeating: "v", count: ResponseFields.limit - "X: \r\n".utf8.count) + "\r\n"
      #expect(
        client.receive()
          == ExpectedResponse("hello", fields: type + many).text + ExpectedResponse("hello", fields: type + one).text)
    }
  }

  @Test("A response without a content type has none, and 204 and 304 have neither body nor length")
  func withoutBody() throws {
    try withServer { server in
      server.handle("GET", "/untyped") { $0.respond("hello", type: nil) }
      server.handle("GET", "/204") { $0.respond("ignored", status: 204, type: nil) }
      server.handle("GET", "/304") { $0.respond("ignored", status: 304, type: nil) }
      let client = server.connect()
      client.send(get("/untyped") + get("/204") + get("/304"))
      var noContent = ExpectedResponse("", status: "204 No Content", fields: "")
      noContent.contentLength = nil
      var notModified = ExpectedResponse("", status: "304 Not Modified", fields: "")
      notModified.contentLength = nil
      #expect(client.receive() == ExpectedResponse("hello", fields: "").text + noContent.text + notModified.text)
    }
  }

  @Test(
    "A copied body of any size is sent whole, and may be changed once the call has returned",
    arguments: [0, 1, 3_000, 3_750, 3_800, 4_096, 5_000, 65_536, 3_000_000], executions)
  func copiedBodies(size: Int, execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/", on: execution) { exchange in
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 1)
        defer { bytes.deallocate() }
        bytes.copyBytes(from: pattern(size))
        let result = Exchange.respond(
          exchange.pointer, status: 200, contentType: nil, contentTypeCount: 0,
          body: ResponseBody(copying: bytes.baseAddress, count: size))
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        return result
      }
      let client = server.connect()
      client.send(get("/") + get("/"))
      server.runWorkers()
      let response = ExpectedResponse(pattern(size), fields: "").bytes
      expectBytes(client.receiveBytes(), response + response)
    }
  }
}

@Suite("Responses that are not read")
struct UnreadResponseTests {
  static let executions = HandlerTests.executions

  @Test("Above the threshold of unsent output the next request waits until it is sent", arguments: executions)
  func nextRequestWaits(execution: Int) throws {
    try withServer { server in
      var handled = 0
      server.handle("GET", "/", on: execution) { exchange in
        handled += 1
        return exchange.respond(String(repeating: "x", count: 600_000))
      }
      let client = server.connect()
      client.isReading = false
      client.send(String(repeating: get("/"), count: 5))
      server.runWorkers()
      #expect(handled == 2)
      client.isReading = true
      server.runWorkers()
      #expect(handled == 5)
      #expect(client.receiveBytes().count > 5 * 600_000)
    }
  }

  @Test("A client that has closed its side gets the responses to all it has sent", arguments: executions)
  func halfClosed(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/", on: execution) { $0.respond(String(repeating: "x", count: 600_000)) }
      let client = server.connect()
      client.isReading = false
      client.send(String(repeating: get("/"), count: 5) + "GET / HT")
      client.finishSending()
      server.runWorkers()
      client.isReading = true
      server.runWorkers()
      #expect(client.receiveBytes().count > 5 * 600_000)
      #expect(client.state == .closed)
    }
  }
}

@Suite("Response bodies by reference")
struct LentBodyTests {
  static let executions = HandlerTests.executions

  @Test("It is sent from where it lies and released once, when it is out", arguments: executions)
  func sent(execution: Int) throws {
    try withServer { server in
      let lent = LentBytes(pattern(100_000))
      server.handle("GET", "/", on: execution) { $0.respond(lending: lent) }
      let client = server.connect()
      client.isReading = false
      client.send(get("/"))
      server.runWorkers()
      #expect(lent.releaseCount == 0)
      #expect(server.pool.statistics.external == 1)
      client.isReading = true
      server.runPasses()
      #expect(lent.releaseCount == 1)
      expectBytes(client.receiveBytes(), ExpectedResponse(pattern(100_000)).bytes)
    }
  }

  @Test("It is released at once when it is not sent: HEAD, no content, nothing in it", arguments: executions)
  func notSent(execution: Int) throws {
    try withServer { server in
      let forHead = LentBytes(pattern(10))
      let forNoContent = LentBytes(pattern(10))
      let empty = LentBytes([])
      var counts: [Int] = []
      server.handle("HEAD", "/head", on: execution) { exchange in
        defer { counts.append(forHead.releaseCount) }
        return exchange.respond(lending: forHead)
      }
      server.handle("GET", "/204", on: execution) { $0.respond(lending: forNoContent, status: 204) }
      server.handle("GET", "/empty", on: execution) { $0.respond(lending: empty) }
      let client = server.connect()
      client.send("HEAD /head HTTP/1.1\r\nHost: mews\r\n\r\n" + get("/204") + get("/empty"))
      server.runWorkers()
      #expect(counts == [1])
      #expect([forHead, forNoContent, empty].map(\.releaseCount) == [1, 1, 1])
      var head = ExpectedResponse(pattern(10))
      head.body = []
      #expect(client.receive().hasPrefix(head.text))
    }
  }

  @Test("It is released once when the response is refused")
  func refused() throws {
    try withServer { server in
      let lent = (0..<3).map { _ in LentBytes(pattern(10)) }
      server.handle("GET", "/") { exchange in
        #expect(exchange.respond(lending: lent[0], status: 99) == mews_result(MEWS_E_INVALID_ARGUMENT))
        #expect(exchange.respond(lending: lent[1], type: "a\nb") == mews_result(MEWS_E_INVALID_ARGUMENT))
        #expect(exchange.respond("hello") == mews_result(MEWS_OK))
        #expect(exchange.respond(lending: lent[2]) == mews_result(MEWS_E_WRONG_STATE))
        return mews_result(MEWS_OK)
      }
      let client = server.connect()
      client.send(get("/"))
      #expect(client.receive() == ok("hello"))
      #expect(lent.map(\.releaseCount) == [1, 1, 1])
    }
  }

  @Test("It is released once when the pool has no memory for the head")
  func noMemory() throws {
    var limits = ServerLimits()
    limits.poolBytes = 256 * BlockPool.blockSize
    try withServer(limits: limits) { server in
      let lent = LentBytes(pattern(10))
      var result: mews_result = 0
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        // All the blocks that are left.
        let cache = exchange.pointer.pointee.cache
        var blocks: [BlockPointer] = []
        while let block = cache.rent() { blocks.append(block) }
        result = exchange.respond(lending: lent)
        for block in blocks { cache.release(block) }
        return result
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(result == mews_result(MEWS_E_NO_MEMORY))
      #expect(lent.releaseCount == 1)
      #expect(client.receive() == HandlerTests.internalError)
    }
  }

  @Test("It is released once when the client leaves before it is sent", arguments: executions)
  func clientGone(execution: Int) throws {
    try withServer { server in
      let lent = LentBytes(pattern(10_000))
      server.handle("GET", "/", on: execution) { $0.respond(lending: lent) }
      let client = server.connect()
      client.isReading = false
      client.send(get("/"))
      server.runWorkers()
      #expect(lent.releaseCount == 0)
      client.disconnect()
      #expect(lent.releaseCount == 1)
    }
  }

  @Test("It is released once when the client leaves while the handler runs")
  func clientGoneMeanwhile() throws {
    try withServer { server in
      let lent = LentBytes(pattern(10_000))
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { $0.respond(lending: lent) }
      let client = server.connect()
      client.send(get("/"))
      client.disconnect()
      server.runWorkers()
      #expect(lent.releaseCount == 1)
      #expect(client.receive() == "")
    }
  }
}
