import Testing

@testable import MewsCore

/// What became of a chunked body.
private struct DecodedBody: Equatable {
  var payload: [UInt8] = []
  var consumed = 0
  var state = ChunkedResult.State.needsMore
  var error = RequestError.noError
}

/// Decodes a body that comes in pieces into an output with little room, both of which end at an unreadable page.
///
/// - Parameter cuts: where the input is cut, in rising order.
private func decode(_ body: [UInt8], cuts: [Int] = [], room: Int = 1 << 16) -> DecodedBody {
  var decoder = ChunkedDecoder()
  var decoded = DecodedBody()
  let inputMemory = GuardedBytes(capacity: body.count)
  let outputMemory = GuardedBytes(capacity: room)
  for cut in cuts + [body.count] {
    repeat {
      let input = inputMemory.place(body[decoded.consumed..<cut])
      let output = outputMemory.room(room)
      let result = decoder.decode(input, cut - decoded.consumed, into: output, room)
      decoded.payload += UnsafeBufferPointer(start: output, count: result.produced)
      decoded.consumed += result.consumed
      decoded.state = result.state
      decoded.error = result.error
    } while decoded.state == .outputFull
    if decoded.state != .needsMore { break }
  }
  return decoded
}

private func decode(_ body: String) -> DecodedBody { decode(Array(body.utf8)) }

/// A body that is complete, and its payload.
struct AcceptedBody: CustomStringConvertible, Sendable {
  let body: String
  let payload: String
  var description: String { body.debugDescription }

  init(_ body: String, _ payload: String) {
    self.body = body
    self.payload = payload
  }
}

private let acceptedBodies: [AcceptedBody] = [
  .init("0\r\n\r\n", ""),
  .init("000\r\n\r\n", ""),
  .init("5\r\nhello\r\n0\r\n\r\n", "hello"),
  .init("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
  .init("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", "hello, world"),
  .init("A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "0123456789\r\n\r\n\r\n\r\n\r\n"),
  .init("1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", "abcdefghijklmnopqrstuvwxyz"),
  .init("5;a\r\nhello\r\n0;b\r\n\r\n", "hello"),
  .init("5;a=b;c=d\r\nhello\r\n0\r\n\r\n", "hello"),
  .init("5 ; a = b ;\tc\t=\t\"d\"\r\nhello\r\n0\r\n\r\n", "hello"),
  .init("5;a=\"b;c\\\"d\\\\ \t\u{e9}\"\r\nhello\r\n0\r\n\r\n", "hello"),
  .init("5;a=\"\";b\r\nhello\r\n0\r\n\r\n", "hello"),
  .init("0\r\nX: y\r\n\r\n", ""),
  .init("0\r\nX:\r\nY-Z_:  a b\t\u{e9} \r\n\r\n", ""),
]

private let refusedBodies: [RefusedRequest] = [
  .init("\r\n", .invalidChunkSize),
  .init(" 5\r\nhello\r\n", .invalidChunkSize),
  .init("+5\r\nhello\r\n", .invalidChunkSize),
  .init("-5\r\nhello\r\n", .invalidChunkSize),
  .init("0x5\r\nhello\r\n", .invalidChunkSize),
  .init("5_\r\nhello\r\n", .invalidChunkSize),
  .init("g\r\n", .invalidChunkSize),
  .init("\u{0}", .invalidChunkSize),
  .init(";a\r\n", .invalidChunkSize),
  .init("5\nhello\r\n", .invalidChunkSize),
  .init("5\rhello\r\n", .invalidChunkSize),
  .init("5\r\rhello\r\n", .invalidChunkSize),
  .init("8000000000000000\r\n", .invalidChunkSize),
  .init("ffffffffffffffff\r\n", .invalidChunkSize),
  .init("00000000000000005\r\nhello\r\n", .invalidChunkSize),
  .init("10000000000000000\r\n", .invalidChunkSize),
  .init("5 \r\nhello\r\n", .invalidChunkExtension),
  .init("5 5\r\nhello\r\n", .invalidChunkExtension),
  .init("5;\r\nhello\r\n", .invalidChunkExtension),
  .init("5; \r\nhello\r\n", .invalidChunkExtension),
  .init("5;a;\r\nhello\r\n", .invalidChunkExtension),
  .init("5;;a\r\nhello\r\n", .invalidChunkExtension),
  .init("5;=b\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a==b\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=b=c\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=b c\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a b\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a \r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=b \r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"b\"c\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"b\" \r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"b\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"\\\r\"\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"b\nc\"\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=b\"c\"\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a\nhello\r\n", .invalidChunkExtension),
  .init("5;a=b\nhello\r\n", .invalidChunkExtension),
  .init("5;\nhello\r\n", .invalidChunkExtension),
  .init("5;a\u{0}\r\nhello\r\n", .invalidChunkExtension),
  .init("5;\u{e9}\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a=\"\u{7f}\"\r\nhello\r\n", .invalidChunkExtension),
  .init("5;a\rX\r\nhello\r\n", .invalidChunkSize),
  .init("5\r\nhelloX\r\n", .invalidChunkEnd),
  .init("5\r\nhello\n", .invalidChunkEnd),
  .init("5\r\nhello\rX", .invalidChunkEnd),
  .init("5\r\nhello0\r\n\r\n", .invalidChunkEnd),
  .init("0\r\n\n", .invalidTrailer),
  .init("0\r\n\r\r", .invalidTrailer),
  .init("0\r\n: y\r\n\r\n", .invalidTrailer),
  .init("0\r\nX\r\n\r\n", .invalidTrailer),
  .init("0\r\nX : y\r\n\r\n", .invalidTrailer),
  .init("0\r\nX: y\n\r\n", .invalidTrailer),
  .init("0\r\nX: y\r\r\n", .invalidTrailer),
  .init("0\r\nX: y\r\n z\r\n\r\n", .invalidTrailer),
  .init("0\r\nX: \u{0}\r\n\r\n", .invalidTrailer),
  .init("0\r\nGET / HTTP/1.1\r\n\r\n", .invalidTrailer),
]

@Suite("The chunked decoder")
struct ChunkedDecoderTests {
  @Test("accepts what RFC 9112 allows", arguments: acceptedBodies)
  func accepts(_ body: AcceptedBody) {
    let decoded = decode(body.body + "next")
    #expect(decoded.state == .complete)
    #expect(decoded.consumed == body.body.utf8.count)
    #expect(decoded.payload == Array(body.payload.utf8))
  }

  @Test("refuses everything else, with a cause", arguments: refusedBodies)
  func refuses(_ body: RefusedRequest) {
    let decoded = decode(body.text)
    #expect(decoded.state == .failed)
    #expect(decoded.error == body.error)
  }

  @Test(
    "gives the same result wherever the input is cut", arguments: acceptedBodies.map(\.body) + refusedBodies.map(\.text)
  )
  func anyCut(_ body: String) {
    let bytes = Array(body.utf8) + Array("next".utf8)
    let whole = decode(bytes)
    for cut in 0...bytes.count {
      #expect(decode(bytes, cuts: [cut]) == whole, "cut at \(cut)")
    }
    #expect(decode(bytes, cuts: Array(0...bytes.count)) == whole)
  }

  @Test("gives the same result with little room", arguments: acceptedBodies.map(\.body))
  func anyRoom(_ body: String) {
    let bytes = Array(body.utf8)
    for room in 1...9 {
      #expect(decode(bytes, room: room) == decode(bytes), "room for \(room)")
    }
  }

  @Test("needs more until the last byte", arguments: acceptedBodies.map(\.body))
  func prefixes(_ body: String) {
    let bytes = Array(body.utf8)
    for count in 0..<bytes.count {
      #expect(decode(Array(bytes[..<count])).state == .needsMore, "\(count) bytes")
    }
  }

  @Test("reads framing without room, and stops at the first byte of payload")
  func noRoom() {
    var decoder = ChunkedDecoder()
    let bytes = Array("2;a=b\r\nhi\r\n0\r\n\r\n".utf8)
    GuardedBytes.with(bytes) { input, count in
      let full = decoder.decode(input, count, into: input, 0)
      #expect(full.state == .outputFull)
      #expect(full.consumed == 7)
      #expect(full.produced == 0)
      let rest = decoder.decode(input + 7, count - 7, into: input, 2)
      #expect(rest.state == .complete)
      #expect(rest.consumed == count - 7)
      #expect(rest.produced == 2)
    }
  }

  @Test("decodes in place")
  func inPlace() {
    let bytes = Array("5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\n\r\n".utf8)
    GuardedBytes.with(bytes) { memory, count in
      var decoder = ChunkedDecoder()
      let result = decoder.decode(memory, count, into: memory, count)
      #expect(result.state == .complete)
      #expect(text(memory, 0, result.produced) == "hello, world")
    }
  }

  @Test("stays complete, and stays failed")
  func final() {
    var decoder = ChunkedDecoder()
    var output: UInt8 = 0
    let body = Array("0\r\n\r\n".utf8)
    #expect(decoder.decode(body, body.count, into: &output, 1).state == .complete)
    let after = decoder.decode(body, body.count, into: &output, 1)
    #expect(after.state == .complete && after.consumed == 0)
    decoder = ChunkedDecoder()
    let bad = Array("x".utf8)
    #expect(decoder.decode(bad, 1, into: &output, 1).consumed == 0)
    let failed = decoder.decode(body, body.count, into: &output, 1)
    #expect(failed.state == .failed && failed.consumed == 0 && failed.error == .invalidChunkSize)
  }

  @Test("the largest size is that of a signed 64-bit number")
  func largestSize() {
    let decoded = decode("7fffffffffffffff\r\nhello")
    #expect(decoded.state == .needsMore)
    #expect(decoded.payload == Array("hello".utf8))
  }

  @Test("bounds the extensions of a whole body")
  func extensionLimit() {
    func body(_ extensionBytes: Int) -> String {
      let half = extensionBytes / 2
      let names = [half, extensionBytes - half].map { ";" + String(repeating: "x", count: $0 - 1) }
      return "1\(names[0])\r\na\r\n1\(names[1])\r\nb\r\n0\r\n\r\n"
    }
    #expect(decode(body(ChunkedDecoder.extensionLimit)).state == .complete)
    #expect(decode(body(ChunkedDecoder.extensionLimit + 1)).error == .chunkExtensionsTooLarge)
  }

  @Test("bounds the trailer section in bytes and in fields")
  func trailerLimits() {
    func field(_ length: Int) -> String { "X:" + String(repeating: "v", count: length - 4) + "\r\n" }
    let limit = ChunkedDecoder.trailerLimit
    #expect(decode("0\r\n" + field(limit - 2) + "\r\n").state == .complete)
    #expect(decode("0\r\n" + field(limit - 1) + "\r\n").error == .trailersTooLarge)
    func fields(_ count: Int) -> String { String(repeating: "X: y\r\n", count: count) }
    #expect(decode("0\r\n" + fields(ChunkedDecoder.trailerCountLimit) + "\r\n").state == .complete)
    #expect(decode("0\r\n" + fields(ChunkedDecoder.trailerCountLimit + 1) + "\r\n").error == .trailersTooLarge)
  }
}
