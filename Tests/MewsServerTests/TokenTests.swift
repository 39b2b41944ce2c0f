import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Tokens")
struct TokenTests {
  static let executions = HandlerTests.executions
  private static let gone = mews_result(MEWS_E_GONE)

  @Test("A token is open until the exchange is over, and can be released once", arguments: executions)
  func status(execution: Int) throws {
    try withServer { server in
      var taken: ExchangeToken?
      var inside: mews_result = 1
      server.handle("GET", "/", on: execution) { exchange in
        taken = exchange.retain()
        inside = taken?.status() ?? 1
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == ok("hello"))
      let token = try #require(taken)
      #expect(inside == mews_result(MEWS_OK))
      #expect(token.rawValue != 0)
      #expect(token.status() == Self.gone)
      #expect(token.release() == mews_result(MEWS_OK))
      #expect(token.release() == Self.gone)
      server.runPasses()
      #expect(token.status() == Self.gone)
      #expect(token.release() == Self.gone)
    }
  }

  @Test("A token keeps arena and request as they are while other requests use the connection", arguments: executions)
  func pinning(execution: Int) throws {
    try withServer { server in
      var taken: ExchangeToken?
      var note = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      var body = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      var field = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/keep", on: execution) { exchange in
        taken = exchange.retain()
        note = exchange.store("a note in the arena")
        body = exchange.pointer.pointee.bodyView
        field = exchange.pointer.pointee.headerValue("X-Field", number: 0)
        return exchange.respond("kept")
      }
      server.handle("POST", "/other", on: execution) { $0.respond(copying: $0.body) }
      for size in [10, 3_000, 50_000] {
        let client = server.connect()
        client.send(post("/keep", pattern(size), "X-Field: value"))
        server.runWorkers()
        for _ in 0..<20 { client.send(post("/other", [UInt8](repeating: 0xff, count: 3_000))) }
        server.runWorkers()
        client.disconnect()
        #expect(Array(note) == Array("a note in the arena".utf8))
        #expect(Array(body) == pattern(size))
        #expect(Array(field) == Array("value".utf8))
        #expect(server.rentedBlocks > 0)
        #expect(taken?.release() == mews_result(MEWS_OK))
        server.runPasses()
        #expect(server.rentedBlocks == 0)
      }
    }
  }

  @Test("The slot of an exchange is used again once its last token is released, under another generation")
  func reuse() throws {
    try withServer { server in
      var tokens: [ExchangeToken] = []
      server.handle("GET", "/") { exchange in
        if let token = exchange.retain() { tokens.append(token) }
        return exchange.respond()
      }
      let client = server.connect()
      client.send(get("/"))
      client.send(get("/"))
      #expect(tokens[0].slot != tokens[1].slot, "a slot with a token is not used again")
      let first = tokens[0]
      #expect(first.release() == mews_result(MEWS_OK))
      server.runPasses()
      client.send(get("/"))
      #expect(tokens[2].slot == first.slot)
      #expect(tokens[2].rawValue != first.rawValue)
      #expect(first.status() == Self.gone)
      #expect(first.release() == Self.gone, "a stale token does not touch the next exchange")
      for token in tokens.dropFirst() { #expect(token.release() == mews_result(MEWS_OK)) }
      server.runPasses()
    }
  }

  @Test("A token that was released before the handler returned keeps nothing", arguments: executions)
  func releasedInside(execution: Int) throws {
    try withServer { server in
      server.handle("GET", "/", on: execution) { exchange in
        let token = exchange.retain()
        #expect(token?.release() == mews_result(MEWS_OK))
        #expect(token?.release() == Self.gone)
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(get("/"))
      server.runWorkers()
      #expect(client.receive() == ok("hello"))
      #expect(server.rentedBlocks == 0)
    }
  }

  @Test("Every token of an exchange has to be released, and there are 65,535 at most")
  func many() throws {
    try withServer { server in
      var taken: ExchangeToken?
      var count = 0
      server.handle("GET", "/") { exchange in
        while let token = exchange.retain() {
          taken = token
          count += 1
        }
        var token: UInt64 = 0
        #expect(Exchange.retain(exchange.pointer, &token) == mews_result(MEWS_E_LIMIT))
        return exchange.respond()
      }
      let client = server.connect()
      client.send(get("/"))
      #expect(count == 65_535)
      let token = try #require(taken)
      #expect(server.rentedBlocks > 0)
      for _ in 0..<65_535 { #expect(token.release() == mews_result(MEWS_OK)) }
      #expect(token.release() == Self.gone)
      server.runPasses()
      #expect(server.rentedBlocks == 0)
    }
  }

  @Test("A token outlives the connection of a client that left while the handler ran")
  func clientGone() throws {
    try withServer { server in
      var taken: ExchangeToken?
      var body = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
      server.handle("POST", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        taken = exchange.retain()
        body = exchange.pointer.pointee.bodyView
        return exchange.respond("hello")
      }
      let client = server.connect()
      client.send(post("/", pattern(100)))
      client.disconnect()
      server.runWorkers()
      #expect(server.context.pointee.connectionCount == 0)
      #expect(taken?.status() == Self.gone)
      #expect(Array(body) == pattern(100))
      #expect(taken?.release() == mews_result(MEWS_OK))
      server.runPasses()
    }
  }

  @Test("A body by reference is released when the client has left, although a token is still held")
  func lentBodyWithToken() throws {
    try withServer { server in
      let lent = LentBytes(pattern(10_000))
      var taken: ExchangeToken?
      server.handle("GET", "/", on: MEWS_EXECUTION_WORKER) { exchange in
        taken = exchange.retain()
        return exchange.respond(lending: lent)
      }
      let client = server.connect()
      client.send(get("/"))
      client.disconnect()
      server.runWorkers()
      #expect(lent.releaseCount == 1)
      #expect(taken?.release() == mews_result(MEWS_OK))
      server.runPasses()
      #expect(lent.releaseCount == 1)
    }
  }

  @Test("A token of a server that is gone is gone, and so is a number that never was one")
  func serverGone() throws {
    var taken: ExchangeToken?
    // A token keeps memory, so the end of its server counts that as not given back: hence no `withServer`.
    let server = try InMemoryServer()
    server.handle("GET", "/") { exchange in
      taken = exchange.retain()
      return exchange.respond()
    }
    let client = server.connect()
    client.send(get("/"))
    #expect(taken?.release() == mews_result(MEWS_OK))
    server.finish()
    #expect(taken?.status() == Self.gone)
    #expect(taken?.release() == Self.gone)
    for value: UInt64 in [0, 1, 1 << 32 | 0xffff_ffff, .max] {
      #expect(ExchangeToken(rawValue: value).status() == Self.gone)
      #expect(ExchangeToken(rawValue: value).release() == Self.gone)
    }
  }

  @Test("Generations count up, skip 0 when they wrap, and leave the slot closed and without tokens")
  func generations() {
    let open = ExchangeControl.openBit
    #expect(ExchangeControl.next(after: 1 << 32) == 2 << 32)
    #expect(ExchangeControl.next(after: 7 << 32 | open | 5) == 8 << 32)
    #expect(ExchangeControl.next(after: 0xffff_fffe << 32 | open) == 0xffff_ffff << 32)
    #expect(ExchangeControl.next(after: 0xffff_ffff << 32 | open) == 1 << 32)
  }
}
