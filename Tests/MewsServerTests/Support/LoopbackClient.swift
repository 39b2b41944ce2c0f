import CMewsShims
import Foundation
import MewsCore
import Testing

@testable import MewsServer

/// A client over a real TCP connection to an `InMemoryServer`, which drives the other end as its I/O thread would.
/// Nothing here waits: what the kernel has not moved yet comes with a later pass.
final class LoopbackClient {
  private let server: InMemoryServer
  private var descriptor: Int32
  /// The server's end; not after it was freed. Nil for a client of a server that takes connections by itself.
  private let serversEnd: ConnectionPointer?
  private(set) var received: [UInt8] = []
  /// The server has sent its last byte.
  private(set) var isAtEnd = false
  /// What reading failed with: 0, or ECONNRESET for a connection that broke off.
  private(set) var readError: Int32 = 0

  /// - Parameter bufferSize: bytes that the kernel keeps in each direction at each end, about.
  init(to server: InMemoryServer, bufferSize: Int32 = 8_192) throws {
    self.server = server
    let listener = try ListeningSocket.bind(.loopbackIPv4(port: 0))
    defer { close(listener.descriptor) }
    let client = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    try #require(client >= 0)
    descriptor = client
    Self.setBuffers(client, bufferSize)
    let address = SocketAddress.loopbackIPv4(port: listener.port)
    try #require(address.withSocketAddress { Glibc.connect(client, $0, $1) } == 0)
    let accepted = shim_accept(listener.descriptor)
    try #require(accepted >= 0)
    Self.setBuffers(accepted, bufferSize)
    #expect(server.onIOThread { IOContext.open(accepted, server.context) } == 0)
    serversEnd = server.context.pointee.connections
    try #require(serversEnd != nil)
  }

  /// A client of a server that listens.
  init(to server: InMemoryServer, port: UInt16) throws {
    self.server = server
    descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    serversEnd = nil
    let connected = descriptor
    let address = SocketAddress.loopbackIPv4(port: port)
    try #require(address.withSocketAddress { Glibc.connect(connected, $0, $1) } == 0)
  }

  var connection: ConnectionPointer { serversEnd! }

  /// The client's own port.
  var port: UInt16? { try? SocketAddress.bound(descriptor).port }

  /// Whether the server's end waits for room to send; of an io_uring, whether a send is in flight.
  var isWriteBlocked: Bool { onRing?.pointee.output.isArmed ?? onPoll.pointee.isWriteBlocked }

  /// Whether the server's end is closed.
  var isClosed: Bool { onRing?.pointee.isClosed ?? onPoll.pointee.isClosed }

  /// Whether the server's end does not read, because its input pipe is full.
  var isReadPaused: Bool { onRing?.pointee.isReadPaused ?? onPoll.pointee.isReadPaused }

  private var onPoll: SocketConnectionPointer {
    (UnsafeMutableRawPointer(connection) - SocketConnection.Offset.connection)
      .assumingMemoryBound(to: SocketConnection.self)
  }

  /// The server's end over an io_uring; nil where it has epoll.
  var onRing: RingConnectionPointer? {
    guard server.context.pointee.hasRingConnections else { return nil }
    return (UnsafeMutableRawPointer(connection) - RingConnection.Offset.connection)
      .assumingMemoryBound(to: RingConnection.self)
  }

  deinit { disconnect() }

  /// Sends what the kernel takes, and returns how many bytes that was.
  func send(_ bytes: ArraySlice<UInt8>) -> Int {
    let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
    let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
    return max(0, count)
  }

  /// Sends all of it, letting the server work in between. Returns false when the server does not take it.
  func send(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    return server.runPasses {
      sent += send(bytes[sent...])
      return sent == bytes.count
    }
  }

  func send(_ text: String) -> Bool { send(Array(text.utf8)) }

  /// Reads what there is, up to so many bytes.
  func read(upTo limit: Int = 65_536) {
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = recv(descriptor, &bytes, limit, Int32(MSG_DONTWAIT))
    if count > 0 { received += bytes[..<count] }
    if count == 0 { isAtEnd = true }
    if count < 0 && errno != EAGAIN { readError = errno }
  }

  /// Reads until so many bytes have come, letting the server work in between.
  func receive(_ count: Int) -> [UInt8] {
    let isComplete = server.runPasses {
      read()
      return received.count >= count
    }
    #expect(isComplete, "\(received.count) of \(count) bytes came")
    defer { received = Array(received.dropFirst(count)) }
    return Array(received.prefix(count))
  }

  /// Says that it will send no more.
  func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Closes the socket.
  func disconnect() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }

  /// Closes the socket with a reset in place of a FIN.
  func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    disconnect()
  }

  private static func setBuffers(_ descriptor: Int32, _ size: Int32) {
    var size = size
    for option in [SO_SNDBUF, SO_RCVBUF] {
      setsockopt(descriptor, SOL_SOCKET, option, &size, socklen_t(MemoryLayout<Int32>.size))
    }
  }
}

extension InMemoryServer {
  /// Runs passes until the condition holds. Returns false when it does not within a minute: far longer than it takes,
  /// so that a busy machine fails no test.
  func runPasses(until condition: () -> Bool) -> Bool {
    let limit = Date(timeIntervalSinceNow: 60)
    while true {
      runPass()
      if condition() { return true }
      if Date() > limit { return false }
      usleep(50)
    }
  }
}
