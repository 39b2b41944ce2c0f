/// Stops the fuzzer with a message.
func check(_ condition: Bool, _ message: @autoclosure () -> String, line: UInt = #line) {
  if !condition { fatalError("line \(line): \(message())") }
}

/// Runs a function on a copy of bytes of exactly their size, so that the address sanitizer sees what goes beyond them.
func withCopy<Result>(
  _ bytes: UnsafePointer<UInt8>, _ count: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Result
) -> Result {
  let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
  defer { copy.deallocate() }
  copy.update(from: bytes, count: count)
  return body(copy)
}

/// Where the input is cut, derived from it, so that a finding can be repeated: a few positions in rising order.
func cuts(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> [Int] {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for index in 0..<count { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
  return (0..<4).map { Int((hash >> (UInt64($0) * 16)) & 0xffff) % (count + 1) }.sorted()
}
