/// The chunked decoder: the result depends neither on how the input is cut nor on how much room the output has.

private struct Decoded: Equatable {
  var payload: [UInt8] = []
  var consumed = 0
  var state = ChunkedResult.State.needsMore
  var error = RequestError.noError
}

private func decode(_ bytes: UnsafePointer<UInt8>, _ cuts: [Int], room: Int) -> Decoded {
  var decoder = ChunkedDecoder()
  var decoded = Decoded()
  let output = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
  defer { output.deallocate() }
  for cut in cuts {
    repeat {
      let count = cut - decoded.consumed
      let result = withCopy(bytes + decoded.consumed, count) { decoder.decode($0, count, into: output, room) }
      check(result.consumed >= 0 && result.consumed <= count, "consumed \(result.consumed) of \(count)")
      check(result.produced >= 0 && result.produced <= min(room, result.consumed), "produced \(result.produced)")
      check(result.state != .needsMore || result.consumed == count, "needs more with input left")
      check((result.state == .failed) == (result.error != .noError), "state and error disagree")
      decoded.payload += UnsafeBufferPointer(start: output, count: result.produced)
      decoded.consumed += result.consumed
      decoded.state = result.state
      decoded.error = result.error
    } while decoded.state == .outputFull
    if decoded.state != .needsMore { break }
  }
  return decoded
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  guard let bytes else { return 0 }
  let whole = decode(bytes, [count], room: max(count, 1))
  check(decode(bytes, cuts(bytes, count) + [count], room: 7) == whole, "differs in pieces")
  if count <= 256 { check(decode(bytes, Array(0...count), room: 1) == whole, "differs byte by byte") }
  withCopy(bytes, count) { memory in
    var decoder = ChunkedDecoder()
    let result = decoder.decode(memory, count, into: memory, count)
    let payload = Array(UnsafeBufferPointer(start: memory, count: result.produced))
    check(result.state == whole.state && payload == whole.payload, "differs in place")
  }
  return 0
}
