import CMews
import MewsCore
import Testing

@testable import MewsServer

/// Random sequences of valid requests, cut at random places, against a model that knows what each is answered with.
@Suite("Random scripts")
struct RandomScriptTests {
  /// The requests of one connection and the bytes that they are answered with.
  struct Script {
    private(set) var requests: [UInt8] = []
    private(set) var responses: [UInt8] = []
    private(set) var isClosed = false

    init(_ random: inout SeededGenerator) {
      for _ in 0..<Int.random(in: 1...6, using: &random) { addRequest(&random) }
    }

    private mutating func addRequest(_ random: inout SeededGenerator) {
      let method = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"].randomElement(using: &random) ?? "GET"
      let path = ["/inline", "/worker", "/lent", "/none"].randomElement(using: &random) ?? "/none"
      let isHTTP11 = Int.random(in: 0..<10, using: &random) != 0
      let connection = [nil, nil, nil, nil, nil, nil, "close", "keep-alive"].randomElement(using: &random) ?? nil
      var head = "\(method) \(path) HTTP/1.\(isHTTP11 ? 1 : 0)\r\nHost: mews\r\n"
      if let connection { head += "Connection: \(connection)\r\n" }
      for number in 0..<Int.random(in: 0...3, using: &random) { head += "X-Field-\(number): value \(number)\r\n" }
      let body = pattern(Self.bodySize(&random))
      let framing = Int.random(in: 0..<3, using: &random)
      if framing == 1 && isHTTP11 {
        let size = Int.random(in: 1...max(1, body.count), using: &random)
        requests += Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8) + chunked(body, by: max(size, 64))
      } else if body.isEmpty && framing == 2 {
        requests += Array((head + "\r\n").utf8)
      } else {
        requests += Array((head + "Content-Length: \(body.count)\r\n\r\n").utf8) + body
      }
      guard !isClosed else { return }
      let keepsAlive = isHTTP11 ? connection != "close" : connection == "keep-alive"
      let persistence = keepsAlive ? (isHTTP11 ? "" : "Connection: keep-alive\r\n") : "Connection: close\r\n"
      let fields = persistence + "Content-Type: text/plain\r\n"
      let found = path != "/none"
      var response =
        found
        ? ExpectedResponse(Array("\(method) ".utf8) + body, fields: fields)
        : ExpectedResponse("404 Not Found: no route for this path\n", status: "404 Not Found", fields: fields)
      if method == "HEAD" { response.body = [] }
      responses += response.bytes
      isClosed = !keepsAlive
    }

    /// Mostly small, sometimes around the sizes at which the way of reading changes.
    private static func bodySize(_ random: inout SeededGenerator) -> Int {
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<10: 0
      case 10..<17: Int.random(in: 1...300, using: &random)
      case 17..<19: Int.random(in: 3_500...4_500, using: &random)
      default: Int.random(in: 30_000...70_000, using: &random)
      }
    }
  }

  /// A server that answers every method on three paths with the method and the body.
  private func serve(_ server: InMemoryServer) {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"] {
      let answer: (HandledExchange) -> [UInt8] = { Array("\(method) ".utf8) + $0.body }
      server.handle(method, "/inline") { $0.respond(copying: answer($0)) }
      server.handle(method, "/worker", on: MEWS_EXECUTION_WORKER) { $0.respond(copying: answer($0)) }
      server.handle(method, "/lent") { $0.respond(giving: answer($0)) }
    }
  }

  @Test("Ten thousand of them are answered as the model says", arguments: 0..<20)
  func scripts(seed: Int) throws {
    try withServer(debug: .everyBlockFromMalloc) { server in
      serve(server)
      var random = SeededGenerator(seed: UInt64(seed))
      for number in 0..<500 {
        let script = Script(&random)
        let client = server.connect()
        if Bool.random(using: &random) { client.largestRead = Int.random(in: 1...5_000, using: &random) }
        var position = 0
        while position < script.requests.count {
          let count = Int.random(in: 1...max(1, script.requests.count / 2), using: &random)
          let end = min(position + count, script.requests.count)
          client.send(Array(script.requests[position..<end]))
          position = end
          if Bool.random(using: &random) { server.runWorkers() }
        }
        server.runWorkers()
        let received = client.receiveBytes()
        expectBytes(received, script.responses, "script \(number) of seed \(seed)")
        #expect(client.state == (script.isClosed ? .lingering : .open), "script \(number) of seed \(seed)")
        client.disconnect()
        guard received == script.responses else { break }
      }
      #expect(server.log.isEmpty)
    }
  }
}
