/// The request parser: the result does not depend on how the bytes are cut, and what it says lies within the bytes.

private func makeHead() -> UnsafeMutablePointer<RequestHead> {
  let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
  head.initialize(to: RequestHead())
  return head
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  guard let bytes else { return 0 }
  let limits = RequestLimits(requestLine: 512, method: 16, headerBytes: 2048, headerCount: 20)
  let whole = makeHead()
  let pieces = makeHead()
  defer {
    whole.deallocate()
    pieces.deallocate()
  }
  var parser = RequestParser(limits: limits)
  let result = withCopy(bytes, count) { parser.parse($0, count, into: whole) }
  if result.isComplete { checkHead(whole, bytes, result.consumed) }

  checkPieces(cuts(bytes, count) + [count], bytes, limits, result, whole, pieces)
  if count <= 256 { checkPieces(Array(0...count), bytes, limits, result, whole, pieces) }
  return 0
}

/// Parses again with the bytes coming in pieces, and compares.
private func checkPieces(
  _ counts: [Int], _ bytes: UnsafePointer<UInt8>, _ limits: RequestLimits, _ expected: ParseResult,
  _ whole: UnsafeMutablePointer<RequestHead>, _ pieces: UnsafeMutablePointer<RequestHead>
) {
  var parser = RequestParser(limits: limits)
  var result = ParseResult.incomplete
  for count in counts {
    result = withCopy(bytes, count) { parser.parse($0, count, into: pieces) }
    if !result.isIncomplete { break }
  }
  check(result == expected, "\(result) is not \(expected), cut at \(counts)")
  if result.isComplete { check(describe(whole) == describe(pieces), "the heads differ, cut at \(counts)") }
}

private func describe(_ head: UnsafeMutablePointer<RequestHead>) -> String {
  let value = head.pointee
  let fields = (0..<Int(value.headerCount)).map { "\(value.headers[$0])" }
  return
    "\(value.method) \(value.form) \(value.versionMinor) \(value.hasQuery) \(value.pathIsPlain) \(value.pathIsImplied)"
    + " \(value.isChunked) \(value.keepAlive) \(value.expectsContinue) \(value.upgrade) \(value.methodOffset)"
    + " \(value.methodLength) \(value.targetOffset) \(value.targetLength) \(value.pathOffset) \(value.pathLength)"
    + " \(value.queryOffset) \(value.queryLength) \(value.authorityOffset) \(value.authorityLength) \(value.hostIndex)"
    + " \(value.contentLength) \(fields)"
}

private func checkHead(_ head: UnsafeMutablePointer<RequestHead>, _ bytes: UnsafePointer<UInt8>, _ consumed: Int) {
  func slice(_ offset: UInt32, _ length: UInt32) -> [UInt8] {
    check(Int(offset) + Int(length) <= consumed, "outside of the head")
    return Array(UnsafeBufferPointer(start: bytes + Int(offset), count: Int(length)))
  }
  let value = head.pointee
  let text = slice(0, UInt32(consumed))
  check(text.suffix(4) == Array("\r\n\r\n".utf8)[...], "no empty line at the end")
  for (index, byte) in text.enumerated() {
    let isCarriageReturn = byte == 0x0d
    let precedesLineFeed = index + 1 < consumed && text[index + 1] == 0x0a
    check(isCarriageReturn == precedesLineFeed || byte == 0x0a, "a bare CR or LF")
    check(byte >= 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a, "a control character")
  }
  let target = slice(value.targetOffset, value.targetLength)
  let path = slice(value.pathOffset, value.pathLength)
  check(!slice(value.methodOffset, value.methodLength).isEmpty && !target.isEmpty, "an empty method or target")
  check(!(value.isChunked && value.contentLength >= 0), "two framings")
  check(value.versionMinor == 0 || value.hostIndex >= 0, "no Host")
  _ = slice(value.queryOffset, value.queryLength)
  _ = slice(value.authorityOffset, value.authorityLength)
  for index in 0..<Int(value.headerCount) {
    let field = value.headers[index]
    let name = slice(field.nameOffset, UInt32(field.nameLength))
    let content = slice(field.valueOffset, field.valueLength)
    check(FieldSyntax.isToken(name, name.count), "a name that is no token")
    check(FieldSyntax.isFieldValue(content, content.count), "a value that is none")
    check(content.first != 0x20 && content.last != 0x20 && content.first != 9 && content.last != 9, "white space")
  }
  if value.form == .origin || value.form == .absolute { checkPath(path, isPlain: value.pathIsPlain) }
}

/// A plain path is its own normal form.
private func checkPath(_ path: [UInt8], isPlain: Bool) {
  var normal = [UInt8](repeating: 0, count: max(path.count, 1))
  let length = PathNormalizer.normalize(path, path.count, into: &normal)
  if isPlain && !path.isEmpty { check(length == path.count && normal == path, "a plain path is not normal") }
}
