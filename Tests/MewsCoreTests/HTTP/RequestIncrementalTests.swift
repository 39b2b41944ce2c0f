import Testing

@testable import MewsCore

@Suite("A request head that arrives in pieces")
struct RequestIncrementalTests {
  @Test("gives the same result wherever it is cut", arguments: acceptedRequests + refusedRequests.map(\.text))
  func anyCut(_ request: String) {
    let bytes = Array(request.utf8) + Array("more".utf8)
    let whole = parse(bytes, pieces: [bytes.count])
    for cut in 0...bytes.count {
      #expect(parse(bytes, pieces: [cut, bytes.count]) == whole, "cut at \(cut)")
    }
    #expect(parse(bytes, pieces: Array(0...bytes.count)) == whole)
  }

  @Test("gives the same result with any two cuts")
  func twoCuts() {
    let bytes = Array("\r\nPUT /a?b HTTP/1.1\r\nHost: a\r\nX:  b \r\nContent-Length: 1\r\n\r\n".utf8)
    let whole = parse(bytes, pieces: [bytes.count])
    for first in 0...bytes.count {
      for second in first...bytes.count {
        #expect(parse(bytes, pieces: [first, second, bytes.count]) == whole, "cut at \(first) and \(second)")
      }
    }
  }

  @Test("is incomplete until its last byte", arguments: acceptedRequests)
  func prefixes(_ request: String) {
    let bytes = Array(request.utf8)
    for count in 0..<bytes.count {
      #expect(parse(bytes, pieces: [count]) == .incomplete, "\(count) bytes")
    }
  }

  @Test("answers from the bytes given so far, not from how they came", arguments: refusedRequests.map(\.text))
  func refusedPrefixes(_ request: String) {
    let bytes = Array(request.utf8)
    for count in 0...bytes.count {
      #expect(parse(bytes, pieces: [count]) == parse(bytes, pieces: Array(0...count)), "\(count) bytes")
    }
  }

  @Test("is looked at once, byte by byte: the time is linear")
  func drip() {
    let request =
      "\(String(repeating: "M", count: 32)) /\(String(repeating: "t", count: 8000)) HTTP/1.1\r\nHost: a\r\n"
      + "\(String(repeating: "n", count: 8000)):\(String(repeating: " ", count: 8000))v\r\n"
      + "X: \(String(repeating: "v", count: 8000))\r\n\r\n"
    let bytes = Array(request.utf8)
    let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
    head.initialize(to: RequestHead())
    defer { head.deallocate() }
    var parser = RequestParser(limits: RequestLimits())
    bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      for count in 0..<bytes.count {
        #expect(parser.parse(base, count, into: head).isIncomplete)
        // All is examined but at most a version or a line end that is not whole.
        if count - parser.position > 10 { Issue.record("at \(count) bytes only \(parser.position) are examined") }
      }
      #expect(parser.parse(base, bytes.count, into: head) == .complete(bytes.count))
    }
  }

  @Test("leaves the parser ready for the next one")
  func pipelined() {
    let requests = [
      "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
      "GET /2?x HTTP/1.1\r\nHost: b\r\n\r\n", "POST /3 HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
      "GET /4 HTTP/1.1\r\nHost: c\r\n\r\n",
    ]
    let bytes = Array(requests.joined().utf8)
    let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
    head.initialize(to: RequestHead())
    defer { head.deallocate() }
    var parser = RequestParser(limits: RequestLimits())
    GuardedBytes.with(bytes) { base, count in
      var start = 0
      for request in requests {
        let result = parser.parse(base + start, count - start, into: head)
        #expect(result == .complete(request.utf8.count))
        let alone = parsed(request)
        #expect(ParsedRequest(head, base + start, consumed: result.consumed) == alone)
        start += result.consumed
      }
      #expect(start == count)
    }
  }

  @Test("fails for good until the parser is reset")
  func failure() {
    let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
    head.initialize(to: RequestHead())
    defer { head.deallocate() }
    var parser = RequestParser(limits: RequestLimits())
    let bad = Array("GET / HTTP/3.0\r\n".utf8)
    let good = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    #expect(parser.parse(bad, bad.count, into: head) == .failed(.unsupportedVersion))
    #expect(parser.parse(good, good.count, into: head) == .failed(.unsupportedVersion))
    parser.reset()
    #expect(parser.parse(good, good.count, into: head) == .complete(good.count))
  }
}
