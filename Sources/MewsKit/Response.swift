import CMews

/// What a handler answers with.
///
/// Date, Server and Content-Length are the host's business. The response to HEAD is sent without its body.
public struct Response: Sendable {
  /// 200 to 599.
  public var status: Status

  /// The Content-Type field; nil for none.
  public var contentType: String?

  /// More fields, sent in this order, repeated names repeatedly. Content-Length, Transfer-Encoding, Connection, Date and
  /// Server are the host's own and are refused, as are names that are no token and values with control characters.
  public var headers: [Header]

  /// The body.
  public var body: Body

  /// Where the bytes of a body are.
  public enum Body: Sendable {
    /// No body.
    case empty
    /// Text, copied into the connection's buffer as UTF-8.
    case text(String)
    /// Bytes, copied into the connection's buffer.
    case bytes([UInt8])
    /// A literal, sent from where it lies in the plugin's file, without a copy.
    case constant(StaticString)
    /// Bytes that several responses may share, sent from where they lie, without a copy.
    case shared(SharedBytes)
    /// The response was given by ``Request/respond(_:contentType:headers:copying:)``.
    case given
  }

  /// Makes a response.
  public init(_ status: Status = .ok, contentType: String? = nil, headers: [Header] = [], body: Body = .empty) {
    self.status = status
    self.contentType = contentType
    self.headers = headers
    self.body = body
  }

  /// Plain text in UTF-8.
  public static func text(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: "text/plain; charset=utf-8", body: .text(text))
  }

  /// HTML in UTF-8.
  public static func html(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: "text/html; charset=utf-8", body: .text(text))
  }

  /// JSON that was made elsewhere.
  public static func json(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: "application/json", body: .text(text))
  }

  /// Bytes of a type.
  public static func bytes(_ bytes: [UInt8], contentType: String, status: Status = .ok) -> Response {
    Response(status, contentType: contentType, body: .bytes(bytes))
  }

  /// A status without a body.
  public static func status(_ status: Status) -> Response {
    Response(status)
  }

  /// Sends the client to another place with 302, or another status of redirection (RFC 9110, 15.4).
  public static func redirect(to location: String, status: Status = .found) -> Response {
    Response(status, headers: [Header("Location", location)])
  }

  /// The same response with one more header field.
  public func header(_ name: String, _ value: String) -> Response {
    var response = self
    response.headers.append(Header(name, value))
    return response
  }
}

extension Request {
  /// Responds with a copy of bytes that are only borrowed, such as the request's own body, and without a second copy
  /// between. The handler returns what this returns:
  ///
  /// ```swift
  /// routes.post("/echo") { request in
  ///   try request.respond(contentType: "application/octet-stream", copying: request.body)
  /// }
  /// ```
  ///
  /// - Throws: ``MewsError`` when a field is refused, memory is exhausted, or a response was given before.
  public func respond(
    _ status: Status = .ok, contentType: String? = nil, headers: [Header] = [], copying body: RawSpan
  ) throws -> Response {
    let head = Response(status, contentType: contentType, headers: headers, body: .given)
    try head.addHeaders(to: exchange)
    let result = body.withUnsafeBytes { head.respond(exchange, copying: $0) }
    guard result == .ok else { throw MewsError(result, "response") }
    return head
  }
}

// MARK: - Handing over to the host

extension Response {
  /// Gives the response to the host.
  func send(to exchange: OpaquePointer) throws {
    if !headers.isEmpty { try addHeaders(to: exchange) }
    let result = sendBody(to: exchange)
    guard result == .ok else { throw MewsError(result, "response") }
  }

  fileprivate func addHeaders(to exchange: OpaquePointer) throws {
    for header in headers {
      let result = header.name.withBorrowedText { name in
        header.value.withBorrowedText { value in mews_response_header_text(exchange, name, value) }
      }
      guard result == .ok else { throw MewsError(result, "response header \(header.name)") }
    }
  }

  private func sendBody(to exchange: OpaquePointer) -> mews_result {
    switch body {
    case .empty:
      return respond(exchange, copying: UnsafeRawBufferPointer(start: nil, count: 0))
    case .text(var text):
      return text.withUTF8 { respond(exchange, copying: UnsafeRawBufferPointer($0)) }
    case .bytes(let bytes):
      return bytes.withUnsafeBytes { respond(exchange, copying: $0) }
    case .constant(let literal):
      return respond(exchange, referring: literal)
    case .shared(let bytes):
      return withContentType { type in
        mews_respond_reference(
          exchange, status.rawValue, type, bytes.start, bytes.count, SharedBytes.release, bytes.retained())
      }
    case .given:
      return .ok
    }
  }

  fileprivate func respond(_ exchange: OpaquePointer, copying bytes: UnsafeRawBufferPointer) -> mews_result {
    withContentType { mews_respond(exchange, status.rawValue, $0, bytes.baseAddress, bytes.count) }
  }

  private func respond(_ exchange: OpaquePointer, referring literal: StaticString) -> mews_result {
    // A literal of one scalar has no storage of its own.
    guard literal.hasPointerRepresentation else {
      return literal.withUTF8Buffer { respond(exchange, copying: UnsafeRawBufferPointer($0)) }
    }
    return withContentType {
      mews_respond_reference(
        exchange, status.rawValue, $0, literal.utf8Start, literal.utf8CodeUnitCount, nil, nil)
    }
  }

  private func withContentType(_ use: (UnsafePointer<CChar>?) -> mews_result) -> mews_result {
    guard let contentType else { return use(nil) }
    return contentType.withCString(use)
  }
}

extension String {
  /// The text as the header's type, valid during the call.
  fileprivate func withBorrowedText<Result>(_ use: (mews_text) -> Result) -> Result {
    var text = self
    return text.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { use(mews_text(data: $0.baseAddress, length: $0.count)) }
    }
  }
}
