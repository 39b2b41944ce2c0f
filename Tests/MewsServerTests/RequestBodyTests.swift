import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Request bodies")
struct RequestBodyTests {
  /// A server that sends bodies back.
  private func withEcho(limits: ServerLimits = ServerLimits(), _ body: (InMemoryServer) throws -> Void) throws {
    try withServer(limits: limits) { server in
      server.handle("POST", "/echo") { $0.respond(copying: $0.body) }
      server.handle("GET", "/next") { $0.respond("next") }
      try body(server)
    }
  }

  @Test(
    "A body of any size arrives whole, in any pieces, and the next request follows it",
    arguments: [1, 100, 3_900, 4_000, 4_096, 5_000, 32_768, 65_536, 100_000, 300_000], [1_000_000, 4_096, 1_460, 777])
  func sizes(size: Int, piece: Int) throws {
    try withEcho { server in
      let body = pattern(size)
      let client = server.connect()
      client.largestRead = piece
      client.send(post("/echo", body) + Array(get("/next").utf8))
      expectBytes(client.receiveBytes(), ExpectedResponse(body).bytes + Array(ok("next").utf8))
    }
  }

  @Test("A body behind a head that fills its block is brought together with it")
  func headFillsBlock() throws {
    try withEcho { server in
      for filling in stride(from: 3_700, through: 4_200, by: 7) {
        let client = server.connect()
        let field = "X-Filling: " + String(repeating: "x", count: filling)
        let body = pattern(300)
        client.send(post("/echo", body, field) + Array(get("/next").utf8))
        expectBytes(client.receiveBytes(), ExpectedResponse(body).bytes + Array(ok("next").utf8), "\(filling)")
        client.disconnect()
      }
    }
  }

  @Test(
    "A chunked body arrives without its framing, in any pieces",
    arguments: [0, 1, 5_000, 100_000], [1_000_000, 1_460, 13])
  func chunkedBodies(size: Int, piece: Int) throws {
    try withEcho { server in
      let body = pattern(size)
      let client = server.connect()
      client.largestRead = piece
      let head = "POST /echo HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n"
      client.send(Array(head.utf8) + chunked(body, by: 999) + Array(get("/next").utf8))
      expectBytes(client.receiveBytes(), ExpectedResponse(body).bytes + Array(ok("next").utf8))
    }
  }

  @Test("A client that waits for 100 Continue gets it before it sends the body")
  func continues() throws {
    try withEcho { server in
      let client = server.connect()
      let body = Array("body".utf8)
      let request = post("/echo", body, "Expect: 100-continue")
      client.send(Array(request.dropLast(body.count)))
      #expect(client.receive() == "HTTP/1.1 100 Continue\r\n\r\n")
      client.send(body)
      #expect(client.receive() == ok("body"))
    }
  }

  @Test("A client that did not wait, or that speaks HTTP/1.0, gets no 100 Continue")
  func continuesNot() throws {
    try withEcho { server in
      let client = server.connect()
      client.send(post("/echo", Array("body".utf8), "Expect: 100-continue"))
      #expect(client.receive() == ok("body"))
      client.send("POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
      #expect(client.receive() == "")
      client.send("x")
      #expect(client.receive() == okAndClose("x"))
    }
  }

  @Test("A body above the limit is refused by its announced length, without 100 Continue")
  func announcedTooLarge() throws {
    var limits = ServerLimits()
    limits.bodyBytes = 1_000
    try withEcho(limits: limits) { server in
      let accepted = server.connect()
      accepted.send(post("/echo", pattern(1_000)))
      expectBytes(accepted.receiveBytes(), ExpectedResponse(pattern(1_000)).bytes)
      let client = server.connect()
      client.send("POST /echo HTTP/1.1\r\nHost: mews\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
      #expect(client.receive() == refusal("413 Content Too Large", "the body is larger than the server takes"))
      #expect(client.state == .lingering)
    }
  }

  @Test("A chunked body is refused as soon as it is above the limit", arguments: [1_000_000, 1_460, 13])
  func chunkedTooLarge(piece: Int) throws {
    var limits = ServerLimits()
    limits.bodyBytes = 20_000
    try withEcho(limits: limits) { server in
      let head = Array("POST /echo HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
      let accepted = server.connect()
      accepted.largestRead = piece
      accepted.send(head + chunked(pattern(20_000), by: 999))
      expectBytes(accepted.receiveBytes(), ExpectedResponse(pattern(20_000)).bytes)
      let client = server.connect()
      client.largestRead = piece
      // Without an end: the limit is what ends it.
      client.send(head + chunked(pattern(20_001), by: 999).dropLast(5))
      #expect(client.receive() == refusal("413 Content Too Large", "the body is larger than the server takes"))
      #expect(client.state == .lingering)
    }
  }

  @Test("A limit on bodies that no body can reach is no limit")
  func noLimit() throws {
    var limits = ServerLimits()
    limits.bodyBytes = .max
    try withEcho(limits: limits) { server in
      let client = server.connect()
      let head = "POST /echo HTTP/1.1\r\nHost: mews\r\nTransfer-Encoding: chunked\r\n\r\n"
      client.send(post("/echo", pattern(50_000)) + Array(head.utf8) + chunked(pattern(50_000), by: 999))
      let response = ExpectedResponse(pattern(50_000)).bytes
      expectBytes(client.receiveBytes(), response + response)
    }
  }

  @Test("When the pool has no memory for a response the client gets 500, and the connection goes on")
  func noMemoryForResponse() throws {
    var limits = ServerLimits()
    limits.poolBytes = (256 + 64) * BlockPool.blockSize
    try withEcho(limits: limits) { server in
      let client = server.connect()
      client.send(post("/echo", pattern(2_000_000)) + Array(get("/next").utf8))
      let error = ExpectedResponse("500 Internal Server Error\n", status: "500 Internal Server Error").text
      #expect(client.receive() == error + ok("next"))
      #expect(server.log == ["POST /echo: the handler returned -3 (memory is exhausted)"])
    }
  }

  @Test("When the pool has no memory for a request its connection is closed, and the others go on")
  func noMemoryForRequest() throws {
    var limits = ServerLimits()
    limits.poolBytes = 256 * BlockPool.blockSize
    try withEcho(limits: limits) { server in
      let other = server.connect()
      other.send(get("/next"))
      let client = server.connect()
      client.send(post("/echo", pattern(2_000_000)))
      #expect(client.state == .closed)
      other.send(get("/next"))
      #expect(other.receive() == ok("next") + ok("next"))
    }
  }
}
