/// The header section: *( field-name ":" OWS field-value OWS CRLF ) CRLF (RFC 9112, 5).
extension RequestParser {
  /// The bytes that may be looked at now: up to the last one that came, or up to the limit of the section.
  struct Section {
    let base: UnsafePointer<UInt8>
    let end: Int
    /// No byte after `end` will be accepted.
    let isFull: Bool

    @_noLocks @inline(__always)
    init(base: UnsafePointer<UInt8>, count: Int, limit: Int) {
      self.base = base
      end = min(count, limit)
      isFull = count >= limit
    }
  }

  /// The field line that is being read. A local value of the loop, so that it stays in registers; it goes back into the
  /// parser when the bytes run out.
  struct FieldLine {
    /// Where the name starts; once that is read, the byte after the colon.
    var start: Int
    /// The first byte that was not examined.
    var position: Int
    var field: HeaderField

    @_noLocks @inline(__always)
    init(start: Int, position: Int, field: HeaderField) {
      self.start = start
      self.position = position
      self.field = field
    }
  }

  @_noLocks @inline(__always)
  mutating func parseFields(
    _ base: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let section = Section(base: base, count: count, limit: sectionStart &+ limits.headerBytes)
    var line = FieldLine(start: start, position: position, field: HeaderField())
    if case .fieldValue = phase {
      line.field = head.pointee.headers[Int(head.pointee.headerCount)]
      let step = parseValue(&line, section, head)
      guard case .done = step else { return step }
    }
    while line.start >= section.end || base[line.start] != ASCII.carriageReturn {
      var step = parseName(&line, section, head)
      guard case .done = step else { return step }
      step = parseValue(&line, section, head)
      guard case .done = step else { return step }
    }
    // The empty line that ends the section.
    if line.start &+ 1 >= section.end { return suspend(.fieldName, line, section) }
    if base[line.start &+ 1] != ASCII.lineFeed { return fail(.invalidLineEnd) }
    position = line.start &+ 2
    return finishHead(head)
  }

  /// Stops until more bytes come, or fails when no more are accepted.
  @_noLocks
  private mutating func suspend(_ phase: Phase, _ line: FieldLine, _ section: Section) -> Step {
    if section.isFull { return fail(.fieldsTooLarge) }
    self.phase = phase
    start = line.start
    position = line.position
    return .incomplete
  }

  @_noLocks @inline(__always)
  private mutating func parseName(
    _ line: inout FieldLine, _ section: Section, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let base = section.base
    line.position = ByteScanner.endOfToken(base, from: line.position, end: section.end)
    if line.position == section.end { return suspend(.fieldName, line, section) }
    let length = line.position &- line.start
    if base[line.position] != ASCII.colon || length == 0 { return failName(base[line.position], length) }
    if length > Int(UInt16.max) { return fail(.fieldsTooLarge) }
    if Int(head.pointee.headerCount) >= limits.headerCount { return fail(.tooManyFields) }
    line.field.nameOffset = UInt32(truncatingIfNeeded: line.start)
    line.field.nameLength = UInt16(truncatingIfNeeded: length)
    line.field.known = KnownHeader.recognize(base + line.start, length)
    line.position &+= 1
    line.start = line.position
    return .done
  }

  @_noLocks
  private mutating func failName(_ byte: UInt8, _ length: Int) -> Step {
    if length == 0 && ASCII.isWhitespace(byte) { return fail(.foldedField) }
    return fail(byte == ASCII.lineFeed ? .invalidLineEnd : .invalidFieldName)
  }

  @_noLocks @inline(__always)
  private mutating func parseValue(
    _ line: inout FieldLine, _ section: Section, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    let base = section.base
    line.position = ByteScanner.endOfFieldValue(base, from: line.position, end: section.end)
    let stop = line.position
    if stop &+ 1 >= section.end { return failOrSuspendValue(line, section, head) }
    if base[stop] != ASCII.carriageReturn || base[stop &+ 1] != ASCII.lineFeed { return failValue(base[stop]) }
    var first = line.start
    var last = stop
    while first < last && ASCII.isWhitespace(base[first]) { first &+= 1 }
    while last > first && ASCII.isWhitespace(base[last &- 1]) { last &-= 1 }
    line.field.valueOffset = UInt32(truncatingIfNeeded: first)
    line.field.valueLength = UInt32(truncatingIfNeeded: last &- first)
    head.pointee.headers[Int(head.pointee.headerCount)] = line.field
    let step = interpret(line.field.known, base, first, last, head)
    guard case .done = step else { return step }
    head.pointee.headerCount &+= 1
    line.start = stop &+ 2
    line.position = line.start
    return .done
  }

  /// The line feed that ends the value is not there yet.
  @_noLocks
  private mutating func failOrSuspendValue(
    _ line: FieldLine, _ section: Section, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if line.position < section.end && section.base[line.position] != ASCII.carriageReturn {
      return failValue(section.base[line.position])
    }
    head.pointee.headers[Int(head.pointee.headerCount)] = line.field
    return suspend(.fieldValue, line, section)
  }

  /// - Parameter byte: the first byte that does not belong to the value.
  @_noLocks
  private mutating func failValue(_ byte: UInt8) -> Step {
    let isLineEnd = byte == ASCII.carriageReturn || byte == ASCII.lineFeed
    return fail(isLineEnd ? .invalidLineEnd : .invalidFieldValue)
  }
}
