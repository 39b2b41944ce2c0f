import Testing

@testable import MewsCore

@Suite("The syntax of host and port")
struct AuthorityTests {
  private func isValid(_ authority: String, hostRequired: Bool = false, portRequired: Bool = false) -> Bool {
    GuardedBytes.with(Array("0123456789abcdef\(authority)".utf8)) { base, count in
      let afterLongLine = Authority.isValid(
        base, from: 16, to: count, hostRequired: hostRequired, portRequired: portRequired)
      let alone = Authority.isValid(
        base + 16, from: 0, to: count - 16, hostRequired: hostRequired, portRequired: portRequired)
      #expect(alone == afterLongLine)
      return alone
    }
  }

  @Test(
    "accepts hosts with and without a port",
    arguments: [
      "a", "example.com", "example.com.", "EXAMPLE.com:80", "a:", "a:0", "a:65535", "a:00080", "127.0.0.1:8080", "1",
      "a_b",
      "xn--bcher-kva.example", "a.very.long.host.name.with.many.labels.example.org:8080", "%41b", "a%2Fb",
      "a!$&'()*+;=~b",
      "[::]", "[::1]", "[::1]:80", "[1::]", "[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]:443", "[1:2:3:4:5:6:7:8]",
      "[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]", "[::ffff:127.0.0.1]", "[1:2:3:4:5:6:127.0.0.1]", "[::0.0.0.0]:1",
      "[1111:2222:3333:4444:5555:6666:123.123.123.123]",
    ])
  func accepts(_ authority: String) {
    #expect(isValid(authority))
  }

  @Test(
    "refuses everything else",
    arguments: [
      ":80", ":", "a:b", "a:65536", "a:000080", "a:-1", "a:80:80", "a b", "a,b", "u@a", "u:p@a", "a/", "a?", "a\\b",
      "a<b",
      "caf\u{e9}", "a%", "a%4", "a%4g", "a%zz", "%", "a\u{0}", "[", "[]", "]", "a]", "[::1", "::1", "[::1]a", "[::1]80",
      "[::1]:x", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]", "[::1:2:3:4:5:6:7:8]", "[1::2::3]",
      "[:::]",
      "[:1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:]", "[12345::]", "[g::]", "[::1%25eth0]", "[v1.a]", "[::256.0.0.1]",
      "[::1.2.3]",
      "[::1.2.3.4.5]", "[::01.2.3.4]", "[::1.2.3.4:1]", "[1:2:3:4:5:6:7:1.2.3.4]", "[127.0.0.1]", "[::.1.2.3]",
      "[1111:2222:3333:4444:5555:6666:123.123.123.1234]", "[11111111111111111111111111111111111111111111111111]",
    ])
  func refuses(_ authority: String) {
    #expect(!isValid(authority))
  }

  @Test("asks for a host and for a port where there must be one")
  func requirements() {
    #expect(isValid(""))
    #expect(!isValid("", hostRequired: true))
    #expect(!isValid("", portRequired: true))
    #expect(isValid("a", hostRequired: true))
    #expect(!isValid("a", portRequired: true))
    #expect(!isValid("a:", portRequired: true))
    #expect(isValid("a:1", hostRequired: true, portRequired: true))
    #expect(!isValid("[::1]", portRequired: true))
  }
}
