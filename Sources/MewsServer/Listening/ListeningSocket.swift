import Glibc
import MewsCore

/// A socket that listens on one address.
public struct ListeningSocket: Sendable {
  public let descriptor: Int32
  /// The address as it is shown: "http://127.0.0.1:8080".
  public let url: String

  public init(descriptor: Int32, url: String) {
    self.descriptor = descriptor
    self.url = url
  }

  /// The kernel's queue of connections that wait to be taken; the kernel cuts it to net.core.somaxconn.
  public static let backlog: Int32 = 4096

  /// Binds an address and listens on it.
  ///
  /// - Parameters:
  ///   - address: a socket address that is ready for bind(2).
  ///   - isShared: whether it may be an address of other sockets of this user that are shared, too.
  /// - Throws: `SystemError` with the call that failed.
  public static func bind(_ address: SocketAddress, isShared: Bool = false) throws(SystemError) -> ListeningSocket {
    let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
    guard descriptor >= 0 else { throw SystemError(call: "socket", code: errno) }
    do throws(SystemError) {
      try set(descriptor, SOL_SOCKET, SO_REUSEADDR)
      if isShared { try set(descriptor, SOL_SOCKET, SO_REUSEPORT) }
      // "*" binds both families with two sockets, so the IPv6 one must keep to its own.
      if address.family == AF_INET6 { try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
      let result = address.withSocketAddress { Glibc.bind(descriptor, $0, $1) }
      guard result == 0 else { throw SystemError(call: "bind", code: errno) }
      guard listen(descriptor, backlog) == 0 else { throw SystemError(call: "listen", code: errno) }
      return ListeningSocket(descriptor: descriptor, url: "http://\(try SocketAddress.bound(descriptor))")
    } catch {
      close(descriptor)
      throw error
    }
  }

  /// Lets other sockets of this user that are shared bind the same address.
  func allowSharing() throws(SystemError) { try Self.set(descriptor, SOL_SOCKET, SO_REUSEPORT) }

  private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32) throws(SystemError) {
    var one: Int32 = 1
    guard setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
      throw SystemError(call: "setsockopt", code: errno)
    }
  }

  /// The port, or 0 when the socket has none.
  public var port: UInt16 { (try? SocketAddress.bound(descriptor).port) ?? 0 }
}
