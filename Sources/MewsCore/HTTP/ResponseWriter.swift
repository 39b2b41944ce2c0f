/// Writes the parts of a response head (RFC 9112, 4 and 5) into memory that the caller has room in. Each function
/// returns how many bytes it wrote and checks no names or values; `FieldSyntax` does.
public enum ResponseWriter {
  /// No status line is longer.
  public static var maximumStatusLine: Int { @_noLocks get { 48 } }
  /// No decimal number is longer.
  public static var maximumDecimal: Int { @_noLocks get { 20 } }
  /// What a header field takes beside its name and value: ": " and CR LF.
  public static var headerOverhead: Int { @_noLocks get { 4 } }

  /// Whether a response with this status may have a body (RFC 9110, 6.4.1); to HEAD none has.
  @_noLocks
  public static func statusAllowsBody(_ status: Int) -> Bool {
    status >= 200 && status != 204 && status != 304
  }

  /// Writes "HTTP/1.1 404 Not Found" and CR LF; a status that is not registered gets an empty reason.
  ///
  /// - Parameters:
  ///   - status: 100 to 999; anything else is written as 500.
  ///   - output: has room for `maximumStatusLine` bytes.
  @_noLocks @inlinable @inline(__always)
  public static func writeStatusLine(_ status: Int, to output: UnsafeMutablePointer<UInt8>) -> Int {
    // A literal that is known here is two stores, and nearly all responses have this one.
    if status == 200 { return writeText("HTTP/1.1 200 OK\r\n", to: output) }
    return writeOtherStatusLine(status, to: output)
  }

  @_noLocks @usableFromInline @inline(never)
  static func writeOtherStatusLine(_ status: Int, to output: UnsafeMutablePointer<UInt8>) -> Int {
    let text = StatusLine.text(status)
    if text.utf8CodeUnitCount != 0 { return writeText(text, to: output) }
    if status < 100 || status > 999 { return writeOtherStatusLine(500, to: output) }
    var length = writeText("HTTP/1.1 ", to: output)
    length &+= writeDecimal(UInt64(truncatingIfNeeded: status), to: output + length)
    return length &+ writeText(" \r\n", to: output + length)
  }

  /// Writes a number in decimal digits. `output` has room for `maximumDecimal` bytes.
  @_noLocks
  public static func writeDecimal(_ value: UInt64, to output: UnsafeMutablePointer<UInt8>) -> Int {
    let length = decimalLength(value)
    var position = length
    var rest = value
    while rest >= 100 {
      let (quotient, pair) = rest.quotientAndRemainder(dividingBy: 100)
      position &-= 2
      writePair(pair, to: output + position)
      rest = quotient
    }
    if rest >= 10 {
      writePair(rest, to: output)
    } else {
      output[0] = ASCII.zero &+ UInt8(truncatingIfNeeded: rest)
    }
    return length
  }

  /// Writes "name: value" and CR LF.
  ///
  /// - Parameter output: has room for both and `headerOverhead` bytes.
  @_noLocks
  public static func writeHeader(
    _ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafePointer<UInt8>, _ valueCount: Int,
    to output: UnsafeMutablePointer<UInt8>
  ) -> Int {
    UnsafeMutableRawPointer(output).copyMemory(from: name, byteCount: nameCount)
    output[nameCount] = ASCII.colon
    output[nameCount &+ 1] = ASCII.space
    let end = nameCount &+ 2 &+ valueCount
    UnsafeMutableRawPointer(output + nameCount + 2).copyMemory(from: value, byteCount: valueCount)
    output[end] = ASCII.carriageReturn
    output[end &+ 1] = ASCII.lineFeed
    return end &+ 2
  }

  /// Writes a literal as it is: "Server: mews\r\n". `output` has room for its bytes.
  @_noLocks @inlinable @inline(__always)
  public static func writeText(_ text: StaticString, to output: UnsafeMutablePointer<UInt8>) -> Int {
    let count = text.utf8CodeUnitCount
    UnsafeMutableRawPointer(output).copyMemory(from: text.utf8Start, byteCount: count)
    return count
  }

  /// How many decimal digits a number has.
  @_noLocks
  public static func decimalLength(_ value: UInt64) -> Int {
    var length = 1
    var bound: UInt64 = 10
    while value >= bound {
      length &+= 1
      if length == 20 { break }
      bound &*= 10
    }
    return length
  }

  /// Two digits; `value` is below 100.
  @_noLocks @inline(__always)
  static func writePair(_ value: UInt64, to output: UnsafeMutablePointer<UInt8>) {
    let (tens, ones) = value.quotientAndRemainder(dividingBy: 10)
    output[0] = ASCII.zero &+ UInt8(truncatingIfNeeded: tens)
    output[1] = ASCII.zero &+ UInt8(truncatingIfNeeded: ones)
  }
}
