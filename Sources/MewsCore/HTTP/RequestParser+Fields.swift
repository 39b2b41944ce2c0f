/// The header section: *( field-name ":" OWS field-value OWS CRLF ) CRLF (RFC 9112, 5).
extension RequestParser {
  @_noLocks @inline(__always)
  mutating func parseFields(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let limit = sectionStart &+ limits.headerBytes
    let end = min(count, limit)
    while true {
      if case .fieldName = phase {
        if start < end && base[start] == ASCII.carriageReturn { return endSection(base, end, limit, head) }
        let step = parseName(base, end, limit, head)
        guard case .done = step else { return step }
      }
      let step = parseValue(base, end, limit, head)
      guard case .done = step else { return step }
    }
  }

  /// More bytes are needed: they may come, or they would exceed the limit.
  @_noLocks @inline(__always)
  private mutating func needMore(at position: Int, _ end: Int, _ limit: Int) -> Step {
    end == limit ? fail(.fieldsTooLarge) : wait(at: position)
  }

  /// The empty line that ends the section.
  @_noLocks @inline(__always)
  private mutating func endSection(
    _ base: UnsafePointer<UInt8>, _ end: Int, _ limit: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if start &+ 1 >= end { return needMore(at: start, end, limit) }
    if base[start &+ 1] != ASCII.lineFeed { return fail(.invalidLineEnd) }
    position = start &+ 2
    return finishHead(head)
  }

  @_noLocks @inline(__always)
  private mutating func parseName(
    _ base: UnsafePointer<UInt8>, _ end: Int, _ limit: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let stop = ByteScanner.endOfToken(base, from: position, end: end)
    if stop == end { return needMore(at: stop, end, limit) }
    let length = stop &- start
    if base[stop] != ASCII.colon || length == 0 { return failName(base[stop], length) }
    if length > Int(UInt16.max) { return fail(.fieldsTooLarge) }
    let index = Int(head.pointee.headerCount)
    if index >= limits.headerCount { return fail(.tooManyFields) }
    var field = HeaderField()
    field.nameOffset = UInt32(truncatingIfNeeded: start)
    field.nameLength = UInt16(truncatingIfNeeded: length)
    field.known = KnownHeader.recognize(base + start, length)
    head.pointee.headers[index] = field
    beginElement(.fieldValue, at: stop &+ 1)
    return .done
  }

  @_noLocks
  private mutating func failName(_ byte: UInt8, _ length: Int) -> Step {
    if length == 0 && ASCII.isWhitespace(byte) { return fail(.foldedField) }
    return fail(byte == ASCII.lineFeed ? .invalidLineEnd : .invalidFieldName)
  }

  @_noLocks @inline(__always)
  private mutating func parseValue(
    _ base: UnsafePointer<UInt8>, _ end: Int, _ limit: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let stop = ByteScanner.endOfFieldValue(base, from: position, end: end)
    if stop >= end { return needMore(at: stop, end, limit) }
    if base[stop] != ASCII.carriageReturn {
      return fail(base[stop] == ASCII.lineFeed ? .invalidLineEnd : .invalidFieldValue)
    }
    if stop &+ 1 >= end { return needMore(at: stop, end, limit) }
    if base[stop &+ 1] != ASCII.lineFeed { return fail(.invalidLineEnd) }
    var first = start
    var last = stop
    while first < last && ASCII.isWhitespace(base[first]) { first &+= 1 }
    while last > first && ASCII.isWhitespace(base[last &- 1]) { last &-= 1 }
    let index = Int(head.pointee.headerCount)
    head.pointee.headers[index].valueOffset = UInt32(truncatingIfNeeded: first)
    head.pointee.headers[index].valueLength = UInt32(truncatingIfNeeded: last &- first)
    let known = head.pointee.headers[index].known
    beginElement(.fieldName, at: stop &+ 2)
    let step = interpret(known, base + first, last &- first, at: first, head)
    guard case .done = step else { return step }
    head.pointee.headerCount &+= 1
    return .done
  }
}
