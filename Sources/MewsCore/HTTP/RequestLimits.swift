/// How large the head of a request may be. What exceeds a limit is refused as soon as it does, before the rest arrives.
public struct RequestLimits: Sendable {
  /// Bytes of the request line without its CR LF. A target that exceeds it is answered with 414.
  public var requestLine: Int
  /// Bytes of the method. A longer one is longer than any that exists: 501 (RFC 9112, 3).
  public var method: Int
  /// Bytes of the header section: field lines with their line ends, and the empty line after them. More is answered
  /// with 431.
  public var headerBytes: Int
  /// Header fields, each repetition counted; at most `RequestHead.headerLimit`. More are answered with 431.
  public var headerCount: Int

  @_noLocks
  public init(
    requestLine: Int = 8192, method: Int = 32, headerBytes: Int = 32768, headerCount: Int = RequestHead.headerLimit
  ) {
    self.requestLine = requestLine
    self.method = method
    self.headerBytes = headerBytes
    self.headerCount = headerCount
  }

  /// The same limits brought to what the parser's 32-bit positions and the fixed array of fields can hold.
  @_noLocks
  func clamped() -> RequestLimits {
    let largest = 1 << 29
    return RequestLimits(
      requestLine: min(max(requestLine, 16), largest), method: min(max(method, 1), largest),
      headerBytes: min(max(headerBytes, 2), largest), headerCount: min(max(headerCount, 0), RequestHead.headerLimit))
  }
}
