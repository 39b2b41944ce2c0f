/// The syntax of a host with an optional port: the Host field and the authority of a request target (RFC 9110, 4.2 and
/// 7.2; RFC 3986, 3.2). User information is refused, since it has no place in a request (RFC 9110, 4.2.4).
enum Authority {
  /// Whether the bytes are a host, or host ":" port. An empty host counts only without a port, and not when one is
  /// required.
  ///
  /// - Parameter base: all bytes before `end` are readable.
  @_noLocks
  static func isValid(
    _ base: UnsafePointer<UInt8>, from start: Int, to end: Int, hostRequired: Bool = false, portRequired: Bool = false
  ) -> Bool {
    if start == end { return !hostRequired && !portRequired }
    let hostEnd = base[start] == ASCII.openBracket ? endOfLiteral(base, start, end) : endOfName(base, start, end)
    if hostEnd <= start { return false }
    if hostEnd == end { return !portRequired }
    if base[hostEnd] != ASCII.colon { return false }
    let portStart = hostEnd &+ 1
    if portStart == end { return !portRequired }
    return isPort(base + portStart, end &- portStart)
  }

  /// The end of a registered name or an IPv4 address; -1 when a percent sign has no two digits after it.
  @_noLocks @inline(__always)
  private static func endOfName(_ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
    var position = ByteScanner.endOfCommonHost(base, from: start, end: end)
    while position < end && base[position] != ASCII.colon {
      if base[position] == ASCII.percent {
        position &+= 1
        if PercentCoding.decode(base + position, end &- position) < 0 { return -1 }
        position &+= 2
      } else if isNameCharacter(base[position]) {
        position &+= 1
      } else {
        break
      }
    }
    return position
  }

  /// Unreserved characters and sub-delims without the comma: a Host field is not a list.
  @_noLocks @inline(__always)
  private static func isNameCharacter(_ byte: UInt8) -> Bool {
    // A bit for each character from 0x00 to 0x3f, and from 0x40 to 0x7f.
    let low: UInt64 = 0x2bff_6fd2_0000_0000
    let high: UInt64 = 0x47ff_fffe_87ff_fffe
    let bits = byte < 0x40 ? low : high
    return byte < 0x80 && (bits >> UInt64(byte & 0x3f)) & 1 != 0
  }

  @_noLocks
  private static func isPort(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    if count > 5 { return false }
    var port = 0
    for index in 0..<count {
      if !ASCII.isDigit(bytes[index]) { return false }
      port = port &* 10 &+ Int(bytes[index] &- ASCII.zero)
    }
    return port <= 65535
  }

  /// The position after the closing bracket of an IPv6 address; -1 when it is malformed. IPvFuture is refused: there
  /// is none.
  @_noLocks
  private static func endOfLiteral(_ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
    // The longest address has eight groups, the last two as an IPv4 address: 45 characters.
    let first = start &+ 1
    var position = first
    while position < end && position &- first <= 45 && base[position] != ASCII.closeBracket { position &+= 1 }
    if position >= end || base[position] != ASCII.closeBracket { return -1 }
    return isIPv6(base + first, position &- first) ? position &+ 1 : -1
  }

  /// RFC 3986, 3.2.2: eight groups of up to four hexadecimal digits; one "::" stands for one group or more that are
  /// zero; the last two groups may be an IPv4 address.
  @_noLocks
  private static func isIPv6(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    var groups = 0
    var isCompressed = false
    var position = 0
    if count >= 2 && bytes[0] == ASCII.colon && bytes[1] == ASCII.colon {
      isCompressed = true
      position = 2
    }
    while position < count {
      let groupStart = position
      while position < count && ASCII.hexadecimalValue(bytes[position]) <= 15 { position &+= 1 }
      if position < count && bytes[position] == ASCII.dot {
        groups &+= 2
        return isIPv4(bytes + groupStart, count &- groupStart) && (isCompressed ? groups < 8 : groups == 8)
      }
      if position == groupStart || position &- groupStart > 4 { return false }
      groups &+= 1
      if position == count { break }
      if bytes[position] != ASCII.colon { return false }
      position &+= 1
      if position == count { return false }
      if bytes[position] == ASCII.colon {
        if isCompressed { return false }
        isCompressed = true
        position &+= 1
      }
    }
    return isCompressed ? groups < 8 : groups == 8
  }

  /// Four numbers from 0 to 255 without leading zeros.
  @_noLocks
  private static func isIPv4(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    var position = 0
    for part in 0..<4 {
      let partStart = position
      var value = 0
      while position < count && position &- partStart < 3 && ASCII.isDigit(bytes[position]) {
        value = value &* 10 &+ Int(bytes[position] &- ASCII.zero)
        position &+= 1
      }
      let length = position &- partStart
      if length == 0 || value > 255 || (length > 1 && bytes[partStart] == ASCII.zero) { return false }
      if part == 3 { return position == count }
      if position == count || bytes[position] != ASCII.dot { return false }
      position &+= 1
    }
    return false
  }
}
