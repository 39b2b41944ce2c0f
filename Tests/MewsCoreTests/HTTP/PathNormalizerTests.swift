import Testing

@testable import MewsCore

@Suite("The path normalizer")
struct PathNormalizerTests {
  /// The normal form as bytes, nil when the path is malformed; input and output end at unreadable pages.
  private func normalize(_ path: String) -> [UInt8]? {
    let bytes = Array(path.utf8)
    let outputMemory = GuardedBytes(capacity: max(bytes.count, 1))
    return GuardedBytes.with(bytes) { input, count in
      let output = outputMemory.room(max(count, 1))
      let length = PathNormalizer.normalize(input, count, into: output)
      // The same in place, where the empty path has no room.
      if count > 0 {
        let lengthInPlace = PathNormalizer.normalize(input, count, into: input)
        #expect(lengthInPlace == length)
        for index in 0..<max(length, 0) { #expect(input[index] == output[index]) }
      }
      return length < 0 ? nil : Array(UnsafeBufferPointer(start: output, count: length))
    }
  }

  @Test(
    "decodes triplets and removes dot segments",
    arguments: [
      ("", "/"), ("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a/b/c", "/a/b/c"), ("//", "//"), ("/a//b", "/a//b"),
      ("///", "///"), ("/%41%62%63", "/Abc"), ("/%7e", "/~"), ("/a%20b", "/a b"), ("/%25", "/%"), ("/%2541", "/%41"),
      ("/a%2Fb", "/a%2Fb"), ("/a%2fb", "/a%2Fb"), ("/%2f%2F", "/%2F%2F"), ("/%2f..", "/%2F.."), ("/..%2f", "/..%2F"),
      ("/.", "/"), ("/./", "/"), ("/..", "/"), ("/../", "/"), ("/../..", "/"), ("/../../a", "/a"), ("/./a", "/a"),
      ("/a/.", "/a/"), ("/a/./", "/a/"), ("/a/./b", "/a/b"), ("/a/..", "/"), ("/a/../", "/"), ("/a/../b", "/b"),
      ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/a/b/../c", "/a/c"), ("/a/b/../../c", "/c"), ("/a/b/../../../c", "/c"),
      ("/a//../b", "/a/b"), ("/a/..//b", "//b"), ("//..", "/"), ("//../a", "/a"), ("/%2e", "/"), ("/%2E%2e/a", "/a"),
      ("/a/.%2e/b", "/b"), ("/a/%2e./b", "/b"), ("/a/%2E/b", "/a/b"), ("/...", "/..."), ("/.a", "/.a"), ("/a.", "/a."),
      ("/..a", "/..a"), ("/a..", "/a.."), ("/....//", "/....//"), ("/a/.../b", "/a/.../b"), ("/%2e%2e%2e", "/..."),
      ("/a/b/c/./../../g", "/a/g"), ("/mid/content=5/../6", "/mid/6"), ("/a;b=c/%2e%2e;d", "/a;b=c/..;d"),
      ("/caf%C3%A9", "/caf\u{e9}"), ("/a%0d%0ab", "/a\r\nb"), ("/%5c..", "/\\.."), ("/+", "/+"), ("/%3Fa", "/?a"),
    ])
  func normalizes(_ path: String, _ normal: String) {
    #expect(normalize(path) == Array(normal.utf8), "\(path)")
  }

  @Test(
    "refuses what is malformed",
    arguments: [
      "a", "*", "%2F", "../a", "/%", "/%4", "/%g1", "/%1g", "/%%41", "/a%", "/a%2", "/%00", "/a/%00/b", "/%u0041",
      "/%-1",
      "/%+1", "/% 1",
    ])
  func refuses(_ path: String) {
    #expect(normalize(path) == nil)
  }

  @Test("keeps bytes that are no UTF-8")
  func anyBytes() {
    #expect(normalize("/%ff%C0%80") == [0x2f, 0xff, 0xc0, 0x80])
  }

  @Test("a normal form has no dot segments, however the path is composed")
  func allSmallPaths() {
    let pieces = ["/", ".", "a", "%2e", "%2f"]
    var paths = ["/"]
    for _ in 0..<6 { paths += paths.suffix(1 << 12).flatMap { path in pieces.map { path + $0 } } }
    for path in Set(paths) {
      guard let normal = normalize(path) else {
        Issue.record("refused: \(path)")
        continue
      }
      let segments = String(decoding: normal, as: UTF8.self).split(separator: "/", omittingEmptySubsequences: false)
      if segments.first != "" || segments.contains(".") || segments.contains("..") || normal.count > path.utf8.count {
        Issue.record("\(path) became \(String(decoding: normal, as: UTF8.self))")
      }
    }
  }
}
