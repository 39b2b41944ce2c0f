import CMewsShims

/// The four forms of the request target (RFC 9112, 3.2), told apart once the whole request line is there.
extension RequestParser {
  @_noLocks @inline(__always)
  mutating func classifyTarget(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let start = Int(head.pointee.targetOffset)
    let end = start &+ Int(head.pointee.targetLength)
    if base[start] == ASCII.slash {
      if case .connect = head.pointee.method { return fail(.invalidTargetForm) }
      head.pointee.form = .origin
      Self.splitPath(base, count, head, from: start, to: end)
      return .done
    }
    return classifyOtherTarget(base, count, head, start, end)
  }

  @_noLocks
  private mutating func classifyOtherTarget(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>, _ start: Int, _ end: Int
  ) -> Step {
    if case .connect = head.pointee.method {
      if !Authority.isValid(base, from: start, to: end, hostRequired: true, portRequired: true) {
        return fail(.invalidTargetForm)
      }
      head.pointee.form = .authority
      head.pointee.pathIsImplied = true
      setAuthority(head, start, end)
      return .done
    }
    if base[start] == ASCII.asterisk && end &- start == 1 {
      guard case .options = head.pointee.method else { return fail(.invalidTargetForm) }
      head.pointee.form = .asterisk
      head.pointee.pathIsImplied = true
      return .done
    }
    let schemeLength = Self.schemeLength(base + start, end &- start)
    if schemeLength == 0 { return fail(.invalidTargetForm) }
    let authorityStart = start &+ schemeLength
    var authorityEnd = authorityStart
    while authorityEnd < end && base[authorityEnd] != ASCII.slash && base[authorityEnd] != ASCII.questionMark {
      authorityEnd &+= 1
    }
    if !Authority.isValid(base, from: authorityStart, to: authorityEnd, hostRequired: true) {
      return fail(.invalidAuthority)
    }
    head.pointee.form = .absolute
    setAuthority(head, authorityStart, authorityEnd)
    Self.splitPath(base, count, head, from: authorityEnd, to: end)
    return .done
  }

  /// The length of "http://" or "https://", in any case; 0 for any other scheme.
  @_noLocks
  private static func schemeLength(_ target: UnsafePointer<UInt8>, _ count: Int) -> Int {
    if count < 8 || !target.equalsToken("http") { return 0 }
    let length = target[4] | 0x20 == UInt8(ascii: "s") ? 8 : 7
    let colon = target + (length &- 3)
    return colon[0] == ASCII.colon && colon[1] == ASCII.slash && colon[2] == ASCII.slash ? length : 0
  }

  @_noLocks
  private func setAuthority(_ head: UnsafeMutablePointer<RequestHead>, _ start: Int, _ end: Int) {
    head.pointee.authorityOffset = UInt32(truncatingIfNeeded: start)
    head.pointee.authorityLength = UInt32(truncatingIfNeeded: end &- start)
  }

  /// Splits path and query at the first "?", and finds out whether the path is plain.
  @_noLocks @inline(__always)
  private static func splitPath(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>, from start: Int, to end: Int
  ) {
    let split = findQuery(base, count, from: start, to: end)
    head.pointee.pathOffset = UInt32(truncatingIfNeeded: start)
    head.pointee.pathLength = UInt32(truncatingIfNeeded: split.pathEnd &- start)
    head.pointee.pathIsPlain = split.isPlain
    head.pointee.pathIsImplied = split.pathEnd == start
    if split.pathEnd < end {
      head.pointee.hasQuery = true
      head.pointee.queryOffset = UInt32(truncatingIfNeeded: split.pathEnd &+ 1)
      head.pointee.queryLength = UInt32(truncatingIfNeeded: end &- split.pathEnd &- 1)
    }
  }

  /// Where the path ends, and whether it has no "%" and no slash before a slash or a dot.
  @_noLocks @inline(__always)
  private static func findQuery(
    _ base: UnsafePointer<UInt8>, _ count: Int, from start: Int, to end: Int
  ) -> (pathEnd: Int, isPlain: Bool) {
    var position = start
    var isPlain = true
    var afterSlash: UInt32 = 0
    // The vector may reach past the target into the rest of the request line, which is there too.
    while position < end && position &+ 16 <= count {
      let bytes = base + position
      let remaining = end &- position
      var inPath: UInt32 = remaining >= 16 ? 0xffff : (1 << UInt32(truncatingIfNeeded: remaining)) &- 1
      let question = shim_mask_equal(bytes, ASCII.questionMark) & inPath
      if question != 0 { inPath = (question & (0 &- question)) &- 1 }
      let slash = shim_mask_equal(bytes, ASCII.slash)
      let special = ((slash << 1) | afterSlash) & (slash | shim_mask_equal(bytes, ASCII.dot))
      if (special | shim_mask_equal(bytes, ASCII.percent)) & inPath != 0 { isPlain = false }
      if question != 0 { return (position &+ question.trailingZeroBitCount, isPlain) }
      afterSlash = (slash >> 15) & 1
      position &+= 16
    }
    var previous: UInt8 = afterSlash != 0 ? ASCII.slash : 0
    while position < end && base[position] != ASCII.questionMark {
      let byte = base[position]
      if byte == ASCII.percent || (previous == ASCII.slash && (byte == ASCII.slash || byte == ASCII.dot)) {
        isPlain = false
      }
      previous = byte
      position &+= 1
    }
    return (min(position, end), isPlain)
  }
}
