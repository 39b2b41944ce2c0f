import CMewsShims
import Glibc
import MewsCore

/// A connection over a stream socket, driven by epoll's edges: the transport under an HTTP connection.
///
/// An edge says that there may be more to read or room to write. So a read goes on until the socket has no more, or
/// until the connection has had its share of the pass, and a write until the socket takes no more.
struct SocketConnection {
  /// First, because the I/O thread knows the connection by it.
  var source: EventSource
  /// The connection's place among what is to be flushed when the pass ends.
  var flushNode: PassNode
  /// Its place among what is to be read on in the next pass.
  var readNode: PassNode
  var releaseNode: PassNode
  /// Ends the wait for the peer's close, and the one for its first request.
  var lingerTimer: Timer
  var connection: Connection
  var lingeredBytes = 0
  /// The input pipe is full; the socket may hold more.
  var isReadPaused = false
  var isWriteBlocked = false
  var isLingering = false
  /// The peer has sent something.
  var hasReceived = false
  var isClosed = false
  /// A handler runs, so the memory stays although the socket is closed.
  var isHeldByHandler = false

  /// How long the peer has to close after the last response, and how much it may still send meanwhile.
  static let lingerMilliseconds: UInt64 = 2_000
  /// The same while the server stops, which should not wait for peers that keep their end open.
  static let drainLingerMilliseconds: UInt64 = 250
  /// How long a connection that was taken just before the server stopped has to send its first request.
  static let firstRequestMilliseconds: UInt64 = 250
  static let lingerBytes = 4 << 20

  init(descriptor: Int32, context: IOContextPointer) {
    source = EventSource(descriptor: descriptor, onEvents: { SocketConnection.onEvents($0, $1) })
    flushNode = PassNode(action: { node in SocketConnection.flush(SocketConnection.whole(node, at: Offset.flushNode)) })
    readNode = PassNode(action: { node in SocketConnection.read(SocketConnection.whole(node, at: Offset.readNode)) })
    releaseNode = PassNode(action: { SocketConnection.free(SocketConnection.whole($0, at: Offset.releaseNode)) })
    lingerTimer = Timer(action: { timer in SocketConnection.lingeringIsOver(timer) }, context: nil)
    connection = Connection(context: context, transport: Self.transport)
  }
}

typealias SocketConnectionPointer = UnsafeMutablePointer<SocketConnection>

// MARK: Life

extension SocketConnection {
  /// Takes over a connected, non-blocking socket. Closes it when that cannot be.
  static func open(_ descriptor: Int32, _ context: IOContextPointer) {
    let socket = SocketConnectionPointer.allocate(capacity: 1)
    socket.initialize(to: SocketConnection(descriptor: descriptor, context: context))
    IOContext.add(connection(socket), to: context)
    if context.pointee.thread.add(source(socket)) != 0 { return close(socket) }
    if context.pointee.isDraining { awaitFirstRequest(socket) }
  }

  /// Closes the socket, now. The memory goes at the end of the pass, or when the handler that still runs has returned.
  static func close(_ socket: SocketConnectionPointer) {
    let context = socket.pointee.connection.context
    if !socket.pointee.isClosed {
      socket.pointee.isClosed = true
      context.pointee.thread.cancel(lingerTimerOf(socket))
      context.pointee.thread.close(source(socket))
      socket.pointee.isHeldByHandler = !Connection.transportDidClose(connection(socket))
      if !socket.pointee.isHeldByHandler { release(socket) }
    } else if socket.pointee.isHeldByHandler {
      socket.pointee.isHeldByHandler = false
      release(socket)
    }
  }

  private static func release(_ socket: SocketConnectionPointer) {
    let context = socket.pointee.connection.context
    context.pointee.thread.deferRelease(node(socket, at: Offset.releaseNode))
    IOContext.remove(connection(socket), from: context)
  }

  /// A request that the kernel has already is still answered; without one the connection ends. Only one that has never
  /// brought a request gets a moment for it: its client could not know.
  private static func drain(_ socket: SocketConnectionPointer) {
    guard !socket.pointee.isClosed, socket.pointee.connection.isIdle else { return }
    read(socket)
    guard !socket.pointee.isClosed, socket.pointee.connection.isIdle else { return }
    if socket.pointee.hasReceived { close(socket) } else { awaitFirstRequest(socket) }
  }

  /// Closes the connection when its first request has not begun to come after a moment.
  private static func awaitFirstRequest(_ socket: SocketConnectionPointer) {
    let thread = socket.pointee.connection.context.pointee.thread
    socket.pointee.lingerTimer.context = UnsafeMutableRawPointer(socket)
    thread.start(lingerTimerOf(socket), deadline: thread.now + firstRequestMilliseconds)
  }

  /// Frees the memory, unless it is still queued to be read in the next pass: then after that.
  private static func free(_ socket: SocketConnectionPointer) {
    guard socket.pointee.readNode.isQueued != 0 else { return socket.deallocate() }
    socket.pointee.connection.context.pointee.thread.runInNextPass(node(socket, at: Offset.releaseNode))
  }

  /// The last response is out: says so to the peer, and reads on until it closes, too.
  private static func linger(_ socket: SocketConnectionPointer) {
    guard !socket.pointee.isClosed, !socket.pointee.isLingering else { return }
    socket.pointee.isLingering = true
    shutdown(socket.pointee.source.descriptor, Int32(SHUT_WR))
    let thread = socket.pointee.connection.context.pointee.thread
    socket.pointee.lingerTimer.context = UnsafeMutableRawPointer(socket)
    let limit = socket.pointee.connection.context.pointee.isDraining ? drainLingerMilliseconds : lingerMilliseconds
    thread.start(lingerTimerOf(socket), deadline: thread.now + limit)
    // What has arrived already brings no further edge.
    thread.runInNextPass(node(socket, at: Offset.readNode))
  }

  private static func lingeringIsOver(_ timer: TimerPointer) {
    guard let socket = timer.pointee.context?.assumingMemoryBound(to: SocketConnection.self) else { return }
    // The first request may have come at last: then its response ends the connection.
    if socket.pointee.isLingering || socket.pointee.connection.isIdle { close(socket) }
  }
}

// MARK: Reading and writing

extension SocketConnection {
  @_noLocks
  private static func onEvents(_ source: EventSourcePointer, _ events: UInt32) {
    let socket = UnsafeMutableRawPointer(source).assumingMemoryBound(to: SocketConnection.self)
    if socket.pointee.isWriteBlocked && events & (ReadyEvents.writable | ReadyEvents.error | ReadyEvents.hangup) != 0 {
      socket.pointee.isWriteBlocked = false
      flush(socket)
    }
    if socket.pointee.isReadPaused { return eventsWhilePaused(socket, events) }
    if events & ~ReadyEvents.writable != 0 { read(socket, mayHaveEnded: events & ReadyEvents.peerClosed != 0) }
  }

  /// The input pipe is full: what comes in stays in the kernel, so that the peer has to wait, until there is room
  /// again. All there is to hear is that the connection broke off.
  @_noLocks
  private static func eventsWhilePaused(_ socket: SocketConnectionPointer, _ events: UInt32) {
    guard !socket.pointee.isClosed, events & (ReadyEvents.error | ReadyEvents.hangup) != 0 else { return }
    _unsafePerformance { close(socket) }
  }

  /// Reads until the socket has no more or the pass has given its share.
  @_noLocks
  private static func read(_ socket: SocketConnectionPointer, mayHaveEnded: Bool = true) {
    let connection = connection(socket)
    let context = connection.pointee.context
    var reads = context.pointee.limits.readsPerPass
    while !socket.pointee.isClosed {
      if socket.pointee.isLingering { return _unsafePerformance { discard(socket) } }
      if connection.pointee.inputEnded { return }
      guard reads > 0 else { return context.pointee.thread.runInNextPass(node(socket, at: Offset.readNode)) }
      reads &-= 1
      let wanted = connection.pointee.readSize
      guard let room = connection.pointee.input.reserve(wanted, from: context.pointee.cache),
        let bytes = room.baseAddress
      else { return _unsafePerformance { close(socket) } }
      let count = shim_receive(socket.pointee.source.descriptor, bytes, room.count)
      guard count > 0 else {
        connection.pointee.input.cancelReservation(to: context.pointee.cache)
        return _unsafePerformance { readEnded(socket, Int32(truncatingIfNeeded: count)) }
      }
      socket.pointee.hasReceived = true
      connection.pointee.input.advance(count)
      _ = connection.pointee.input.flush()
      Connection.receive(connection)
      // Asked after the protocol has had its turn: what it read makes room again.
      if connection.pointee.input.isPaused {
        socket.pointee.isReadPaused = true
        return
      }
      // A short read has emptied the socket (epoll(7)), unless the end of the stream waits behind the bytes.
      if count < room.count && !mayHaveEnded { return }
    }
  }

  private static func readEnded(_ socket: SocketConnectionPointer, _ result: Int32) {
    switch result {
    case -EAGAIN: return
    case 0: Connection.inputDidEnd(connection(socket))
    default: close(socket)
    }
  }

  /// Throws away what comes in while the connection waits for the peer to close.
  private static func discard(_ socket: SocketConnectionPointer) {
    withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 16) { room in
      guard let bytes = room.baseAddress else { return }
      for _ in 0..<16 {
        let count = shim_receive(socket.pointee.source.descriptor, bytes, room.count)
        if count == -Int(EAGAIN) { return }
        socket.pointee.lingeredBytes += max(count, 0)
        guard count > 0, socket.pointee.lingeredBytes <= lingerBytes else { return close(socket) }
      }
      socket.pointee.connection.context.pointee.thread.runInNextPass(node(socket, at: Offset.readNode))
    }
  }

  /// Sends what the output pipe holds, as far as the socket takes it.
  @_noLocks
  private static func flush(_ socket: SocketConnectionPointer) {
    let connection = connection(socket)
    let context = connection.pointee.context
    guard !socket.pointee.isClosed, !socket.pointee.isWriteBlocked else { return }
    var hasResumed = false
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: 64) { pieces in
      guard let pieces = pieces.baseAddress else { return }
      while connection.pointee.output.count > 0 {
        let count = connection.pointee.output.gather(pieces, 64)
        let sent = shim_send(socket.pointee.source.descriptor, pieces, Int32(truncatingIfNeeded: count))
        guard sent >= 0 else {
          if sent == -Int(EAGAIN) { socket.pointee.isWriteBlocked = true } else { _unsafePerformance { close(socket) } }
          return
        }
        if case .writerResumed = connection.pointee.output.consume(sent, to: context.pointee.cache) {
          hasResumed = true
        }
      }
    }
    // Responses that come of it are flushed at the end of the pass, as this one was.
    if hasResumed && !socket.pointee.isClosed { Connection.outputDidResume(connection) }
    if !socket.pointee.isClosed && connection.pointee.output.count == 0 { Connection.outputDidDrain(connection) }
  }
}

// MARK: The transport's table

extension SocketConnection {
  private static let transport = Transport(
    outputReady: { argument in
      let socket = of(argument)
      socket.pointee.connection.context.pointee.thread.runAtPassEnd(node(socket, at: Offset.flushNode))
    },
    inputResumed: { argument in
      let socket = of(argument)
      guard socket.pointee.isReadPaused else { return }
      socket.pointee.isReadPaused = false
      socket.pointee.connection.context.pointee.thread.runInNextPass(node(socket, at: Offset.readNode))
    },
    closeLingering: { argument in linger(of(argument)) },
    drain: { argument in drain(of(argument)) }, abort: { argument in close(of(argument)) })
}

// MARK: From part to whole and back

/// Where the parts lie. They are C structs in a row, whose sizes are multiples of their alignment; a test compares
/// these sums with the layout the compiler chose.
extension SocketConnection {
  enum Offset {
    @inline(__always) static var flushNode: Int { MemoryLayout<EventSource>.stride }
    @inline(__always) static var readNode: Int { flushNode &+ MemoryLayout<PassNode>.stride }
    @inline(__always) static var releaseNode: Int { readNode &+ MemoryLayout<PassNode>.stride }
    @inline(__always) static var lingerTimer: Int { releaseNode &+ MemoryLayout<PassNode>.stride }
    @inline(__always) static var connection: Int { lingerTimer &+ MemoryLayout<Timer>.stride }
  }

  @_noLocks @inline(__always)
  private static func whole(_ part: UnsafeMutableRawPointer, at offset: Int) -> SocketConnectionPointer {
    (part - offset).assumingMemoryBound(to: SocketConnection.self)
  }

  @_noLocks @inline(__always)
  private static func part<Part>(_ socket: SocketConnectionPointer, at offset: Int) -> UnsafeMutablePointer<Part> {
    (UnsafeMutableRawPointer(socket) + offset).assumingMemoryBound(to: Part.self)
  }

  @_noLocks @inline(__always)
  private static func of(_ connection: UnsafeMutableRawPointer) -> SocketConnectionPointer {
    whole(connection, at: Offset.connection)
  }

  @_noLocks @inline(__always)
  private static func connection(_ socket: SocketConnectionPointer) -> ConnectionPointer {
    part(socket, at: Offset.connection)
  }

  @_noLocks @inline(__always)
  private static func source(_ socket: SocketConnectionPointer) -> EventSourcePointer { part(socket, at: 0) }

  @_noLocks @inline(__always)
  private static func node(_ socket: SocketConnectionPointer, at offset: Int) -> PassNodePointer {
    part(socket, at: offset)
  }

  private static func lingerTimerOf(_ socket: SocketConnectionPointer) -> TimerPointer {
    part(socket, at: Offset.lingerTimer)
  }
}
