import Foundation
import Testing

@testable import MewsCore

@Suite("The writers of response heads")
struct ResponseWriterTests {
  /// What a function wrote into exactly that much room before an unreadable page.
  private func written(_ room: Int, _ write: (UnsafeMutablePointer<UInt8>) -> Int) -> String {
    let memory = GuardedBytes(capacity: room)
    let output = memory.room(room)
    let count = write(output)
    return text(output, 0, count)
  }

  private func statusLine(_ status: Int) -> String {
    written(ResponseWriter.maximumStatusLine) { ResponseWriter.writeStatusLine(status, to: $0) }
  }

  @Test(
    "writes status lines with the registered reasons",
    arguments: [
      (100, "Continue"), (101, "Switching Protocols"), (200, "OK"), (201, "Created"), (204, "No Content"),
      (304, "Not Modified"), (308, "Permanent Redirect"), (400, "Bad Request"), (404, "Not Found"),
      (405, "Method Not Allowed"), (413, "Content Too Large"), (414, "URI Too Long"), (422, "Unprocessable Content"),
      (431, "Request Header Fields Too Large"), (500, "Internal Server Error"), (501, "Not Implemented"),
      (505, "HTTP Version Not Supported"), (511, "Network Authentication Required"), (299, ""), (418, ""), (599, ""),
      (999, ""),
    ])
  func statusLines(_ status: Int, _ reason: String) {
    #expect(statusLine(status) == "HTTP/1.1 \(status) \(reason)\r\n")
  }

  @Test("every status has a line of its own that fits, and nonsense is an error of the server")
  func allStatuses() {
    for status in 100...999 {
      let line = statusLine(status)
      #expect(line.hasPrefix("HTTP/1.1 \(status) ") && line.hasSuffix("\r\n"))
      #expect(line.utf8.count <= ResponseWriter.maximumStatusLine)
    }
    for status in [Int.min, -1, 0, 99, 1000, Int.max] {
      #expect(statusLine(status) == "HTTP/1.1 500 Internal Server Error\r\n")
    }
  }

  @Test("knows which statuses have no body")
  func bodies() {
    for status in [100, 101, 103, 199, 204, 304] { #expect(!ResponseWriter.statusAllowsBody(status)) }
    for status in [200, 201, 205, 206, 301, 303, 305, 400, 404, 500] {
      #expect(ResponseWriter.statusAllowsBody(status))
    }
  }

  @Test("writes decimal numbers")
  func decimals() {
    var numbers: [UInt64] = [0, 1, 9, 10, 11, 99, 100, 101, 12345, UInt64.max, UInt64(Int64.max)]
    var power: UInt64 = 1
    for _ in 0..<19 {
      power *= 10
      numbers += [power - 1, power, power + 1]
    }
    for number in numbers {
      let expected = String(number)
      #expect(written(expected.utf8.count) { ResponseWriter.writeDecimal(number, to: $0) } == expected)
      #expect(ResponseWriter.decimalLength(number) == expected.utf8.count)
      #expect(expected.utf8.count <= ResponseWriter.maximumDecimal)
    }
  }

  @Test("writes header fields")
  func headers() {
    for (name, value) in [("X-Name", "a value"), ("N", ""), ("Content-Type", "text/html; charset=utf-8")] {
      let room = name.utf8.count + value.utf8.count + ResponseWriter.headerOverhead
      let line = GuardedBytes.with(Array(name.utf8)) { name, nameCount in
        GuardedBytes.with(Array(value.utf8)) { value, valueCount in
          written(room) { ResponseWriter.writeHeader(name, nameCount, value, valueCount, to: $0) }
        }
      }
      #expect(line == "\(name): \(value)\r\n")
    }
    #expect(written(4) { ResponseWriter.writeText("a\r\nb", to: $0) } == "a\r\nb")
  }
}

@Suite("The date of HTTP")
struct HTTPDateTests {
  private let memory = GuardedBytes(capacity: HTTPDate.length)

  private func date(_ seconds: Int64) -> String {
    let output = memory.room(HTTPDate.length)
    let count = HTTPDate.write(secondsSince1970: seconds, to: output)
    #expect(count == HTTPDate.length)
    return text(output, 0, count)
  }

  @Test(
    "is IMF-fixdate",
    arguments: [
      (Int64(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (-1, "Wed, 31 Dec 1969 23:59:59 GMT"), (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
      (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"), (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
      (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
      (Int64.max, "Fri, 31 Dec 9999 23:59:59 GMT"), (Int64.min, "Mon, 01 Jan 0001 00:00:00 GMT"),
    ])
  func dates(_ seconds: Int64, _ expected: String) {
    #expect(date(seconds) == expected)
  }

  @Test("agrees with the C library on every day of four centuries")
  func everyDay() {
    let actual = memory.room(HTTPDate.length)
    var expected = [CChar](repeating: 0, count: HTTPDate.length + 1)
    var day: time_t = -75000
    while day < 75000 {
      var seconds = day * 86400 + (day & 0xffff)
      var parts = tm()
      gmtime_r(&seconds, &parts)
      _ = strftime(&expected, expected.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
      _ = HTTPDate.write(secondsSince1970: Int64(seconds), to: actual)
      if memcmp(actual, expected, HTTPDate.length) != 0 { Issue.record("day \(day) is wrong") }
      day += 1
    }
  }
}

@Suite("The syntax of header fields")
struct FieldSyntaxTests {
  private let memory = GuardedBytes(capacity: 64)
  private let delimiters = Set("\"(),/:;<=>?@[\\]{}".utf8)

  @Test("a token is made of visible characters that are no delimiters", arguments: [0, 5, 15, 16, 17, 40])
  func tokens(_ length: Int) {
    for byte in UInt8.min...UInt8.max {
      let isTokenCharacter = byte > 0x20 && byte < 0x7f && !delimiters.contains(byte)
      for position in 0...length {
        var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: length)
        bytes.insert(byte, at: position)
        #expect(FieldSyntax.isToken(memory.place(bytes[...]), bytes.count) == isTokenCharacter)
      }
    }
  }

  @Test("a field value has no control characters but the tab", arguments: [0, 5, 15, 16, 17, 40])
  func fieldValues(_ length: Int) {
    for byte in UInt8.min...UInt8.max {
      let isAllowed = byte == 9 || (byte >= 0x20 && byte != 0x7f)
      for position in 0...length {
        var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: length)
        bytes.insert(byte, at: position)
        #expect(FieldSyntax.isFieldValue(memory.place(bytes[...]), bytes.count) == isAllowed)
      }
    }
  }

  @Test("nothing is a field value but no token")
  func empty() {
    #expect(GuardedBytes.with([]) { FieldSyntax.isFieldValue($0, $1) })
    #expect(GuardedBytes.with([]) { !FieldSyntax.isToken($0, $1) })
  }

  @Test(
    "the fields of the server are reserved in any case",
    arguments: [
      ("Content-Length", true), ("CONTENT-LENGTH", true), ("transfer-encoding", true), ("Connection", true),
      ("date", true),
      ("Server", true), ("Content-Type", false), ("Dates", false), ("X-Date", false), ("", false),
      ("Content-Lengthy", false),
      ("Host", false), ("Serve", false),
    ])
  func reserved(_ name: String, _ isReserved: Bool) {
    #expect(GuardedBytes.with(Array(name.utf8)) { FieldSyntax.isReserved($0, $1) } == isReserved)
  }
}
