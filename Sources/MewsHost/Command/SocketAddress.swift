import Glibc

/// An IP address with a port.
public enum SocketAddress: Hashable, Sendable {
  /// The four bytes of the address in the order in which they are written, and the port.
  case ipv4([UInt8], port: UInt16)
  /// The sixteen bytes of the address in the order in which they are written, and the port.
  case ipv6([UInt8], port: UInt16)

  /// 0.0.0.0: every IPv4 address of the machine.
  public static func everyIPv4(port: UInt16) -> SocketAddress { .ipv4([0, 0, 0, 0], port: port) }
  /// [::]: every IPv6 address of the machine.
  public static func everyIPv6(port: UInt16) -> SocketAddress { .ipv6([UInt8](repeating: 0, count: 16), port: port) }
  /// 127.0.0.1.
  public static func loopbackIPv4(port: UInt16) -> SocketAddress { .ipv4([127, 0, 0, 1], port: port) }
  /// [::1].
  public static func loopbackIPv6(port: UInt16) -> SocketAddress {
    .ipv6([UInt8](repeating: 0, count: 15) + [1], port: port)
  }

  /// An IPv4 address in the form `192.0.2.1`; nil for any other text.
  public init?(ipv4 text: String, port: UInt16) {
    guard let bytes = Self.bytes(of: text, family: AF_INET, count: 4) else { return nil }
    self = .ipv4(bytes, port: port)
  }

  /// An IPv6 address in one of its forms, such as `::1`, without brackets and zone; nil for any other text.
  public init?(ipv6 text: String, port: UInt16) {
    guard let bytes = Self.bytes(of: text, family: AF_INET6, count: 16) else { return nil }
    self = .ipv6(bytes, port: port)
  }

  /// AF_INET or AF_INET6.
  public var family: Int32 {
    switch self {
    case .ipv4: AF_INET
    case .ipv6: AF_INET6
    }
  }

  /// The port, in the host's byte order.
  public var port: UInt16 {
    switch self {
    case .ipv4(_, let port), .ipv6(_, let port): port
    }
  }

  /// The same address with another port.
  public func with(port: UInt16) -> SocketAddress {
    switch self {
    case .ipv4(let bytes, _): .ipv4(bytes, port: port)
    case .ipv6(let bytes, _): .ipv6(bytes, port: port)
    }
  }

  /// Calls a function with the address in the kernel's form, which is valid during the call.
  public func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    switch self {
    case .ipv4(let bytes, let port):
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: bytes.prefix($0.count)) }
      return Self.call(body, &address)
    case .ipv6(let bytes, let port):
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: bytes.prefix($0.count)) }
      return Self.call(body, &address)
    }
  }

  private static func call<Address, Result>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result, _ address: inout Address
  ) -> Result {
    withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Address>.size)) }
    }
  }

  private static func bytes(of text: String, family: Int32, count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    return inet_pton(family, text, &bytes) == 1 ? bytes : nil
  }
}

extension SocketAddress: CustomStringConvertible {
  /// `192.0.2.1:80` or `[2001:db8::1]:80`.
  public var description: String { "\(hostText):\(port)" }

  /// The address without its port: `192.0.2.1` or `[2001:db8::1]`.
  public var hostText: String {
    switch self {
    case .ipv4(let bytes, _): Self.text(of: bytes, family: AF_INET)
    case .ipv6(let bytes, _): "[\(Self.text(of: bytes, family: AF_INET6))]"
    }
  }

  private static func text(of bytes: [UInt8], family: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
      inet_ntop(family, bytes, buffer.baseAddress, socklen_t(buffer.count)).map { String(cString: $0) } ?? ""
    }
  }
}
