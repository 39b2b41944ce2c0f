import Testing

@testable import MewsCore

@Suite("The limits of a request head")
struct RequestLimitTests {
  private let limits = RequestLimits(requestLine: 40, method: 8, headerBytes: 60, headerCount: 3)

  @Test("a request line may be as long as the limit and no longer")
  func requestLine() {
    func line(_ length: Int) -> String { "GET /" + String(repeating: "a", count: length - 14) + " HTTP/1.1" }
    #expect(parsed(line(40) + "\r\nHost: a\r\n\r\n", limits: limits) != nil)
    #expect(parse(line(41) + "\r\nHost: a\r\n\r\n", limits: limits) == .failed(.targetTooLong))
    #expect(parse("\r\n" + line(41) + "\r\n", limits: limits) == .failed(.targetTooLong))
    #expect(parsed("\r\n" + line(40) + "\r\nHost: a\r\n\r\n", limits: limits) != nil)
  }

  @Test("a target that is too long is refused before its end arrives")
  func endlessTarget() {
    let bytes = Array(("GET /" + String(repeating: "a", count: 27)).utf8)
    #expect(parse(bytes, pieces: [31], limits: limits) == .incomplete)
    #expect(parse(bytes, pieces: [32], limits: limits) == .failed(.targetTooLong))
  }

  @Test("a method may be as long as the limit and no longer")
  func method() {
    #expect(parsed("ABCDEFGH / HTTP/1.1\r\nHost: a\r\n\r\n", limits: limits)?.methodText == "ABCDEFGH")
    #expect(parse("ABCDEFGHI / HTTP/1.1\r\n", limits: limits) == .failed(.methodTooLong))
    #expect(parse("ABCDEFGHI", limits: limits) == .failed(.methodTooLong))
    #expect(parse("ABCDEFGH", limits: limits) == .incomplete)
  }

  @Test("a header section may be as large as the limit and no larger")
  func headerBytes() {
    func section(_ length: Int) -> String {
      "Host: a\r\nX: " + String(repeating: "v", count: length - 16) + "\r\n\r\n"
    }
    #expect(parsed("GET / HTTP/1.1\r\n" + section(60), limits: limits) != nil)
    #expect(parse("GET / HTTP/1.1\r\n" + section(61), limits: limits) == .failed(.fieldsTooLarge))
    #expect(parse("GET / HTTP/1.1\r\n" + section(1000), limits: limits) == .failed(.fieldsTooLarge))
  }

  @Test(
    "a header section that is too large is refused in any of its parts",
    arguments: [
      String(repeating: "n", count: 60), "X:" + String(repeating: " ", count: 58),
      "X: " + String(repeating: "v", count: 56) + "\r",
    ])
  func endlessFields(_ section: String) {
    #expect(parse("GET / HTTP/1.1\r\n" + section, limits: limits) == .failed(.fieldsTooLarge))
    #expect(parse("GET / HTTP/1.1\r\n" + section.dropLast(), limits: limits) == .incomplete)
  }

  @Test("as many fields as the limit are accepted and no more")
  func headerCount() {
    #expect(parsed("GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 2\r\n\r\n", limits: limits)?.fields.count == 3)
    #expect(
      parse("GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 2\r\nD: 3\r\n\r\n", limits: limits) == .failed(.tooManyFields))
  }

  @Test("a hundred fields fit, whatever is configured")
  func fixedArray() {
    func request(_ count: Int) -> String {
      "GET / HTTP/1.1\r\nHost: a\r\n" + (1..<count).map { "X\($0): \($0)\r\n" }.joined() + "\r\n"
    }
    let generous = RequestLimits(headerCount: 1000)
    #expect(parsed(request(100), limits: generous)?.fields.last == .init(name: "X99", value: "99", known: .other))
    #expect(parse(request(101), limits: generous) == .failed(.tooManyFields))
  }

  @Test("a field name longer than its length can say is refused")
  func longName() {
    let generous = RequestLimits(headerBytes: 1 << 20)
    func request(_ length: Int) -> String {
      "GET / HTTP/1.1\r\nHost: a\r\n\(String(repeating: "n", count: length)): v\r\n\r\n"
    }
    #expect(parsed(request(65535), limits: generous)?.fields.last?.name.utf8.count == 65535)
    #expect(parse(request(65536), limits: generous) == .failed(.fieldsTooLarge))
  }

  @Test("limits that make no sense are brought to ones that do")
  func clamped() {
    let nothing = RequestLimits(requestLine: -1, method: 0, headerBytes: .min, headerCount: -5)
    #expect(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits: nothing) == .failed(.methodTooLong))
    #expect(parsed("A / HTTP/1.0\r\n\r\n", limits: nothing) != nil)
    let everything = RequestLimits(requestLine: .max, method: .max, headerBytes: .max, headerCount: .max)
    #expect(parsed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits: everything) != nil)
  }
}
