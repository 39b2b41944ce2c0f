/// What a call of the chunked decoder did.
public struct ChunkedResult: Sendable {
  public enum State: Sendable {
    /// All input was consumed and the body goes on.
    case needsMore
    /// The room for output is used up; input is left.
    case outputFull
    /// The body is over, trailers included; input that is left belongs to the next request.
    case complete
    /// The body is malformed; `error` says how. The connection cannot be used further.
    case failed
  }

  /// Bytes of the input that were used.
  public let consumed: Int
  /// Bytes of payload that were written.
  public let produced: Int
  public let state: State
  /// The error when the state is `failed`, else `noError`.
  public let error: RequestError

  @_noLocks
  init(consumed: Int, produced: Int, state: State, error: RequestError) {
    self.consumed = consumed
    self.produced = produced
    self.state = state
    self.error = error
  }
}

/// Takes the chunked transfer coding off a body (RFC 9112, 7.1), strictly: each line ends in CR LF and nothing else,
/// sizes are hexadecimal digits, extensions and trailer fields follow their grammar. Extensions mean nothing here and
/// trailer fields are dropped. It does no I/O, and its answer does not depend on how the input is cut.
public struct ChunkedDecoder: Sendable {
  /// Hexadecimal digits of a chunk size.
  public static var sizeDigitLimit: Int { @_noLocks get { 16 } }
  /// Bytes of all chunk extensions of a body together (RFC 9112, 7.1.1 asks for a limit).
  public static var extensionLimit: Int { @_noLocks get { 16384 } }
  /// Bytes of the trailer section.
  public static var trailerLimit: Int { @_noLocks get { 32768 } }
  /// Fields of the trailer section.
  public static var trailerCountLimit: Int { @_noLocks get { 100 } }

  /// What the next byte is.
  enum Phase {
    case firstSizeDigit, size
    /// White space after a size or an extension was seen: only ";" may follow.
    case beforeSemicolon
    case extensionNameStart, extensionName
    /// White space after an extension's name was seen: "=" or ";" may follow.
    case afterExtensionName
    case extensionValueStart, extensionToken
    case quotedString, quotedPair, afterQuotedString
    case sizeLineFeed
    case data, dataCarriageReturn, dataLineFeed
    case trailerStart, trailerName, trailerValue, trailerLineFeed
    case lastLineFeed
    case complete, failed
  }

  var phase = Phase.firstSizeDigit
  var error = RequestError.noError
  /// The size of the chunk while its digits are read, then the bytes of it that are still to come.
  var remaining: Int = 0
  var sizeDigits = 0
  var extensionBytes = 0
  var trailerBytes = 0
  var trailerCount = 0

  /// A decoder at the start of a body.
  @_noLocks
  public init() {}

  /// Payload bytes of the current chunk that are still to come: what its size announced.
  public var announced: Int {
    @_noLocks get {
      if case .data = phase { return remaining }
      return 0
    }
  }

  /// Decodes as far as the input goes and the output has room.
  ///
  /// - Parameters:
  ///   - input: the bytes that follow those consumed before; only read during the call.
  ///   - output: receives the payload. It may be the same memory as the input, since the payload is never longer.
  ///   - room: how many bytes fit; with none, framing is still read up to the next payload byte.
  @_noLocks
  public mutating func decode(
    _ input: UnsafePointer<UInt8>, _ count: Int, into output: UnsafeMutablePointer<UInt8>, _ room: Int
  ) -> ChunkedResult {
    var consumed = 0
    var produced = 0
    while true {
      switch phase {
      case .data:
        if consumed >= count { return result(consumed, produced, .needsMore) }
        let length = min(remaining, min(count &- consumed, room &- produced))
        if length <= 0 { return result(consumed, produced, .outputFull) }
        UnsafeMutableRawPointer(output + produced).copyMemory(from: input + consumed, byteCount: length)
        consumed &+= length
        produced &+= length
        remaining &-= length
        if remaining == 0 { phase = .dataCarriageReturn }
      case .complete:
        return result(consumed, produced, .complete)
      case .failed:
        return result(consumed, produced, .failed)
      default:
        if consumed >= count { return result(consumed, produced, .needsMore) }
        if readFraming(input[consumed]) { consumed &+= 1 }
      }
    }
  }

  @_noLocks @inline(__always)
  private func result(_ consumed: Int, _ produced: Int, _ state: ChunkedResult.State) -> ChunkedResult {
    ChunkedResult(consumed: consumed, produced: produced, state: state, error: error)
  }

  @_noLocks
  mutating func fail(_ error: RequestError) -> Bool {
    self.error = error
    phase = .failed
    return false
  }

  @_noLocks @inline(__always)
  mutating func advance(to phase: Phase) -> Bool {
    self.phase = phase
    return true
  }
}
