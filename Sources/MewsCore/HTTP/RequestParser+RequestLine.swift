/// The request line: method SP request-target SP HTTP-version CRLF (RFC 9112, 3).
extension RequestParser {
  /// The bytes after the target: " HTTP/1.1".
  private static var versionRoom: Int { 9 }

  @_noLocks @inline(__always)
  mutating func parseRequestLine(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if case .method = phase {
      head.pointee.reset()
      let step = parseMethod(base, count, head)
      guard case .done = step else { return step }
    }
    if case .target = phase {
      let step = parseTarget(base, count, head)
      guard case .done = step else { return step }
    }
    let step = parseVersion(base, count, head)
    guard case .done = step else { return step }
    return classifyTarget(base, count, head)
  }

  @_noLocks @inline(__always)
  private mutating func parseMethod(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if position == start && count &- start >= 4 && limits.method >= 3 && (base + start).equalsExactly("GET ") {
      return endMethod(.get, length: 3, head)
    }
    if position == start {
      // Servers should skip an empty line that a client sent after the last body (RFC 9112, 2.2); more than two are an
      // attack.
      while start < count && base[start] == ASCII.carriageReturn {
        if start &+ 1 == count { return wait(at: start) }
        if base[start &+ 1] != ASCII.lineFeed { return fail(.invalidLineEnd) }
        if emptyLines == 2 { return fail(.tooManyEmptyLines) }
        emptyLines &+= 1
        start &+= 2
      }
      position = start
    }
    let limit = start &+ limits.method &+ 1
    let end = min(count, limit)
    position = ByteScanner.endOfToken(base, from: position, end: end)
    if position == end { return end == limit ? fail(.methodTooLong) : .incomplete }
    if base[position] != ASCII.space || position == start { return fail(.invalidMethod) }
    let length = position &- start
    return endMethod(Self.recognizeMethod(base + start, length), length: length, head)
  }

  /// The method is read, and the space after it.
  @_noLocks @inline(__always)
  private mutating func endMethod(_ method: Method, length: Int, _ head: UnsafeMutablePointer<RequestHead>) -> Step {
    head.pointee.methodOffset = UInt32(truncatingIfNeeded: start)
    head.pointee.methodLength = UInt32(truncatingIfNeeded: length)
    head.pointee.method = method
    sectionStart = start
    beginElement(.target, at: start &+ length &+ 1)
    return .done
  }

  /// Methods are case-sensitive (RFC 9110, 9.1).
  @_noLocks @inline(__always)
  private static func recognizeMethod(_ name: UnsafePointer<UInt8>, _ count: Int) -> Method {
    switch count {
    case 3:
      if name.equalsExactly("GET ") { return .get }
      if name.equalsExactly("PUT ") { return .put }
    case 4:
      if name.equalsExactly("POST") { return .post }
      if name.equalsExactly("HEAD") { return .head }
    case 5:
      if name.equalsExactly("PATCH") { return .patch }
      if name.equalsExactly("TRACE") { return .trace }
    case 6:
      if name.equalsExactly("DELETE") { return .delete }
    case 7:
      if name.equalsExactly("OPTIONS") { return .options }
      if name.equalsExactly("CONNECT") { return .connect }
    default:
      break
    }
    return .other
  }

  @_noLocks @inline(__always)
  private mutating func parseTarget(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    // The space after the longest target that fits is the last byte to look at.
    let limit = sectionStart &+ limits.requestLine &- Self.versionRoom &+ 1
    let end = min(count, limit)
    position = ByteScanner.endOfTarget(base, from: position, end: end)
    if position >= end { return end == limit ? fail(.targetTooLong) : .incomplete }
    let stop = base[position]
    if stop != ASCII.space {
      // "GET /" with nothing more is HTTP/0.9.
      return fail(stop == ASCII.carriageReturn || stop == ASCII.lineFeed ? .invalidVersion : .invalidTarget)
    }
    if position == start { return fail(.invalidTarget) }
    head.pointee.targetOffset = UInt32(truncatingIfNeeded: start)
    head.pointee.targetLength = UInt32(truncatingIfNeeded: position &- start)
    beginElement(.version, at: position &+ 1)
    return .done
  }

  @_noLocks @inline(__always)
  private mutating func parseVersion(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let length = 10
    if count &- start < length || base.word64(at: start) != StaticString("HTTP/1.1").utf8Start.word64(at: 0)
      || base[start &+ 8] != ASCII.carriageReturn || base[start &+ 9] != ASCII.lineFeed
    {
      return parseOtherVersion(base, count, head)
    }
    head.pointee.versionMinor = 1
    beginFields(at: start &+ length)
    return .done
  }

  /// Any version but a complete "HTTP/1.1": looks at each byte, so that a wrong one is refused before the rest arrives.
  @_noLocks
  private mutating func parseOtherVersion(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let version = base + start
    let available = min(count &- start, 10)
    let name = StaticString("HTTP/").utf8Start
    for index in 0..<max(available, 0) {
      let byte = version[index]
      switch index {
      case 0..<5:
        if byte != name[index] { return fail(.invalidVersion) }
      case 5, 7:
        if !ASCII.isDigit(byte) { return fail(.invalidVersion) }
      case 6:
        if byte != ASCII.dot { return fail(.invalidVersion) }
      case 8:
        if byte != ASCII.carriageReturn { return fail(byte == ASCII.lineFeed ? .invalidLineEnd : .invalidVersion) }
      default:
        if byte != ASCII.lineFeed { return fail(.invalidLineEnd) }
      }
    }
    if available < 10 { return .incomplete }
    let major = version[5] &- ASCII.zero
    let minor = version[7] &- ASCII.zero
    if major != 1 || minor > 1 { return fail(.unsupportedVersion) }
    head.pointee.versionMinor = minor
    head.pointee.keepAlive = minor == 1
    beginFields(at: start &+ 10)
    return .done
  }

  @_noLocks @inline(__always)
  private mutating func beginFields(at offset: Int) {
    sectionStart = offset
    beginElement(.fieldName, at: offset)
  }

  @_noLocks @inline(__always)
  mutating func beginElement(_ phase: Phase, at offset: Int) {
    self.phase = phase
    start = offset
    position = offset
  }
}
