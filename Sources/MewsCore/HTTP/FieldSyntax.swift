/// The syntax of header fields (RFC 9110, 5), for what handlers send.
public enum FieldSyntax {
  /// Whether a byte is a `tchar`: a visible ASCII character other than the delimiters `"(),/:;<=>?@[\]{}`.
  @_noLocks @inline(__always)
  static func isTokenCharacter(_ byte: UInt8) -> Bool {
    // A bit for each character from 0x00 to 0x3f, and from 0x40 to 0x7f.
    let low: UInt64 = 0x03ff_6cfa_0000_0000
    let high: UInt64 = 0x57ff_ffff_c7ff_fffe
    let bits = byte < 0x40 ? low : high
    return byte < 0x80 && (bits >> UInt64(byte & 0x3f)) & 1 != 0
  }

  /// Whether a byte may stand in a field value: visible, obs-text, SP or HTAB.
  @_noLocks @inline(__always)
  static func isValueCharacter(_ byte: UInt8) -> Bool {
    byte >= ASCII.space ? byte != ASCII.delete : byte == ASCII.horizontalTab
  }

  /// Whether the bytes are a token: a field name or a method (RFC 9110, 5.6.2). Empty is none.
  @_noLocks
  public static func isToken(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    count > 0 && ByteScanner.endOfToken(bytes, from: 0, end: count) == count
  }

  /// Whether the bytes can be sent as a field value: no control characters other than HTAB (RFC 9110, 5.5). Empty is
  /// one. White space at the ends passes; recipients strip it.
  @_noLocks
  public static func isFieldValue(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    // Media types and most other values are that short.
    if count >= 8 && count <= 16 && isPlain(bytes.word64(at: 0)) && isPlain(bytes.word64(at: count &- 8)) {
      return true
    }
    return count >= 0 && ByteScanner.endOfFieldValue(bytes, from: 0, end: count) == count
  }

  /// Whether none of eight bytes is a control character; HTAB counts as one here, though it may stand in a value.
  @_noLocks @inline(__always)
  private static func isPlain(_ word: UInt64) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    // Subtracting borrows into the top bit of a byte that is smaller than what is taken from it.
    let below0x20 = (word &- ones &* 0x20) & ~word
    let notDelete = word ^ ones &* 0x7f
    let isDelete = (notDelete &- ones) & ~notDelete
    return (below0x20 | isDelete) & tops == 0
  }

  /// Whether only the server may set this response field, since it frames the message or describes the server:
  /// Content-Length, Transfer-Encoding, Connection, Date, Server. In any case of letters.
  @_noLocks
  public static func isReserved(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    switch KnownHeader.recognize(name, count) {
    case .contentLength, .transferEncoding, .connection, .date, .server: true
    default: false
    }
  }
}
