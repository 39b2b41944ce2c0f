/// Brings the path of a request target into the one form that routes are compared with.
public enum PathNormalizer {
  /// Decodes percent triplets and removes dot segments (RFC 3986, 6.2.2 and 5.2.4), encoded dots included. "%2F"
  /// stays, in upper case, so that the number of segments is the one the client sent; empty segments stay too. ".." at
  /// the root stays at the root. The result is never longer than the path, and need not be UTF-8: any byte but NUL can
  /// be encoded.
  ///
  /// - Parameters:
  ///   - path: the path as sent, without its query; empty means "/".
  ///   - output: has room for `count` bytes and at least one. It may be the same memory as the path.
  /// - Returns: the length of the result, at least 1; or -1 when the path does not start with a slash, or holds a
  ///   percent sign without two hexadecimal digits or an encoded NUL.
  @_noLocks
  public static func normalize(
    _ path: UnsafePointer<UInt8>, _ count: Int, into output: UnsafeMutablePointer<UInt8>
  ) -> Int {
    if count == 0 {
      output[0] = ASCII.slash
      return 1
    }
    if path[0] != ASCII.slash { return -1 }
    output[0] = ASCII.slash
    var length = 1
    var segmentStart = 1
    var position = 1
    while position < count {
      let byte = path[position]
      position &+= 1
      if byte == ASCII.slash {
        let kept = lengthWithoutDotSegment(output, segmentStart, length)
        if kept == length {
          output[length] = ASCII.slash
          length &+= 1
        } else {
          length = kept
        }
        segmentStart = length
      } else if byte == ASCII.percent {
        let decoded = PercentCoding.decode(path + position, count &- position)
        if decoded <= 0 { return -1 }
        position &+= 2
        if decoded == Int(ASCII.slash) {
          output[length] = ASCII.percent
          output[length &+ 1] = 0x32
          output[length &+ 2] = 0x46
          length &+= 3
        } else {
          output[length] = UInt8(truncatingIfNeeded: decoded)
          length &+= 1
        }
      } else {
        output[length] = byte
        length &+= 1
      }
    }
    return lengthWithoutDotSegment(output, segmentStart, length)
  }

  /// When the last segment of the output is "." or "..": the length without it, and without the segment before it for
  /// "..". The output then ends in the slash that comes before the removed segment. Else: the length.
  @_noLocks @inline(__always)
  private static func lengthWithoutDotSegment(
    _ output: UnsafeMutablePointer<UInt8>, _ segmentStart: Int, _ length: Int
  ) -> Int {
    let count = length &- segmentStart
    if count == 0 || count > 2 || output[segmentStart] != ASCII.dot { return length }
    if count == 1 { return segmentStart }
    if output[segmentStart &+ 1] != ASCII.dot { return length }
    if segmentStart == 1 { return 1 }
    var end = segmentStart &- 1
    while output[end &- 1] != ASCII.slash { end &-= 1 }
    return end
  }
}

/// Percent triplets (RFC 3986, 2.1).
enum PercentCoding {
  /// The byte that the two hexadecimal digits after a percent sign stand for; -1 when there are no two.
  @_noLocks @inline(__always)
  static func decode(_ digits: UnsafePointer<UInt8>, _ count: Int) -> Int {
    if count < 2 { return -1 }
    let high = ASCII.hexadecimalValue(digits[0])
    let low = ASCII.hexadecimalValue(digits[1])
    return high | low > 15 ? -1 : Int(high << 4 | low)
  }
}
