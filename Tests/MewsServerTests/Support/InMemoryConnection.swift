import Glibc
import MewsCore

@testable import MewsServer

/// Both ends of a connection that has no socket: the server's is a `Transport` that moves bytes between the pipes and
/// arrays, the client's is the test.
final class InMemoryConnection {
  enum State {
    case open
    /// The server has sent its last byte and throws away what comes in.
    case lingering
    case closed
  }

  /// What the server knows of the connection. The transport's functions get the address of its first field.
  private struct ServerEnd {
    var connection: Connection
    var flushNode: PassNode
    var readNode: PassNode
    var releaseNode: PassNode
    let client: Unmanaged<InMemoryConnection>
    var isHeldByHandler = false
  }

  /// What the server has sent, one element for each time it sent something.
  private(set) var sends: [[UInt8]] = []
  private(set) var state = State.open
  /// How many bytes the server reads at once at most.
  var largestRead = Int.max
  /// A client that does not read leaves what is sent to it in the server's output pipe.
  var isReading = true { didSet { if isReading { outputReady() } } }
  /// The server's input pipe is full: it reads no more for now.
  private(set) var isPaused = false
  /// Bytes the client has sent and the server has not read.
  var unread: Int { incoming.count - position }

  private unowned let server: InMemoryServer
  private let end: UnsafeMutablePointer<ServerEnd>
  private var isReleased = false
  private var incoming: [UInt8] = []
  private var position = 0
  private var hasFinishedSending = false
  private var received = 0

  init(to server: InMemoryServer) {
    self.server = server
    end = .allocate(capacity: 1)
    end.initialize(
      to: ServerEnd(
        connection: Connection(context: server.context, transport: Self.transport),
        flushNode: PassNode(action: { InMemoryConnection.client($0, \.flushNode).flush() }),
        readNode: PassNode(action: { InMemoryConnection.client($0, \.readNode).deliver() }),
        releaseNode: PassNode(action: { InMemoryConnection.client($0, \.releaseNode).release() }),
        client: Unmanaged.passUnretained(self)))
    IOContext.add(connection, to: server.context)
  }

  /// The server's connection; not after it was closed.
  var connection: ConnectionPointer { UnsafeMutableRawPointer(end).assumingMemoryBound(to: Connection.self) }

  // MARK: The client

  /// Sends bytes; they reach the server in as few pieces as it reads.
  func send(_ bytes: [UInt8]) {
    incoming += bytes
    server.onIOThread { deliver() }
    server.runPasses()
  }

  func send(_ text: String) { send(Array(text.utf8)) }

  /// Sends bytes, with the test as the I/O thread, and leaves it to the test to run what comes of it.
  func deliver(_ text: String) {
    incoming += Array(text.utf8)
    deliver()
  }

  /// Says that it will send no more, like a FIN.
  func finishSending() {
    hasFinishedSending = true
    server.onIOThread { deliver() }
    server.runPasses()
  }

  /// Leaves without a word, like a reset.
  func disconnect() {
    server.onIOThread { if state != .closed { close() } }
    server.runPasses()
  }

  /// What the server has sent since the last call.
  func receive() -> String { String(decoding: receiveBytes(), as: UTF8.self) }

  /// What the server has sent since the last call.
  func receiveBytes() -> [UInt8] {
    let all = sends.flatMap { $0 }
    defer { received = all.count }
    return Array(all[received...])
  }

  // MARK: The server's end

  private static var transport: Transport {
    Transport(
      outputReady: { InMemoryConnection.client($0).outputReady() },
      inputResumed: { InMemoryConnection.client($0).inputResumed() },
      closeLingering: { InMemoryConnection.client($0).linger() },
      drain: { InMemoryConnection.client($0).close() },
      abort: { InMemoryConnection.client($0).close() })
  }

  private static func client(_ connection: UnsafeMutableRawPointer) -> InMemoryConnection {
    connection.assumingMemoryBound(to: ServerEnd.self).pointee.client.takeUnretainedValue()
  }

  private static func client(_ node: PassNodePointer, _ field: KeyPath<ServerEnd, PassNode>) -> InMemoryConnection {
    client(UnsafeMutableRawPointer(node) - offset(field))
  }

  private func node(_ field: KeyPath<ServerEnd, PassNode>) -> PassNodePointer {
    (UnsafeMutableRawPointer(end) + Self.offset(field)).assumingMemoryBound(to: PassNode.self)
  }

  private static func offset(_ field: KeyPath<ServerEnd, PassNode>) -> Int {
    guard let offset = MemoryLayout<ServerEnd>.offset(of: field) else { fatalError("a node is a stored field") }
    return offset
  }

  private var cache: BlockCache { server.context.pointee.cache }

  /// Moves what the client has sent into the input pipe, as far as the server reads.
  private func deliver() {
    while position < incoming.count, state == .open, !isPaused {
      let wanted = connection.pointee.readSize
      guard let room = connection.pointee.input.reserve(wanted, from: cache), let bytes = room.baseAddress else {
        return close()
      }
      let count = min(room.count, largestRead, incoming.count - position)
      incoming.withUnsafeBytes { bytes.copyMemory(from: $0.baseAddress! + position, byteCount: count) }
      position += count
      connection.pointee.input.advance(count)
      _ = connection.pointee.input.flush()
      Connection.receive(connection)
      isPaused = state == .open && connection.pointee.input.isPaused
    }
    if state == .lingering { position = incoming.count }
    guard position == incoming.count, hasFinishedSending else { return }
    if state == .lingering { return close() }
    if state == .open, !connection.pointee.inputEnded { Connection.inputDidEnd(connection) }
  }

  private func outputReady() {
    guard state == .open else { return }
    server.context.pointee.thread.runAtPassEnd(node(\.flushNode))
  }

  /// Sends all that the output pipe holds, in one piece.
  private func flush() {
    guard state == .open, isReading else { return }
    var piece: [UInt8] = []
    var hasResumed = false
    var vectors = [iovec](repeating: iovec(), count: 64)
    while connection.pointee.output.count > 0 {
      let filled = connection.pointee.output.gather(&vectors, vectors.count)
      let described = vectors.prefix(filled)
      for vector in described { piece += UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len) }
      let count = described.reduce(0) { $0 + $1.iov_len }
      if case .writerResumed = connection.pointee.output.consume(count, to: cache) { hasResumed = true }
    }
    if !piece.isEmpty { sends.append(piece) }
    if hasResumed { Connection.outputDidResume(connection) }
    if connection.pointee.output.count == 0 { Connection.outputDidDrain(connection) }
  }

  private func inputResumed() {
    guard isPaused else { return }
    isPaused = false
    server.context.pointee.thread.runInNextPass(node(\.readNode))
  }

  private func linger() {
    guard state == .open else { return }
    state = .lingering
    server.context.pointee.thread.runInNextPass(node(\.readNode))
  }

  /// Closes the connection. While a handler runs the memory stays; the handler's end closes it once more.
  private func close() {
    if state != .closed {
      state = .closed
      end.pointee.isHeldByHandler = !Connection.transportDidClose(connection)
      if end.pointee.isHeldByHandler { return }
    } else if end.pointee.isHeldByHandler {
      end.pointee.isHeldByHandler = false
    } else {
      return
    }
    IOContext.remove(connection, from: server.context)
    server.context.pointee.thread.deferRelease(node(\.releaseNode))
  }

  private func release() {
    guard end.pointee.readNode.isQueued == 0 else {
      return server.context.pointee.thread.runInNextPass(node(\.releaseNode))
    }
    isReleased = true
    end.deinitialize(count: 1)
    end.deallocate()
  }
}
