/// The characters that HTTP gives a meaning, under the names of the RFCs.
enum ASCII {
  static var horizontalTab: UInt8 { @_noLocks get { 0x09 } }
  static var lineFeed: UInt8 { @_noLocks get { 0x0a } }
  static var carriageReturn: UInt8 { @_noLocks get { 0x0d } }
  static var space: UInt8 { @_noLocks get { 0x20 } }
  static var doubleQuote: UInt8 { @_noLocks get { 0x22 } }
  static var percent: UInt8 { @_noLocks get { 0x25 } }
  static var ampersand: UInt8 { @_noLocks get { 0x26 } }
  static var asterisk: UInt8 { @_noLocks get { 0x2a } }
  static var plus: UInt8 { @_noLocks get { 0x2b } }
  static var comma: UInt8 { @_noLocks get { 0x2c } }
  static var dot: UInt8 { @_noLocks get { 0x2e } }
  static var slash: UInt8 { @_noLocks get { 0x2f } }
  static var zero: UInt8 { @_noLocks get { 0x30 } }
  static var colon: UInt8 { @_noLocks get { 0x3a } }
  static var semicolon: UInt8 { @_noLocks get { 0x3b } }
  static var equals: UInt8 { @_noLocks get { 0x3d } }
  static var questionMark: UInt8 { @_noLocks get { 0x3f } }
  static var openBracket: UInt8 { @_noLocks get { 0x5b } }
  static var backslash: UInt8 { @_noLocks get { 0x5c } }
  static var closeBracket: UInt8 { @_noLocks get { 0x5d } }
  static var delete: UInt8 { @_noLocks get { 0x7f } }

  @_noLocks @inline(__always)
  static func isDigit(_ byte: UInt8) -> Bool {
    byte &- zero < 10
  }

  /// SP or HTAB: one byte of the grammar's OWS and BWS (RFC 9110, 5.6.3).
  @_noLocks @inline(__always)
  static func isWhitespace(_ byte: UInt8) -> Bool {
    byte == space || byte == horizontalTab
  }

  /// The value of a hexadecimal digit in either case, or 255.
  @_noLocks @inline(__always)
  static func hexadecimalValue(_ byte: UInt8) -> UInt8 {
    let digit = byte &- zero
    if digit < 10 { return digit }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : 255
  }
}

extension UnsafePointer<UInt8> {
  /// Eight bytes as an integer whose lowest byte is the first.
  @_noLocks @inline(__always)
  func word64(at offset: Int) -> UInt64 {
    UInt64(littleEndian: UnsafeRawPointer(self).loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// Four bytes as an integer whose lowest byte is the first.
  @_noLocks @inline(__always)
  func word32(at offset: Int) -> UInt32 {
    UInt32(littleEndian: UnsafeRawPointer(self).loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// Whether the bytes here are a text of 4 to 8 characters, case included. Reads exactly as many bytes as the text
  /// has.
  @_noLocks @inline(__always)
  func equalsExactly(_ text: StaticString) -> Bool {
    let expected = text.utf8Start
    let last = text.utf8CodeUnitCount &- 4
    return word32(at: 0) == expected.word32(at: 0) && word32(at: last) == expected.word32(at: last)
  }

  /// Whether the bytes here are a text, in any case. Reads exactly as many bytes as the text has.
  ///
  /// Setting bit 5 makes ASCII letters lower case, and it maps no other character of a token onto a letter, a digit or
  /// a hyphen; so the answer is exact for tokens only.
  ///
  /// - Parameter text: 4 to 24 letters, digits and hyphens in lower case; a literal, so that it folds into constants.
  @_noLocks @inline(__always)
  func equalsToken(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    let expected = text.utf8Start
    if count < 8 {
      let fold: UInt32 = 0x2020_2020
      return (word32(at: 0) | fold) ^ expected.word32(at: 0)
        | (word32(at: count &- 4) | fold) ^ expected.word32(at: count &- 4) == 0
    }
    let fold: UInt64 = 0x2020_2020_2020_2020
    var difference = (word64(at: 0) | fold) ^ expected.word64(at: 0)
    if count > 16 { difference |= (word64(at: 8) | fold) ^ expected.word64(at: 8) }
    difference |= (word64(at: count &- 8) | fold) ^ expected.word64(at: count &- 8)
    return difference == 0
  }
}
