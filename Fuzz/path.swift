/// Paths and queries: a normal path has no dot segments, and nothing is written outside of the room.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  guard let bytes else { return 0 }
  checkPath(bytes, count)
  checkQuery(bytes, count)
  return 0
}

private func checkPath(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
  let room = max(count, 1)
  withCopy(bytes, count) { path in
    let output = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
    defer { output.deallocate() }
    let length = PathNormalizer.normalize(path, count, into: output)
    check(length == -1 || (1...room).contains(length), "length \(length)")
    guard length > 0 else { return }
    let normal = Array(UnsafeBufferPointer(start: output, count: length))
    check(normal.first == 0x2f, "no slash at the start")
    for segment in normal.split(separator: 0x2f, omittingEmptySubsequences: false) {
      check(segment != [0x2e] && segment != [0x2e, 0x2e], "a dot segment is left")
    }
    if count > 0 {
      check(PathNormalizer.normalize(path, count, into: path) == length, "differs in place")
      check(Array(UnsafeBufferPointer(start: path, count: length)) == normal, "differs in place")
    }
  }
}

private func checkQuery(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
  withCopy(bytes, count) { query in
    func decode(_ offset: Int, _ length: Int) -> [UInt8] {
      check(offset >= 0 && length >= 0 && offset + length <= count, "outside of the query")
      var output = [UInt8](repeating: 0, count: length)
      let decodedLength = withCopy(query + offset, length) { QueryDecoder.decode($0, length, into: &output) }
      check(decodedLength <= length, "longer than its code")
      return Array(output.prefix(decodedLength))
    }
    var decoder = QueryDecoder(count: count)
    var firsts: [[UInt8]: QueryPair] = [:]
    while let pair = decoder.next(query) {
      let name = decode(pair.nameOffset, pair.nameLength)
      _ = decode(pair.valueOffset, pair.valueLength)
      if firsts[name] == nil { firsts[name] = pair }
    }
    for (name, pair) in firsts.prefix(16) {
      check(QueryDecoder.find(query, count, name, name.count) == pair, "another pair is found")
    }
  }
}
