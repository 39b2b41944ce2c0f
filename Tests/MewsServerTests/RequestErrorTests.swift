import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Requests that are refused")
struct RequestErrorTests {
  struct Sample: CustomTestStringConvertible, Sendable {
    let request: String
    let status: String
    let reason: String

    var testDescription: String { "\(status): \(reason)" }
  }

  static let samples = [
    Sample(request: "GET / HTTP/1.1\r\n\r\n", status: "400 Bad Request", reason: "the Host field is missing"),
    Sample(
      request: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", status: "400 Bad Request",
      reason: "more than one Host field"),
    Sample(
      request: "GET / HTTP/1.1\nHost: a\n\n", status: "400 Bad Request", reason: "a line does not end in CR LF"),
    Sample(
      request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      status: "400 Bad Request", reason: "Content-Length together with Transfer-Encoding"),
    Sample(
      request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", status: "400 Bad Request",
      reason: "the Content-Length field is invalid"),
    Sample(
      request: "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", status: "400 Bad Request", reason: "the path is malformed"),
    Sample(
      request: "GET /\(String(repeating: "x", count: 9_000)) HTTP/1.1\r\nHost: a\r\n\r\n", status: "414 URI Too Long",
      reason: "the request target is too long"),
    Sample(
      request: "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "x", count: 40_000))\r\n\r\n",
      status: "431 Request Header Fields Too Large", reason: "the header fields are too large"),
    Sample(
      request: "GET / HTTP/1.1\r\nHost: a\r\n\(String(repeating: "X: y\r\n", count: 100))\r\n",
      status: "431 Request Header Fields Too Large", reason: "too many header fields"),
    Sample(
      request: "\(String(repeating: "X", count: 40)) / HTTP/1.1\r\nHost: a\r\n\r\n", status: "501 Not Implemented",
      reason: "the method is too long"),
    Sample(
      request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", status: "501 Not Implemented",
      reason: "the transfer coding is not supported"),
    Sample(
      request: "GET / HTTP/2.0\r\nHost: a\r\n\r\n", status: "505 HTTP Version Not Supported",
      reason: "the HTTP version is not supported"),
    Sample(
      request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", status: "400 Bad Request",
      reason: "a chunk size is invalid"),
    Sample(
      request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + String(repeating: "X: y\r\n", count: 101) + "\r\n",
      status: "431 Request Header Fields Too Large", reason: "the trailer fields are too large"),
  ]

  @Test("Each is answered with its status and a short text, and then the connection is closed", arguments: samples)
  func errors(sample: Sample) throws {
    try withServer { server in
      for largestRead in [Int.max, 1_460, 1] {
        let client = server.connect()
        client.largestRead = largestRead
        client.send(sample.request + get("/"))
        #expect(client.receive() == refusal(sample.status, sample.reason))
        #expect(client.state == .lingering)
        client.finishSending()
        #expect(client.state == .closed)
      }
    }
  }

  @Test("Responses to the requests before it are sent first")
  func afterGoodOnes() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let client = server.connect()
      client.send(get("/") + get("/") + "bad request\r\n\r\n")
      #expect(client.receive().hasPrefix(ok("hello") + ok("hello") + "HTTP/1.1 400 Bad Request\r\n"))
      #expect(client.state == .lingering)
    }
  }

  @Test("The largest head that the limits allow is served, however it arrives", arguments: [Int.max, 4_096, 1_000])
  func largestHead(largestRead: Int) throws {
    try withServer { server in
      let limits = server.context.pointee.limits.request
      let path = "/" + String(repeating: "p", count: limits.requestLine - "GET / HTTP/1.1".utf8.count)
      server.handle("GET", path) { $0.respond("\($0.header("X")?.utf8.count ?? 0)") }
      let value = String(repeating: "v", count: limits.headerBytes - "Host: mews\r\nX: \r\n\r\n".utf8.count)
      let client = server.connect()
      client.largestRead = largestRead
      client.send(get(path, "X: \(value)") + get(path, "X: 12345"))
      #expect(client.receive() == ok("\(value.utf8.count)") + ok("5"))

      // The same when it lies in many blocks at once, because a handler ran when it came.
      server.handle("GET", "/slow", on: MEWS_EXECUTION_WORKER) { $0.respond("slow") }
      client.send(get("/slow") + get(path, "X: \(value)"))
      server.runWorkers()
      #expect(client.receive() == ok("slow") + ok("\(value.utf8.count)"))
    }
  }

  @Test("A path without a route is 404, a path without a route for the method is 405, and the connection goes on")
  func noRoute() throws {
    try withServer { server in
      server.handle("GET", "/known") { $0.respond("hello") }
      server.handle("PUT", "/known") { $0.respond("stored") }
      let client = server.connect()
      client.send(get("/unknown"))
      #expect(
        client.receive()
          == ExpectedResponse("404 Not Found: no route for this path\n", status: "404 Not Found").text)
      client.send("DELETE /known HTTP/1.1\r\nHost: mews\r\n\r\n")
      #expect(
        client.receive()
          == ExpectedResponse(
            "405 Method Not Allowed: the path has no route for this method\n", status: "405 Method Not Allowed",
            fields: "Content-Type: text/plain\r\nAllow: GET, PUT\r\n"
          ).text)
      client.send(get("/known"))
      #expect(client.receive() == ok("hello"))
    }
  }
}
