import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Persistent connections")
struct PersistentConnectionTests {
  @Test("A request in, a response out, byte for byte, and the connection stays open")
  func oneRequest() throws {
    try withServer { server in
      server.handle("GET", "/hello") { $0.respond("hello") }
      let client = server.connect()

      client.send(
        wire(
          """
          GET /hello HTTP/1.1
          Host: mews


          """))

      #expect(
        client.receive()
          == wire(
            """
            HTTP/1.1 200 OK
            Server: Mews
            Date: Sun, 06 Nov 1994 08:49:37 GMT
            Content-Type: text/plain
            Content-Length: 5

            hello
            """))
      #expect(client.state == .open)
    }
  }

  @Test("An idle connection holds no memory of the pool")
  func idleHoldsNothing() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/"))
      #expect(client.receive() == ok("hello"))
      #expect(server.rentedBlocks == 0)
      #expect(server.context.pointee.exchangeCount == 0)
      #expect(client.connection.pointee.isIdle)
    }
  }

  @Test("One connection carries request after request")
  func keepAlive() throws {
    try withServer { server in
      var count = 0
      server.handle("GET", "/count") { exchange in
        count += 1
        return exchange.respond("\(count)")
      }
      let client = server.connect()
      for number in 1...100 {
        client.send(get("/count"))
        #expect(client.receive() == ok("\(number)"))
      }
      #expect(client.state == .open)
    }
  }

  @Test("Sixteen requests in one piece are answered in order and in one piece")
  func pipelining() throws {
    try withServer { server in
      for number in 0..<16 { server.handle("GET", "/\(number)") { $0.respond("response \(number)") } }
      let client = server.connect()
      client.send((0..<16).map { get("/\($0)") }.joined())
      #expect(client.sends.count == 1)
      #expect(client.receive() == (0..<16).map { ok("response \($0)") }.joined())
    }
  }

  @Test("A request cut anywhere, or everywhere, is the same request")
  func everyCut() throws {
    try withServer { server in
      server.handle("POST", "/echo") { $0.respond(copying: $0.body) }
      let request = post("/echo", Array("body".utf8), "X-Field: value") + Array(get("/none").utf8)
      let expected =
        ok("body")
        + ExpectedResponse(
          "404 Not Found: no route for this path\n", status: "404 Not Found"
        ).text
      for cut in 0...request.count {
        let client = server.connect()
        client.send(Array(request[..<cut]))
        client.send(Array(request[cut...]))
        #expect(client.receive() == expected, "cut at \(cut)")
        client.disconnect()
      }
      let client = server.connect()
      client.largestRead = 1
      client.send(request)
      #expect(client.receive() == expected)
    }
  }

  @Test("HEAD is answered with the head of the response to GET")
  func head() throws {
    try withServer { server in
      server.handle("HEAD", "/") { $0.respond("not sent") }
      server.handle("GET", "/") { $0.respond("sent") }
      let client = server.connect()
      client.send("HEAD / HTTP/1.1\r\nHost: mews\r\n\r\n" + get("/"))
      var expected = ExpectedResponse("not sent")
      expected.body = []
      #expect(client.receive() == expected.text + ok("sent"))
    }
  }

  @Test("HTTP/1.0 closes after the response unless the client asks to keep the connection")
  func http10() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let closing = server.connect()
      closing.send("GET / HTTP/1.0\r\n\r\n")
      #expect(closing.receive() == okAndClose("hello"))
      #expect(closing.state == .lingering)

      let keeping = server.connect()
      keeping.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
      let kept = ExpectedResponse("hello", fields: "Connection: keep-alive\r\nContent-Type: text/plain\r\n").text
      #expect(keeping.receive() == kept + okAndClose("hello"))
    }
  }

  @Test("After a request that asks for it the connection is closed, and what follows is not read as a request")
  func connectionClose() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/", "Connection: close") + get("/"))
      #expect(client.receive() == okAndClose("hello"))
      #expect(client.state == .lingering)
      client.send(get("/"))
      client.finishSending()
      #expect(client.receive() == "")
      #expect(client.state == .closed)
    }
  }

  @Test("A client that ends its side without a request is let go at once")
  func endWithoutRequest() throws {
    try withServer { server in
      let silent = server.connect()
      silent.finishSending()
      #expect(silent.state == .closed)
      let half = server.connect()
      half.send("GET / HTTP/1.1\r\nHos")
      half.finishSending()
      #expect(half.state == .closed)
      #expect(half.receive() == "")
    }
  }

  @Test("A client that ends its side after its requests gets the responses, also when it reads late")
  func endAfterRequest() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.isReading = false
      client.send(get("/") + get("/"))
      client.finishSending()
      #expect(client.state == .open)
      client.isReading = true
      server.runPasses()
      #expect(client.receive() == ok("hello") + ok("hello"))
      #expect(client.state == .closed)
    }
  }

  @Test("Date and Server are sent with every response, and the date changes with the second")
  func date() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/"))
      #expect(client.receive() == ok("hello"))
      server.time += 1
      client.send(get("/"))
      #expect(
        client.receive()
          == ok("hello").replacing("Sun, 06 Nov 1994 08:49:37 GMT", with: "Sun, 06 Nov 1994 08:49:38 GMT"))
      server.time = 1_735_689_599
      client.send(get("/"))
      #expect(client.receive().contains("Server: Mews\r\nDate: Tue, 31 Dec 2024 23:59:59 GMT\r\n"))
    }
  }

  @Test("The date is made once a second, and copied for the other responses of that second")
  func dateIsCached() {
    var header = DateHeader()
    func text(at time: Int64) -> String {
      var bytes = [UInt8](repeating: 0, count: 64)
      let count = header.write(secondsSince1970: time, to: &bytes)
      return String(decoding: bytes[..<count], as: UTF8.self)
    }
    #expect(text(at: 784_111_777) == "Server: Mews\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
    // A mark in what was made: only a copy shows it.
    withUnsafeMutableBytes(of: &header) { $0[0] = UInt8(ascii: "*") }
    #expect(text(at: 784_111_777) == "*erver: Mews\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
    #expect(text(at: 784_111_778) == "Server: Mews\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n")
  }
}
