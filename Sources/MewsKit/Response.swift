import CMews

/// What a handler answers with. It is given once, and therefore cannot be copied; what is worth keeping for other
/// requests is its body.
///
/// Date, Server and Content-Length are the host's business. The response to HEAD is sent without its body.
public struct Response: ~Copyable, Sendable {
  /// 200 to 599.
  public var status: Status

  /// The Content-Type field; nil for none.
  public var contentType: ContentType?

  /// More fields, sent in this order, repeated names repeatedly. Content-Length, Transfer-Encoding, Connection, Date
  /// and Server are the host's own and are refused, as are names that are no token and values with control characters.
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
    /// The response was given already, by ``Request/respond(_:contentType:headers:copying:)``, which returns this.
    case given
  }

  /// Makes a response.
  public init(_ status: Status = .ok, contentType: ContentType? = nil, headers: [Header] = [], body: Body = .empty) {
    self.status = status
    self.contentType = contentType
    self.headers = headers
    self.body = body
  }

  /// Plain text in UTF-8.
  public static func text(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: .plainText, body: .text(text))
  }

  /// HTML in UTF-8.
  public static func html(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: .html, body: .text(text))
  }

  /// JSON that was made elsewhere.
  public static func json(_ text: String, status: Status = .ok) -> Response {
    Response(status, contentType: .json, body: .text(text))
  }

  /// Bytes of a type.
  public static func bytes(_ bytes: [UInt8], contentType: ContentType, status: Status = .ok) -> Response {
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
  public consuming func header(_ name: String, _ value: String) -> Response {
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
  ///   try request.respond(contentType: .octetStream, copying: request.body)
  /// }
  /// ```
  ///
  /// - Throws: ``MewsError`` when a field is refused, memory is exhausted, or a response was given before.
  public func respond(
    _ status: Status = .ok, contentType: ContentType? = nil, headers: [Header] = [], copying body: RawSpan
  ) throws -> Response {
    try Response.add(headers, to: exchange)
    let result = withOptionalCString(contentType) { type in
      body.withUnsafeBytes { mews_respond(exchange, status.rawValue, type, $0.baseAddress, $0.count) }
    }
    guard result == .ok else { throw MewsError(result, "response") }
    return Response(status, contentType: contentType, body: .given)
  }
}

// MARK: - Handing over to the host

extension Response {
  /// Gives the response to the host.
  func send(to exchange: OpaquePointer) throws {
    if !headers.isEmpty { try Response.add(headers, to: exchange) }
    let result = sendBody(to: exchange)
    guard result == .ok else { throw MewsError(result, "response") }
  }

  /// The type as a C string, and the body, for the calls that complete a request.
  borrowing func withContentTypeAndBody(_ use: (UnsafePointer<CChar>?, Body) -> mews_result) -> mews_result {
    withOptionalCString(contentType) { use($0, body) }
  }

  /// Each case makes its own call, with what it needs: nothing is retained or allocated for a literal.
  private func sendBody(to exchange: OpaquePointer) -> mews_result {
    let status = status.rawValue
    switch body {
    case .constant(let literal):
      return withOptionalCString(contentType) { Response.give(exchange, status, $0, literal) }
    case .text(let text):
      return withOptionalCString(contentType) { type in
        text.withUTF8Bytes { mews_respond(exchange, status, type, $0.baseAddress, $0.count) }
      }
    case .bytes(let bytes):
      return withOptionalCString(contentType) { type in
        bytes.withUnsafeBytes { mews_respond(exchange, status, type, $0.baseAddress, $0.count) }
      }
    case .shared(let bytes):
      return withOptionalCString(contentType) { type in
        mews_respond_reference(
          exchange, status, type, bytes.start, bytes.count, SharedBytes.release, bytes.retained())
      }
    case .empty:
      return withOptionalCString(contentType) { mews_respond(exchange, status, $0, nil, 0) }
    case .given:
      return .ok
    }
  }

  private static func give(
    _ exchange: OpaquePointer, _ status: UInt32, _ type: UnsafePointer<CChar>?, _ literal: StaticString
  ) -> mews_result {
    // A literal of one scalar may have no storage of its own.
    guard literal.hasPointerRepresentation else {
      return literal.withUTF8Buffer { mews_respond(exchange, status, type, $0.baseAddress, $0.count) }
    }
    return mews_respond_reference(
      exchange, status, type, literal.utf8Start, literal.utf8CodeUnitCount, nil, nil)
  }

  fileprivate static func add(_ headers: [Header], to exchange: OpaquePointer) throws {
    for header in headers {
      let result = header.name.withUTF8Bytes { name in
        header.value.withUTF8Bytes { value in
          mews_response_header_text(exchange, mews_text(name), mews_text(value))
        }
      }
      guard result == .ok else { throw MewsError(result, "response header \(header.name)") }
    }
  }
}

@inline(__always)
private func withOptionalCString(
  _ type: ContentType?, _ use: (UnsafePointer<CChar>?) -> mews_result
) -> mews_result {
  guard let type else { return use(nil) }
  return type.withCString(use)
}

extension String {
  /// The text's bytes, during the call.
  func withUTF8Bytes<Result>(_ use: (UnsafeRawBufferPointer) -> Result) -> Result {
    var text = self
    return text.withUTF8 { use(UnsafeRawBufferPointer($0)) }
  }
}

extension mews_text {
  /// Text that is borrowed from bytes.
  init(_ bytes: UnsafeRawBufferPointer) {
    self.init(data: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), length: bytes.count)
  }
}
