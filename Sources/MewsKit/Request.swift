import CMews

/// One request, as a handler sees it. The compiler lets neither it nor a view into it leave the handler, so each is
/// valid as long as it can be named. ``owned(parameters:)`` makes a copy that can be kept.
public struct Request: ~Escapable {
  let exchange: OpaquePointer

  @_lifetime(immortal)
  init(_ exchange: OpaquePointer) {
    self.exchange = exchange
  }

  /// The method, as sent: "GET".
  public var method: String { String(mews_request_method(exchange)) ?? "" }

  /// The request target exactly as sent, query included: "/a%20b?c=d" (RFC 9112, 3.2).
  public var target: String { String(mews_request_target(exchange)) ?? "" }

  /// The path: percent-decoded and without dot segments (RFC 3986, 5.2.4 and 6.2.2). An encoded slash stays "%2F".
  public var path: String { String(mews_request_path(exchange)) ?? "" }

  /// The HTTP version times ten: 10 or 11.
  public var version: Int { Int(mews_request_version(exchange)) }

  /// The path parameters: what the path held in the places of `{name}` and `{name...}`.
  public var parameters: PathParameters {
    @_lifetime(copy self) get { _overrideLifetime(PathParameters(exchange), copying: self) }
  }

  /// The query parameters.
  public var query: QueryParameters {
    @_lifetime(copy self) get { _overrideLifetime(QueryParameters(exchange), copying: self) }
  }

  /// The header fields.
  public var headers: RequestHeaders {
    @_lifetime(copy self) get { _overrideLifetime(RequestHeaders(exchange), copying: self) }
  }

  /// The whole body, where the server has it: no copy. A request without one has 0 bytes.
  public var body: RawSpan {
    @_lifetime(copy self) get { _overrideLifetime(RawSpan(_unsafeBytes: bodyBytes), copying: self) }
  }

  /// The body for functions that take a buffer. The pointer must not leave the closure.
  public func withBody<Result, Failure: Error>(
    _ use: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try use(bodyBytes)
  }

  private var bodyBytes: UnsafeRawBufferPointer {
    let body = mews_request_body(exchange)
    return UnsafeRawBufferPointer(start: body.data, count: body.data == nil ? 0 : body.length)
  }
}

/// The path parameters of a request.
public struct PathParameters: ~Escapable {
  private let exchange: OpaquePointer

  @_lifetime(immortal)
  init(_ exchange: OpaquePointer) {
    self.exchange = exchange
  }

  /// What the path held in the place of the parameter, decoded; nil when the route's pattern has none of that name.
  public subscript(name: String) -> String? {
    String(mews_path_parameter(exchange, name))
  }
}

/// The query of a request.
public struct QueryParameters: ~Escapable {
  private let exchange: OpaquePointer

  @_lifetime(immortal)
  init(_ exchange: OpaquePointer) {
    self.exchange = exchange
  }

  /// The value of a parameter: percent-decoded, "+" read as a space. Nil when there is none; empty for "?name" and
  /// "?name=". With several of one name: the first.
  public subscript(name: String) -> String? {
    String(mews_query_parameter(exchange, name))
  }

  /// The query without its "?", as sent; nil when the target has no "?".
  public var text: String? { String(mews_request_query(exchange)) }
}

/// The header fields of a request. Names are compared in any case.
public struct RequestHeaders: ~Escapable {
  private let exchange: OpaquePointer

  @_lifetime(immortal)
  init(_ exchange: OpaquePointer) {
    self.exchange = exchange
  }

  /// The value of a field; with several of one name: the first.
  public subscript(name: String) -> String? {
    String(mews_request_header(exchange, name))
  }

  /// The values of all fields of a name, in the order sent.
  public func all(_ name: String) -> [String] {
    var values: [String] = []
    while let value = String(mews_request_header_repeated(exchange, name, UInt32(truncatingIfNeeded: values.count))) {
      values.append(value)
    }
    return values
  }

  /// The number of fields, each repetition counted.
  public var count: Int { Int(mews_request_header_count(exchange)) }

  /// Every field, in the order sent.
  public var fields: [Header] {
    (0..<mews_request_header_count(exchange)).map { index in
      let field = mews_request_header_at(exchange, index)
      return Header(String(field.name) ?? "", String(field.value) ?? "")
    }
  }
}

/// One header field.
public struct Header: Sendable, Hashable {
  public var name: String
  public var value: String

  public init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}
