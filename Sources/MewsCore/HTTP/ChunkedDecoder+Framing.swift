/// Everything in a chunked body but the payload, a byte at a time.
extension ChunkedDecoder {
  /// Reads one byte; false when it is malformed.
  @_noLocks
  mutating func readFraming(_ byte: UInt8) -> Bool {
    switch phase {
    case .firstSizeDigit, .size, .sizeLineFeed, .dataCarriageReturn, .dataLineFeed: readSize(byte)
    case .trailerStart, .trailerName, .trailerValue, .trailerLineFeed, .lastLineFeed: readTrailer(byte)
    default: readExtension(byte)
    }
  }

  @_noLocks @inline(__always)
  private mutating func readSize(_ byte: UInt8) -> Bool {
    switch phase {
    case .sizeLineFeed:
      if byte != ASCII.lineFeed { return fail(.invalidChunkSize) }
      sizeDigits = 0
      return advance(to: remaining == 0 ? .trailerStart : .data)
    case .dataCarriageReturn:
      return byte == ASCII.carriageReturn ? advance(to: .dataLineFeed) : fail(.invalidChunkEnd)
    case .dataLineFeed:
      return byte == ASCII.lineFeed ? advance(to: .firstSizeDigit) : fail(.invalidChunkEnd)
    default:
      break
    }
    let digit = ASCII.hexadecimalValue(byte)
    if digit <= 15 {
      // A size with its top bit set is beyond any body and would be negative.
      if sizeDigits == Self.sizeDigitLimit || remaining >> 59 != 0 { return fail(.invalidChunkSize) }
      sizeDigits &+= 1
      remaining = remaining << 4 | Int(digit)
      return advance(to: .size)
    }
    if sizeDigits == 0 { return fail(.invalidChunkSize) }
    if byte == ASCII.carriageReturn { return advance(to: .sizeLineFeed) }
    if byte == ASCII.semicolon || ASCII.isWhitespace(byte) { return readExtension(byte) }
    return fail(.invalidChunkSize)
  }

  /// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ). A line feed that ends no CR LF is
  /// refused here as everywhere: parsers that took it for a line end let requests be smuggled.
  @_noLocks
  private mutating func readExtension(_ byte: UInt8) -> Bool {
    if byte == ASCII.carriageReturn {
      switch phase {
      case .extensionName, .extensionToken, .afterQuotedString: return advance(to: .sizeLineFeed)
      default: return fail(.invalidChunkExtension)
      }
    }
    if extensionBytes == Self.extensionLimit { return fail(.chunkExtensionsTooLarge) }
    extensionBytes &+= 1
    switch phase {
    case .quotedString:
      if byte == ASCII.doubleQuote { return advance(to: .afterQuotedString) }
      if byte == ASCII.backslash { return advance(to: .quotedPair) }
      return FieldSyntax.isValueCharacter(byte) || fail(.invalidChunkExtension)
    case .quotedPair:
      return FieldSyntax.isValueCharacter(byte) ? advance(to: .quotedString) : fail(.invalidChunkExtension)
    default:
      break
    }
    if FieldSyntax.isTokenCharacter(byte) { return readExtensionToken() }
    if ASCII.isWhitespace(byte) { return readExtensionWhitespace() }
    return readExtensionDelimiter(byte)
  }

  @_noLocks
  private mutating func readExtensionToken() -> Bool {
    switch phase {
    case .extensionNameStart, .extensionName: advance(to: .extensionName)
    case .extensionValueStart, .extensionToken: advance(to: .extensionToken)
    default: fail(.invalidChunkExtension)
    }
  }

  @_noLocks
  private mutating func readExtensionWhitespace() -> Bool {
    switch phase {
    case .size, .extensionToken, .afterQuotedString: advance(to: .beforeSemicolon)
    case .extensionName: advance(to: .afterExtensionName)
    default: true
    }
  }

  @_noLocks
  private mutating func readExtensionDelimiter(_ byte: UInt8) -> Bool {
    switch phase {
    case .size, .beforeSemicolon, .extensionToken, .afterQuotedString:
      if byte == ASCII.semicolon { return advance(to: .extensionNameStart) }
    case .extensionName, .afterExtensionName:
      if byte == ASCII.semicolon { return advance(to: .extensionNameStart) }
      if byte == ASCII.equals { return advance(to: .extensionValueStart) }
    case .extensionValueStart:
      if byte == ASCII.doubleQuote { return advance(to: .quotedString) }
    default:
      break
    }
    return fail(.invalidChunkExtension)
  }

  /// trailer-section = *( field-line CRLF ), then the last CRLF of the body.
  @_noLocks
  private mutating func readTrailer(_ byte: UInt8) -> Bool {
    if trailerBytes == Self.trailerLimit { return fail(.trailersTooLarge) }
    trailerBytes &+= 1
    switch phase {
    case .trailerStart:
      if byte == ASCII.carriageReturn { return advance(to: .lastLineFeed) }
      if !FieldSyntax.isTokenCharacter(byte) { return fail(.invalidTrailer) }
      if trailerCount == Self.trailerCountLimit { return fail(.trailersTooLarge) }
      trailerCount &+= 1
      return advance(to: .trailerName)
    case .trailerName:
      if byte == ASCII.colon { return advance(to: .trailerValue) }
      return FieldSyntax.isTokenCharacter(byte) || fail(.invalidTrailer)
    case .trailerValue:
      if byte == ASCII.carriageReturn { return advance(to: .trailerLineFeed) }
      return FieldSyntax.isValueCharacter(byte) || fail(.invalidTrailer)
    case .trailerLineFeed:
      return byte == ASCII.lineFeed ? advance(to: .trailerStart) : fail(.invalidTrailer)
    default:
      return byte == ASCII.lineFeed ? advance(to: .complete) : fail(.invalidTrailer)
    }
  }
}
