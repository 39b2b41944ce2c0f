/// What a call of the parser found. Two integers.
public struct ParseResult: Equatable, Sendable {
  /// The length of the head in bytes when it is complete, else 0. The body follows.
  public let consumed: Int
  /// What is wrong, or `noError`.
  public let error: RequestError

  @_noLocks @usableFromInline
  init(consumed: Int, error: RequestError) {
    self.consumed = consumed
    self.error = error
  }

  /// The head is complete; `count` bytes belong to it.
  @_noLocks @inlinable @inline(__always)
  public static func complete(_ count: Int) -> ParseResult { ParseResult(consumed: count, error: .noError) }

  /// All bytes are fine so far, and more are needed.
  @inlinable @inline(__always)
  public static var incomplete: ParseResult { @_noLocks get { ParseResult(consumed: 0, error: .noError) } }

  /// The request is refused: answer with the error's status and close the connection.
  @_noLocks @inlinable @inline(__always)
  public static func failed(_ error: RequestError) -> ParseResult { ParseResult(consumed: 0, error: error) }

  @inlinable @inline(__always)
  public var isComplete: Bool { @_noLocks get { consumed > 0 } }
  @inlinable @inline(__always)
  public var isIncomplete: Bool { @_noLocks get { consumed == 0 && !isFailed } }
  @inlinable @inline(__always)
  public var isFailed: Bool { @_noLocks get { if case .noError = error { false } else { true } } }
}

/// Reads the head of an HTTP/1.1 request: request line and header fields (RFC 9112, 2 to 5), strictly. It does no I/O.
///
/// The bytes may arrive in any pieces. The parser keeps where it stopped, looks at each byte once, and its answer
/// depends only on the bytes given so far, not on how they were cut. What is malformed is refused at the first byte
/// that shows it.
public struct RequestParser: Sendable {
  /// What the next byte belongs to.
  enum Phase {
    case method, target, version, fieldName, fieldValue
  }

  /// How a step of the parser ended.
  enum Step {
    case done, incomplete, failed
  }

  let limits: RequestLimits
  var phase = Phase.method
  var error = RequestError.noError
  /// Empty lines skipped before the request line.
  var emptyLines: UInt8 = 0
  var seen = SeenFields()
  /// Where the element starts that `phase` names.
  var start = 0
  /// The first byte that was not examined.
  var position = 0
  /// Where the request line starts, then where the header section starts: what the limits count from.
  var sectionStart = 0

  /// A parser at the start of a request.
  @_noLocks
  public init(limits: RequestLimits) {
    self.limits = limits.clamped()
  }

  /// Goes back to the start of a request, whatever was parsed or failed before. Not needed after a complete head.
  @_noLocks
  public mutating func reset() {
    phase = .method
    error = .noError
    emptyLines = 0
    seen = SeenFields()
    start = 0
    position = 0
    sectionStart = 0
  }

  /// Parses as far as the bytes go.
  ///
  /// - Parameters:
  ///   - base: all bytes of the connection that were not consumed yet, in one piece: the same bytes as in the last call
  ///     for this request with more after them; they may have moved. Only read during the call.
  ///   - count: how many bytes there are.
  ///   - head: receives the head; the same contents in all calls for one request. It means something only once the head
  ///     is complete.
  /// - Returns: complete, and the parser is ready for the next request; incomplete; or failed, and so do all further
  ///   calls until `reset`.
  @_noLocks
  public mutating func parse(
    _ base: UnsafePointer<UInt8>, _ count: Int, into head: UnsafeMutablePointer<RequestHead>
  ) -> ParseResult {
    guard case .noError = error else { return .failed(error) }
    switch parseHead(base, count, head) {
    case .done:
      let consumed = position
      reset()
      return .complete(consumed)
    case .incomplete:
      return .incomplete
    case .failed:
      return .failed(error)
    }
  }

  @_noLocks @inline(__always)
  private mutating func parseHead(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    switch phase {
    case .fieldName, .fieldValue: break
    case .method, .target, .version:
      let step = parseRequestLine(base, count, head)
      guard case .done = step else { return step }
    }
    return parseFields(base, count, head)
  }

  @_noLocks @inline(__always)
  mutating func fail(_ error: RequestError) -> Step {
    self.error = error
    return .failed
  }

  /// Stops until more bytes come; the next call goes on at `position`.
  @_noLocks @inline(__always)
  mutating func wait(at position: Int) -> Step {
    self.position = position
    return .incomplete
  }
}
