import Testing

@testable import MewsCore

@Suite("The query decoder")
struct QueryDecoderTests {
  private func decode(_ component: String) -> String {
    let bytes = Array(component.utf8)
    let outputMemory = GuardedBytes(capacity: bytes.count)
    return GuardedBytes.with(bytes) { input, count in
      let output = outputMemory.room(count)
      let decoded = text(output, 0, QueryDecoder.decode(input, count, into: output))
      let inPlace = text(input, 0, QueryDecoder.decode(input, count, into: input))
      #expect(inPlace == decoded)
      return decoded
    }
  }

  private func pairs(_ query: String) -> [[String]] {
    GuardedBytes.with(Array(query.utf8)) { bytes, count in
      var decoder = QueryDecoder(count: count)
      var pairs: [[String]] = []
      while let pair = decoder.next(bytes) {
        pairs.append([text(bytes, pair.nameOffset, pair.nameLength), text(bytes, pair.valueOffset, pair.valueLength)])
      }
      return pairs
    }
  }

  private func find(_ query: String, _ name: String) -> String? {
    GuardedBytes.with(Array(query.utf8)) { bytes, count in
      GuardedBytes.with(Array(name.utf8)) { name, nameCount in
        QueryDecoder.find(bytes, count, name, nameCount).map { text(bytes, $0.valueOffset, $0.valueLength) }
      }
    }
  }

  @Test(
    "splits pairs as forms are encoded",
    arguments: [
      ("", []), ("&", []), ("&&&", []), ("a", [["a", ""]]), ("a=", [["a", ""]]), ("=", [["", ""]]),
      ("=b", [["", "b"]]),
      ("a=b", [["a", "b"]]), ("a=b=c", [["a", "b=c"]]), ("a==", [["a", "="]]), ("a=b&c=d", [["a", "b"], ["c", "d"]]),
      ("&a=b&&c&", [["a", "b"], ["c", ""]]), ("a=1&a=2", [["a", "1"], ["a", "2"]]), ("a;b=c", [["a;b", "c"]]),
      ("a%26b=c%3Dd", [["a%26b", "c%3Dd"]]), ("?a=b", [["?a", "b"]]),
    ])
  func pairs(_ query: String, _ expected: [[String]]) {
    #expect(pairs(query) == expected)
  }

  @Test(
    "decodes triplets and plus signs, and keeps what is malformed",
    arguments: [
      ("", ""), ("abc", "abc"), ("a+b", "a b"), ("a%2Bb", "a+b"), ("%41%62", "Ab"), ("caf%C3%A9", "caf\u{e9}"),
      ("%00", "\u{0}"), ("%", "%"), ("a%", "a%"), ("a%4", "a%4"), ("%zz", "%zz"), ("%%41", "%A"), ("%4%41", "%4A"),
      ("+%20+", "   "), ("%2f", "/"),
    ])
  func decodes(_ component: String, _ decoded: String) {
    #expect(decode(component) == decoded)
  }

  @Test(
    "finds the first pair by its decoded name",
    arguments: [
      ("a=1&b=2", "b", "2" as String?), ("a=1&a=2", "a", "1"), ("a&b", "a", ""), ("A=1&a=2", "a", "2"),
      ("ab=1", "a", nil),
      ("a=1", "ab", nil), ("first+name=x", "first name", "x"), ("first%20name=x", "first name", "x"),
      ("%61=1", "a", "1"),
      ("a%=1", "a%", "1"), ("=1", "", "1"), ("", "", nil), ("b=a", "a", nil), ("a=%41+", "a", "%41+"),
      ("a%00=1", "a", nil),
    ])
  func finds(_ query: String, _ name: String, _ value: String?) {
    #expect(find(query, name) == value)
  }
}
