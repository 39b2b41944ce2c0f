import Glibc
import MewsCore

/// An IPv4 or IPv6 address with a port, as the system calls want it.
public struct SocketAddress: Sendable, Equatable {
  public let family: Int32
  /// 4 or 16 bytes in network order.
  public let host: [UInt8]
  public let port: UInt16

  public init(ipv4 host: [UInt8], port: UInt16) {
    family = AF_INET
    self.host = host
    self.port = port
  }

  public init(ipv6 host: [UInt8], port: UInt16) {
    family = AF_INET6
    self.host = host
    self.port = port
  }

  /// Calls a function with the address in the form of the system calls.
  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var storage = sockaddr_storage()
    let count = withUnsafeMutableBytes(of: &storage) { bytes -> Int in
      if family == AF_INET {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: host.prefix(4)) }
        withUnsafeBytes(of: &address) { bytes.copyMemory(from: $0) }
        return MemoryLayout<sockaddr_in>.size
      }
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: host.prefix(16)) }
      withUnsafeBytes(of: &address) { bytes.copyMemory(from: $0) }
      return MemoryLayout<sockaddr_in6>.size
    }
    return withUnsafeBytes(of: &storage) { bytes in
      // A sockaddr_storage is never empty, so the address is there; the fallback keeps the compiler content.
      guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else {
        var empty = sockaddr()
        return body(&empty, 0)
      }
      return body(address, socklen_t(count))
    }
  }

  /// The address a socket is bound to.
  static func bound(_ descriptor: Int32) throws(SystemError) -> SocketAddress {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard result == 0 else { throw SystemError(call: "getsockname", code: errno) }
    let family = Int32(storage.ss_family)
    return withUnsafeBytes(of: &storage) { bytes in
      if family == AF_INET6 {
        let address = bytes.loadUnaligned(as: sockaddr_in6.self)
        let host = withUnsafeBytes(of: address.sin6_addr) { Array($0) }
        return SocketAddress(ipv6: host, port: UInt16(bigEndian: address.sin6_port))
      }
      let address = bytes.loadUnaligned(as: sockaddr_in.self)
      let host = withUnsafeBytes(of: address.sin_addr) { Array($0) }
      return SocketAddress(ipv4: host, port: UInt16(bigEndian: address.sin_port))
    }
  }

  /// The address as the authority of a URL shows it.
  public var url: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    _ = host.withUnsafeBytes { inet_ntop(family, $0.baseAddress, &text, socklen_t(text.count)) }
    let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return family == AF_INET6 ? "http://[\(host)]:\(port)" : "http://\(host):\(port)"
  }
}
