import Glibc
import MewsServer
import Testing

@testable import MewsHost

@Suite("A URL to listen on")
struct ListenURLTests {
  @Test(
    "names the addresses to bind, and is written back in its usual form",
    arguments: [
      ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ["127.0.0.1:8080"]),
      ("HTTP://0.0.0.0:0/", "http://0.0.0.0:0", ["0.0.0.0:0"]),
      ("http://192.0.2.7", "http://192.0.2.7:80", ["192.0.2.7:80"]),
      ("http://[::1]:65535", "http://[::1]:65535", ["[::1]:65535"]),
      ("http://[2001:DB8:0:0::7]", "http://[2001:db8::7]:80", ["[2001:db8::7]:80"]),
      ("http://localhost:81", "http://localhost:81", ["127.0.0.1:81", "[::1]:81?"]),
      ("http://*:82", "http://*:82", ["0.0.0.0:82", "[::]:82?"]),
      ("http://*/", "http://*:80", ["0.0.0.0:80", "[::]:80?"]),
    ])
  func accepted(text: String, usual: String, endpoints: [String]) throws {
    let url = try ListenURL(parsing: text)
    #expect(url.description == usual)
    #expect(url.endpoints.map { "\($0.address)" + ($0.isOptional ? "?" : "") } == endpoints)
    #expect(try ListenURL(parsing: usual) == url)
  }

  @Test(
    "says what is wrong with it",
    arguments: [
      ("", ""),
      ("8080", ""),
      ("localhost:8080", ""),
      ("http:/x", ""),
      ("https://127.0.0.1", " (the scheme 'https' is not http)"),
      ("ftp://127.0.0.1", " (the scheme 'ftp' is not http)"),
      ("http://127.0.0.1:80/path", " (nothing may follow the port but '/')"),
      ("http://127.0.0.1:80?a", " (nothing may follow the port but '/')"),
      ("http://127.0.0.1:80//", " (nothing may follow the port but '/')"),
      ("http://127.0.0.1:65536", " (the port '65536' is no number from 0 to 65535)"),
      ("http://127.0.0.1:", " (the port '' is no number from 0 to 65535)"),
      ("http://127.0.0.1:-1", " (the port '-1' is no number from 0 to 65535)"),
      ("http://127.0.0.1:+1", " (the port '+1' is no number from 0 to 65535)"),
      ("http://127.0.0.1:1a", " (the port '1a' is no number from 0 to 65535)"),
      ("http://[::1]:99999999999999999999", " (the port '99999999999999999999' is no number from 0 to 65535)"),
      ("http://", " (the host '' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      ("http://:80", " (the host '' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      (
        "http://example.org:80",
        " (the host 'example.org' is no IPv4 address, IPv6 address in brackets, localhost or *)"
      ),
      ("http://127.1:80", " (the host '127.1' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      ("http://::1:80", " (the host '::1' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      ("http://[::1", " (the host '[::1' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      ("http://[127.0.0.1]", " (the host '[127.0.0.1]' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      ("http://[::1]x", " (the host '[::1]x' is no IPv4 address, IPv6 address in brackets, localhost or *)"),
      (
        "http://me@127.0.0.1:80",
        " (the host 'me@127.0.0.1' is no IPv4 address, IPv6 address in brackets, localhost or *)"
      ),
    ])
  func refused(text: String, detail: String) {
    do throws(ListenURLError) {
      _ = try ListenURL(parsing: text)
      Issue.record("accepted \(text)")
    } catch {
      #expect(error.description == "expected http://HOST:PORT, got '\(text)'\(detail)")
    }
  }

  @Test("takes another port for all its addresses")
  func otherPort() throws {
    #expect(try ListenURL(parsing: "http://localhost:0").with(port: 9).endpoints.map(\.address.port) == [9, 9])
    #expect(try ListenURL(parsing: "http://[::1]:0").with(port: 9).description == "http://[::1]:9")
    #expect(try ListenURL(parsing: "http://[::1]:0").with(port: 9) == ListenURL(parsing: "http://[::1]:9"))
  }

  @Test("gives the kernel an address that it binds")
  func bindable() throws {
    let address = SocketAddress.loopbackIPv4(port: 0)
    let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue), 0)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    #expect(address.withSocketAddress { bind(descriptor, $0, $1) } == 0)
    var bound = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &bound) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    #expect(result == 0)
    #expect(UInt32(bigEndian: bound.sin_addr.s_addr) == 0x7F00_0001)
    #expect(bound.sin_port != 0)
  }

  @Test("lays IPv6 addresses out as the kernel reads them")
  func ipv6Layout() throws {
    let address = try #require(SocketAddress(ipv6: "2001:db8::1", port: 0x1234))
    address.withSocketAddress { pointer, length in
      #expect(length == socklen_t(MemoryLayout<sockaddr_in6>.size))
      let bytes = UnsafeRawBufferPointer(start: pointer, count: Int(length))
      #expect(Array(bytes[2..<4]) == [0x12, 0x34])
      #expect(Array(bytes[8..<24]) == [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    }
  }
}
