import MewsServer

/// Where to listen, as a user writes it: `http://HOST:PORT`.
///
/// HOST is a numeric IPv4 address, an IPv6 address in brackets, `localhost` or `*`. Names are not looked up: what a
/// server listens on must not depend on somebody else's answer.
public struct ListenURL: Hashable, Sendable {
  /// What a URL names.
  public enum Host: Hashable, Sendable {
    /// One address.
    case address(SocketAddress)
    /// 127.0.0.1 and, where the machine has it, ::1.
    case localhost
    /// Every IPv4 address and, where the machine has IPv6, every IPv6 address.
    case every
  }

  /// An address to bind.
  public struct Endpoint: Hashable, Sendable {
    /// What to bind. IPv6 sockets are meant to take IPv6 only (IPV6_V6ONLY), so that the addresses of one URL do not
    /// clash.
    public let address: SocketAddress
    /// Whether a machine without such an address can do without it.
    public let isOptional: Bool
  }

  /// The port of a URL that names none.
  public static let defaultPort: UInt16 = 80

  /// The host.
  public let host: Host
  /// The port; 0 lets the kernel choose one.
  public let port: UInt16

  public init(host: Host, port: UInt16) {
    self.host = host
    self.port = port
  }

  /// Reads a URL.
  public init(parsing text: String) throws(ListenURLError) {
    guard let schemeEnd = text.utf8.firstIndex(of: UInt8(ascii: ":")), text[schemeEnd...].hasPrefix("://") else {
      throw ListenURLError(text, .shape)
    }
    let scheme = text[..<schemeEnd].lowercased()
    guard scheme == "http" else { throw ListenURLError(text, .scheme(scheme)) }
    var authority = text[schemeEnd...].dropFirst(3)
    if let end = authority.utf8.firstIndex(where: { "/?#".utf8.contains($0) }) {
      guard authority[end...] == "/" else { throw ListenURLError(text, .path) }
      authority = authority[..<end]
    }
    let (hostText, portText) = Self.split(authority)
    let port = portText.map { DecimalNumber.parse($0, in: 0...65_535) } ?? Int(Self.defaultPort)
    guard let port, let port = UInt16(exactly: port) else { throw ListenURLError(text, .port(String(portText ?? ""))) }
    guard let host = Self.host(String(hostText), port: port) else {
      throw ListenURLError(text, .host(String(hostText)))
    }
    self.init(host: host, port: port)
  }

  /// What to bind, in order. With port 0, the port that the first gets is for the others too: see
  /// ``SocketAddress/with(port:)``.
  public var endpoints: [Endpoint] {
    switch host {
    case .address(let address): [Endpoint(address: address, isOptional: false)]
    case .localhost:
      [
        Endpoint(address: .loopbackIPv4(port: port), isOptional: false),
        Endpoint(address: .loopbackIPv6(port: port), isOptional: true),
      ]
    case .every:
      [
        Endpoint(address: .everyIPv4(port: port), isOptional: false),
        Endpoint(address: .everyIPv6(port: port), isOptional: true),
      ]
    }
  }

  /// The same host with another port.
  public func with(port: UInt16) -> ListenURL {
    guard case .address(let address) = host else { return ListenURL(host: host, port: port) }
    return ListenURL(host: .address(address.with(port: port)), port: port)
  }

  /// Takes host and port apart at the last colon; the colons inside brackets belong to the host.
  private static func split(_ authority: Substring) -> (host: Substring, port: Substring?) {
    var hostEnd = authority.startIndex
    if authority.hasPrefix("[") { hostEnd = authority.utf8.firstIndex(of: UInt8(ascii: "]")) ?? authority.endIndex }
    guard let colon = authority[hostEnd...].utf8.lastIndex(of: UInt8(ascii: ":")) else { return (authority, nil) }
    return (authority[..<colon], authority[colon...].dropFirst())
  }

  private static func host(_ text: String, port: UInt16) -> Host? {
    if text == "*" { return .every }
    if text.lowercased() == "localhost" { return .localhost }
    guard text.hasPrefix("["), text.hasSuffix("]") else {
      return SocketAddress(ipv4: text, port: port).map(Host.address)
    }
    return SocketAddress(ipv6: String(text.dropFirst().dropLast()), port: port).map(Host.address)
  }
}

extension ListenURL: CustomStringConvertible {
  /// The URL in its usual form, always with the port: `http://127.0.0.1:8080`.
  public var description: String {
    switch host {
    case .address(let address): "http://\(address)"
    case .localhost: "http://localhost:\(port)"
    case .every: "http://*:\(port)"
    }
  }
}

/// Why a text is no ``ListenURL``.
public struct ListenURLError: Error, Equatable, CustomStringConvertible {
  /// The kinds of mistakes.
  public enum Cause: Equatable, Sendable {
    case shape
    case scheme(String)
    case path
    case host(String)
    case port(String)
  }

  /// The text as it was given.
  public let text: String
  /// What is wrong with it.
  public let cause: Cause

  init(_ text: String, _ cause: Cause) {
    self.text = text
    self.cause = cause
  }

  /// One sentence without a full stop, saying what was expected and what was given.
  public var description: String { "expected http://HOST:PORT, got '\(printable(text))'\(detail)" }

  private var detail: String {
    switch cause {
    case .shape: ""
    case .scheme(let scheme): " (the scheme '\(printable(scheme))' is not http)"
    case .path: " (nothing may follow the port but '/')"
    case .host(let host):
      " (the host '\(printable(host))' is no IPv4 address, IPv6 address in brackets, localhost or *)"
    case .port(let port): " (the port '\(printable(port))' is no number from 0 to 65535)"
    }
  }
}
