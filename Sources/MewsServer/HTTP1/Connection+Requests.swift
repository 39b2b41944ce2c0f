import Glibc
import MewsCore

/// HTTP/1.1 on a connection: reads requests out of the input pipe, one after the other (RFC 9112).
extension Connection {
  /// The transport put bytes into the input pipe. The I/O thread.
  @_noLocks
  public static func receive(_ connection: ConnectionPointer) {
    readOn(connection)
    if let exchange = takeDue(connection) { queueInline(exchange, connection.pointee.context) }
  }

  /// Reads and dispatches requests until there is none, or one runs.
  @_noLocks
  static func readOn(_ connection: ConnectionPointer) {
    while true {
      let proceeds: Bool
      switch connection.pointee.phase {
      case .head: proceeds = !connection.pointee.output.isPaused && readHead(connection)
      case .bodyInPlace: proceeds = readBodyInPlace(connection)
      case .bodyGathered: proceeds = readBodyGathered(connection)
      case .bodyChunked: proceeds = readBodyChunked(connection)
      case .running, .closed: proceeds = false
      case .closing:
        discardInput(connection)
        proceeds = false
      }
      if !proceeds { return }
    }
  }

  /// The peer will send no more; what it sent is in the input pipe. A request in flight is still answered.
  public static func inputDidEnd(_ connection: ConnectionPointer) {
    connection.pointee.inputEnded = true
    switch connection.pointee.phase {
    case .running, .closed: break
    case .head where connection.pointee.output.isPaused && connection.pointee.input.count > 0:
      // There may be whole requests; `outputDidResume` comes back to them.
      break
    case .head, .bodyInPlace, .bodyGathered, .bodyChunked, .closing:
      // Half a request can never become a whole one.
      if connection.pointee.output.count == 0 {
        connection.pointee.transport.abort(connection)
      } else {
        connection.pointee.phase = .closing
      }
    }
  }

  /// The transport sent so much that the next request, which waited for that, can be read: the output pipe's `consume`
  /// said `writerResumed`.
  @_noLocks
  public static func outputDidResume(_ connection: ConnectionPointer) {
    guard case .head = connection.pointee.phase else { return }
    receive(connection)
    if connection.pointee.inputEnded, case .head = connection.pointee.phase {
      _unsafePerformance { inputDidEnd(connection) }
    }
  }

  /// The transport sent all there was to send.
  @_noLocks
  public static func outputDidDrain(_ connection: ConnectionPointer) {
    if case .closing = connection.pointee.phase { _unsafePerformance { closeAfterOutput(connection) } }
  }

  /// The server drains: closes a connection that is between two requests, at once or after the response it still sends.
  /// Another closes after the response to the next request that it has, or to the one that it is in, which says so.
  static func drain(_ connection: ConnectionPointer) {
    if connection.pointee.isIdle {
      connection.pointee.transport.drain(connection)
    } else if connection.pointee.phase == .head && connection.pointee.exchange == nil
      && connection.pointee.input.count == 0
    {
      connection.pointee.phase = .closing
    }
  }

  private static func closeAfterOutput(_ connection: ConnectionPointer) {
    if connection.pointee.inputEnded {
      connection.pointee.transport.abort(connection)
    } else {
      connection.pointee.transport.closeLingering(connection)
    }
  }

  /// The transport is closed: lets go of everything but a handler that still runs, or whose completion is on its way.
  /// True: nothing refers to the connection any more. False: `handlerDidReturn` will say so later.
  static func transportDidClose(_ connection: ConnectionPointer) -> Bool {
    let context = connection.pointee.context
    let isRunning = connection.pointee.phase == .running
    connection.pointee.phase = .closed
    cancelDeadline(connection)
    connection.pointee.output.reset(to: context.pointee.cache)
    if isRunning, let exchange = connection.pointee.exchange, !Exchange.clientDidLeave(exchange) { return false }
    if let exchange = connection.pointee.exchange {
      connection.pointee.exchange = nil
      pinIfRetained(exchange, connection)
      IOContext.endExchange(exchange, context)
    }
    connection.pointee.input.reset(to: context.pointee.cache)
    return true
  }

  // MARK: Head

  @_noLocks
  private static func readHead(_ connection: ConnectionPointer) -> Bool {
    let context = connection.pointee.context
    let count = connection.pointee.input.count
    guard count > 0 else { return false }
    if connection.pointee.exchange == nil {
      guard let exchange = IOContext.rentExchange(context) else { return shed(connection) }
      exchange.pointee.connection = connection
      connection.pointee.exchange = exchange
    }
    guard let exchange = connection.pointee.exchange else { return false }
    if connection.pointee.input.first.count != count {
      // The parser wants the head in one piece. A full head fits; a larger one is refused before it gets there.
      let wanted = min(count, context.pointee.limits.largestHead)
      guard connection.pointee.input.coalesce(wanted, room: BlockPool.blockSize, from: context.pointee.cache) else {
        return shed(connection)
      }
    }
    let bytes = connection.pointee.input.first
    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
    let head = Exchange.head(exchange)
    let result = connection.pointee.parser.parse(base, bytes.count, into: head)
    if result.isIncomplete { return false }
    exchange.pointee.base = base
    if result.isFailed {
      return refuse(connection, exchange, result.error)
    }
    exchange.pointee.keepAlive = head.pointee.keepAlive
    return headIsRead(connection, exchange, headCount: result.consumed)
  }

  /// Decides how the body is read.
  @_noLocks @inline(__always)
  private static func headIsRead(_ connection: ConnectionPointer, _ exchange: ExchangePointer, headCount: Int) -> Bool {
    let head = Exchange.head(exchange)
    connection.pointee.heldBytes = headCount
    if head.pointee.contentLength <= 0 && !head.pointee.isChunked { return dispatch(connection, exchange) }
    return bodyIsAnnounced(connection, exchange, headCount: headCount)
  }

  @_noLocks @inline(never)
  private static func bodyIsAnnounced(_ connection: ConnectionPointer, _ exchange: ExchangePointer, headCount: Int)
    -> Bool
  {
    let context = connection.pointee.context
    let head = Exchange.head(exchange)
    let length = head.pointee.contentLength
    guard length <= context.pointee.limits.bodyBytes else {
      return refuse(connection, exchange, status: 413, reason: "the body is larger than the server takes")
    }
    guard let block = connection.pointee.input.firstBlock else { return false }
    if head.pointee.expectsContinue && connection.pointee.input.count == headCount { sendContinue(connection) }
    let room = Int(block.pointee.capacity &- block.pointee.start) &- headCount
    // In place only below the size at which the input pipe would pause and never see the rest.
    if !head.pointee.isChunked && length <= Int64(min(room, context.pointee.limits.inputPause / 2 &- headCount)) {
      connection.pointee.phase = .bodyInPlace
      return true
    }
    // The body gets memory of its own; the head stays where it is, and so must its block.
    context.pointee.cache.retain(block)
    exchange.pointee.pinned = block
    consumeInput(connection, headCount)
    connection.pointee.heldBytes = 0
    if head.pointee.isChunked {
      connection.pointee.decoder = ChunkedDecoder()
      connection.pointee.phase = .bodyChunked
    } else {
      connection.pointee.phase = .bodyGathered
    }
    return true
  }

  /// RFC 9110, 10.1.1: the client waits for this before it sends the body.
  @_noLocks
  private static func sendContinue(_ connection: ConnectionPointer) {
    let line: StaticString = "HTTP/1.1 100 Continue\r\n\r\n"
    let cache = connection.pointee.context.pointee.cache
    if case .accepted = connection.pointee.output.append(line.utf8Start, line.utf8CodeUnitCount, from: cache) {
      outputIsReady(connection)
    }
  }

  // MARK: Body

  @_noLocks
  private static func readBodyInPlace(_ connection: ConnectionPointer) -> Bool {
    guard let exchange = connection.pointee.exchange else { return false }
    let length = Int(truncatingIfNeeded: Exchange.head(exchange).pointee.contentLength)
    let held = connection.pointee.heldBytes
    guard connection.pointee.input.count >= held &+ length else { return false }
    if connection.pointee.input.first.count < held &+ length {
      // The transport chose another block although this one had room: bring the two together.
      let cache = connection.pointee.context.pointee.cache
      guard connection.pointee.input.coalesce(held &+ length, room: 0, from: cache) else { return shed(connection) }
      exchange.pointee.base = connection.pointee.input.first.baseAddress?.assumingMemoryBound(to: UInt8.self)
    }
    guard let base = exchange.pointee.base else { return false }
    exchange.pointee.body = base + held
    exchange.pointee.bodyCount = length
    connection.pointee.heldBytes = held &+ length
    return dispatch(connection, exchange)
  }

  @_noLocks
  private static func readBodyGathered(_ connection: ConnectionPointer) -> Bool {
    guard let exchange = connection.pointee.exchange else { return false }
    let length = Int(truncatingIfNeeded: Exchange.head(exchange).pointee.contentLength)
    while exchange.pointee.bodyCount < length {
      let piece = connection.pointee.input.first
      guard let source = piece.baseAddress else { return false }
      let count = min(piece.count, length &- exchange.pointee.bodyCount)
      guard let buffer = Exchange.growBody(exchange, by: count, atMost: length) else { return shed(connection) }
      UnsafeMutableRawPointer(buffer).copyMemory(from: source, byteCount: count)
      exchange.pointee.bodyCount &+= count
      consumeInput(connection, count)
    }
    exchange.pointee.body = UnsafePointer(exchange.pointee.bodyBuffer)
    return dispatch(connection, exchange)
  }

  @_noLocks
  private static func readBodyChunked(_ connection: ConnectionPointer) -> Bool {
    guard let exchange = connection.pointee.exchange else { return false }
    let limit = Int(clamping: min(connection.pointee.context.pointee.limits.bodyBytes, .max &- 1))
    while true {
      let piece = connection.pointee.input.first
      guard let source = piece.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
      // One byte more than the limit, so that a body above it is seen to be.
      guard let buffer = Exchange.growBody(exchange, by: piece.count, atMost: limit &+ 1) else {
        return shed(connection)
      }
      let room = exchange.pointee.bodyCapacity &- exchange.pointee.bodyCount
      let result = connection.pointee.decoder.decode(source, piece.count, into: buffer, room)
      exchange.pointee.bodyCount &+= result.produced
      consumeInput(connection, result.consumed)
      // What a chunk announces counts as if it had come.
      if exchange.pointee.bodyCount > limit
        || connection.pointee.decoder.announced > limit &- exchange.pointee.bodyCount
      {
        return refuse(connection, exchange, status: 413, reason: "the body is larger than the server takes")
      }
      switch result.state {
      case .needsMore, .outputFull: continue
      case .failed:
        return refuse(connection, exchange, result.error)
      case .complete:
        exchange.pointee.body = UnsafePointer(exchange.pointee.bodyBuffer)
        return dispatch(connection, exchange)
      }
    }
  }

  // MARK: Ends

  /// Answers a request that cannot be served and closes the connection after it: what follows cannot be trusted to be a
  /// request.
  @_noLocks @inline(never)
  static func refuse(
    _ connection: ConnectionPointer, _ exchange: ExchangePointer, status: UInt32, reason: StaticString
  ) -> Bool {
    exchange.pointee.keepAlive = false
    withUnsafeMutablePointer(to: &connection.pointee.output) { exchange.pointee.output = $0 }
    _unsafePerformance { Exchange.respondError(exchange, status: status, reason: reason) }
    return finish(connection, exchange)
  }

  @_noLocks @inline(never)
  private static func refuse(
    _ connection: ConnectionPointer, _ exchange: ExchangePointer, _ error: RequestError
  ) -> Bool {
    _unsafePerformance {
      refuse(connection, exchange, status: UInt32(truncatingIfNeeded: error.status), reason: error.reason)
    }
  }

  /// Memory is exhausted: this connection is the one to go.
  @_noLocks @inline(never)
  private static func shed(_ connection: ConnectionPointer) -> Bool {
    _unsafePerformance { connection.pointee.transport.abort(connection) }
    return false
  }

  @_noLocks
  private static func discardInput(_ connection: ConnectionPointer) {
    consumeInput(connection, connection.pointee.input.count)
  }

  /// Takes bytes out of the input pipe, and lets a transport that waits for room go on.
  @_noLocks @inline(__always)
  static func consumeInput(_ connection: ConnectionPointer, _ count: Int) {
    let cache = connection.pointee.context.pointee.cache
    if case .writerResumed = connection.pointee.input.consume(count, to: cache) {
      _unsafePerformance { connection.pointee.transport.inputResumed(connection) }
    }
  }

  @_noLocks @inline(__always)
  static func outputIsReady(_ connection: ConnectionPointer) {
    _ = connection.pointee.output.flush()
    _unsafePerformance { connection.pointee.transport.outputReady(connection) }
  }
}
