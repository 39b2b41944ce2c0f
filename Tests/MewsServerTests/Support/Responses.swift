import Testing

/// What a response on the wire looks like, at the time that the clock of these tests shows at first.
struct ExpectedResponse {
  var status = "200 OK"
  /// The field lines between Date and Content-Length, each with its line end.
  var fields = "Content-Type: text/plain\r\n"
  var body: [UInt8] = []
  /// Nil for a response that says nothing of a length.
  var contentLength: Int?

  init(_ body: String = "", status: String = "200 OK", fields: String = "Content-Type: text/plain\r\n") {
    self.init(Array(body.utf8), status: status, fields: fields)
  }

  init(_ body: [UInt8], status: String = "200 OK", fields: String = "Content-Type: text/plain\r\n") {
    self.status = status
    self.fields = fields
    self.body = body
    contentLength = body.count
  }

  var head: String {
    "HTTP/1.1 \(status)\r\nServer: Mews\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" + fields
      + (contentLength.map { "Content-Length: \($0)\r\n" } ?? "") + "\r\n"
  }

  var bytes: [UInt8] { Array(head.utf8) + body }
  var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// The text of a whole response.
func ok(_ body: String) -> String { ExpectedResponse(body).text }

/// The text of the last response of a connection.
func okAndClose(_ body: String) -> String {
  ExpectedResponse(body, fields: "Connection: close\r\nContent-Type: text/plain\r\n").text
}

/// The text of an error that the server found by itself, after which it closes the connection.
func refusal(_ status: String, _ reason: String) -> String {
  ExpectedResponse(
    "\(status): \(reason)\n", status: status, fields: "Connection: close\r\nContent-Type: text/plain\r\n"
  ).text
}

/// A request without a body.
func get(_ path: String, _ fields: String...) -> String {
  "GET \(path) HTTP/1.1\r\nHost: mews\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
}

/// A request with a body of known length.
func post(_ path: String, _ body: [UInt8], _ fields: String...) -> [UInt8] {
  let head =
    "POST \(path) HTTP/1.1\r\nHost: mews\r\nContent-Length: \(body.count)\r\n" + fields.map { $0 + "\r\n" }.joined()
  return Array((head + "\r\n").utf8) + body
}

/// A body in the chunked coding, in chunks of so many bytes.
func chunked(_ body: [UInt8], by size: Int) -> [UInt8] {
  var result: [UInt8] = []
  for start in stride(from: 0, to: body.count, by: size) {
    let chunk = body[start..<min(start + size, body.count)]
    result += Array((String(chunk.count, radix: 16) + "\r\n").utf8) + chunk + Array("\r\n".utf8)
  }
  return result + Array("0\r\n\r\n".utf8)
}

/// Compares bytes. Unlike a comparison of arrays by the test library, a failure is told in a line, at once.
func expectBytes(
  _ received: [UInt8], _ expected: [UInt8], _ comment: Comment? = nil,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard received != expected else { return }
  let position = zip(received, expected).enumerated().first { $1.0 != $1.1 }?.offset
  let difference =
    "\(received.count) bytes for \(expected.count), different from byte \(position.map(String.init) ?? "-")"
  Issue.record("\(difference) \(comment?.description ?? "")", sourceLocation: sourceLocation)
}

/// Bytes in which every shift and every lost block shows.
func pattern(_ count: Int) -> [UInt8] { Array(patternBytes.prefix(count)) }

private let patternBytes = (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
