import CMews
import CMewsShims
import MewsCore

/// From a whole request to its handler and back.
extension Connection {
  /// A request is whole: finds its route and runs it, here or on a worker. True: the next request can be read.
  @_noLocks
  static func dispatch(_ connection: ConnectionPointer, _ exchange: ExchangePointer) -> Bool {
    let context = connection.pointee.context
    exchange.pointee.output = Exchange.outputOf(connection)
    guard Exchange.findPath(exchange) else {
      return refuse(connection, exchange, status: 400, reason: "the path is malformed")
    }
    _unsafePerformance {
      context.pointee.application.select(context.pointee.application.context, UnsafeMutableRawPointer(exchange))
    }
    guard let route = exchange.pointee.route else {
      if exchange.pointee.status == 0 {
        _unsafePerformance { Exchange.respondError(exchange, status: 404, reason: "no route for this path") }
      }
      return finish(connection, exchange)
    }
    if route.pointee.execution == 1 && !context.pointee.forcesWorkers {
      connection.pointee.phase = .running
      exchange.pointee.packet.action = { packet in Exchange.runInline(Exchange.of(packet)) }
      context.pointee.thread.runHandler(Exchange.packet(exchange))
      return false
    }
    connection.pointee.phase = .running
    Exchange.prepareForWorker(exchange, route)
    IOContext.queue(Exchange.packet(exchange), context)
    return false
  }

  /// The response is given: lets the exchange go and makes the connection ready for the next request. True: it can be
  /// read.
  @_noLocks
  static func finish(_ connection: ConnectionPointer, _ exchange: ExchangePointer) -> Bool {
    let context = connection.pointee.context
    // The server may have begun to drain after the response said that the connection stays.
    let keepAlive = exchange.pointee.keepAlive && exchange.pointee.status != 0 && !context.pointee.isDraining
    pinIfRetained(exchange, connection)
    connection.pointee.exchange = nil
    IOContext.endExchange(exchange, context)
    if connection.pointee.heldBytes > 0 {
      let held = connection.pointee.heldBytes
      connection.pointee.heldBytes = 0
      consumeInput(connection, held)
    }
    connection.pointee.phase = keepAlive ? .head : .closing
    outputIsReady(connection)
    return true
  }

  /// Keeps the bytes of the request for those who hold a token of it.
  @_noLocks @inline(__always)
  static func pinIfRetained(_ exchange: ExchangePointer, _ connection: ConnectionPointer) {
    guard Exchange.isRetained(exchange), exchange.pointee.pinned == nil, let block = connection.pointee.input.firstBlock
    else { return }
    connection.pointee.context.pointee.cache.retain(block)
    exchange.pointee.pinned = block
  }

  /// The handler has been run, or a pending response is there; this is the I/O thread.
  @_noLocks
  static func handlerDidReturn(_ exchange: ExchangePointer) {
    guard let context = exchange.pointee.context else { return }
    exchange.pointee.resources = context.pointee.resources
    guard let connection = exchange.pointee.connection else { return IOContext.endExchange(exchange, context) }
    guard case .running = connection.pointee.phase else {
      return _unsafePerformance { discardResponse(exchange, connection, context) }
    }
    if !exchange.pointee.response.holdsNoBlock {
      _ = connection.pointee.output.append(contentsOf: &exchange.pointee.response, to: context.pointee.cache)
    }
    if finish(connection, exchange) { receive(connection) }
    // Whatever request it is in now will not become whole. One that runs is answered first.
    if connection.pointee.inputEnded { _unsafePerformance { inputDidEnd(connection) } }
  }

  /// The client left while the handler ran. Its response goes now, also when a token keeps the exchange.
  private static func discardResponse(
    _ exchange: ExchangePointer, _ connection: ConnectionPointer, _ context: IOContextPointer
  ) {
    exchange.pointee.response.reset(to: context.pointee.cache)
    connection.pointee.exchange = nil
    pinIfRetained(exchange, connection)
    IOContext.endExchange(exchange, context)
    connection.pointee.input.reset(to: context.pointee.cache)
    connection.pointee.transport.abort(connection)
  }
}

extension Exchange {
  @_noLocks @inline(__always)
  public static func head(_ exchange: ExchangePointer) -> UnsafeMutablePointer<RequestHead> {
    withUnsafeMutablePointer(to: &exchange.pointee.head) { $0 }
  }

  @_noLocks @inline(__always)
  static func outputOf(_ connection: ConnectionPointer) -> UnsafeMutablePointer<Pipe> {
    withUnsafeMutablePointer(to: &connection.pointee.output) { $0 }
  }

  /// Makes `path` the decoded path: in place when there is nothing to decode, else in the arena. False: it is
  /// malformed.
  @_noLocks
  static func findPath(_ exchange: ExchangePointer) -> Bool {
    guard let base = exchange.pointee.base else { return false }
    let head = head(exchange)
    let start = base + Int(head.pointee.pathOffset)
    let count = Int(head.pointee.pathLength)
    if count == 0 {
      let root: StaticString = "/"
      exchange.pointee.path = root.utf8Start
      exchange.pointee.pathCount = 1
      return true
    }
    if head.pointee.pathIsPlain {
      exchange.pointee.path = start
      exchange.pointee.pathCount = count
      return true
    }
    let cache = exchange.pointee.cache
    guard let memory = exchange.pointee.arena.allocate(count, from: cache) else { return false }
    let output = memory.assumingMemoryBound(to: UInt8.self)
    let length = PathNormalizer.normalize(start, count, into: output)
    guard length >= 0 else { return false }
    exchange.pointee.path = UnsafePointer(output)
    exchange.pointee.pathCount = length
    return true
  }

  /// Room for `count` more bytes of the body, or nil when memory is exhausted. Grows by doubling, since a length that a
  /// client announces is no reason to set so much aside.
  @_noLocks
  static func growBody(_ exchange: ExchangePointer, by count: Int, atMost limit: Int) -> UnsafeMutablePointer<UInt8>? {
    let needed = min(exchange.pointee.bodyCount &+ count, limit)
    if needed > exchange.pointee.bodyCapacity {
      let doubled = max(max(needed, exchange.pointee.bodyCapacity &* 2), 16 * 1024)
      let capacity = min(doubled, max(limit, needed))
      let grown = _unsafePerformance { shim_reallocate(exchange.pointee.bodyBuffer, capacity) }
      guard let grown else { return nil }
      exchange.pointee.bodyBuffer = grown.assumingMemoryBound(to: UInt8.self)
      exchange.pointee.bodyCapacity = capacity
    }
    guard let buffer = exchange.pointee.bodyBuffer else { return nil }
    return buffer + exchange.pointee.bodyCount
  }

  /// Calls a handler on this thread, and makes sure that there is a response afterwards. False: the handler left it
  /// pending, and the exchange is no longer the caller's.
  @_noLocks @inline(__always)
  static func runHandler(
    _ exchange: ExchangePointer, _ handler: mews_handler, _ state: UnsafeMutableRawPointer?
  ) -> Bool {
    let thread = UInt64(UInt(bitPattern: shim_thread_context()))
    shim_store_relaxed(handlerWord(exchange), thread)
    let result = _unsafePerformance { handler(OpaquePointer(exchange), state) }
    shim_store_relaxed(handlerWord(exchange), 0)
    guard result < 0 || exchange.pointee.status == 0 else { return true }
    return _unsafePerformance { handlerDidNotRespond(exchange, result) }
  }

  /// A handler returned an error or without a response. False: that is not the end of it.
  @inline(never)
  private static func handlerDidNotRespond(_ exchange: ExchangePointer, _ result: mews_result) -> Bool {
    if result < 0 {
      let text = "the handler returned \(result) (\(ResultText.text(result)))"
      fail(exchange, exchange.pointee.status != 0 ? text + " after its response" : text)
      return true
    }
    guard result == mews_result(MEWS_PENDING) else {
      fail(exchange, "the handler returned without a response")
      return true
    }
    leaveIOThread(exchange)
    switch park(exchange) {
    case .parked: return false
    case .unawaited: return true
    case .stranded:
      fail(exchange, "the handler returned MEWS_PENDING without a token")
      return true
    }
  }

  /// Says in the log what is wrong with a handler, and responds in its place if it has not.
  static func fail(_ exchange: ExchangePointer, _ failure: String) {
    guard let context = exchange.pointee.context else { return }
    context.pointee.log._withUnsafeGuaranteedRef { log in
      let request =
        "\(String(decoding: exchange.pointee.methodView, as: UTF8.self)) "
        + String(decoding: exchange.pointee.pathView, as: UTF8.self)
      let plugin = exchange.pointee.route?.pointee.pluginName.map { String(cString: $0) } ?? "mews"
      log.write(Int(MEWS_LEVEL_ERROR), "\(request): \(failure)", source: plugin)
    }
    guard exchange.pointee.status == 0 else { return }
    exchange.pointee.fields.reset()
    respondError(exchange, status: 500, reason: "")
  }

  /// Gives the exchange an output of its own and a packet whose action runs the handler. A handler that is declared to
  /// block takes none of the places of those that run.
  @_noLocks
  static func prepareForWorker(_ exchange: ExchangePointer, _ route: UnsafePointer<Route>) {
    exchange.pointee.output = withUnsafeMutablePointer(to: &exchange.pointee.response) { $0 }
    exchange.pointee.packet.isUncounted = route.pointee.execution == 3 ? 1 : 0
    exchange.pointee.packet.action = { packet in Exchange.runOnWorker(Exchange.of(packet)) }
  }

  /// Runs the handler on the I/O thread, or on what was its thread when the handler began.
  @_noLocks
  static func runInline(_ exchange: ExchangePointer) {
    guard let route = exchange.pointee.route, let context = exchange.pointee.context,
      let connection = exchange.pointee.connection
    else { return }
    // Another thread may have prepared it.
    exchange.pointee.resources = context.pointee.resources
    // The client may have left since.
    if case .running = connection.pointee.phase {} else { leaveIOThread(exchange) }
    let watch = context.pointee.thread.beginRun()
    exchange.pointee.watch = watch
    let isOver = runHandler(exchange, route.pointee.handler, route.pointee.state)
    guard RunWatch.enter(watch) else {
      if isOver { _unsafePerformance { returnFromTakeover(exchange, context) } }
      return
    }
    guard isOver else { return }
    exchange.pointee.watch = nil
    Connection.handlerDidReturn(exchange)
  }

  /// While the handler ran, another thread took over the I/O thread's work: the result goes there as a worker's does.
  @inline(never)
  private static func returnFromTakeover(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    exchange.pointee.watch = nil
    sendBack(exchange, to: context)
  }

  @_noLocks
  private static func runOnWorker(_ exchange: ExchangePointer) {
    guard let route = exchange.pointee.route, let context = exchange.pointee.context else { return }
    if let resources = ThreadResources.current { exchange.pointee.resources = resources }
    guard runHandler(exchange, route.pointee.handler, route.pointee.state) else { return }
    sendBack(exchange, to: context)
  }

  /// Hands an exchange back to its I/O thread.
  static func sendBack(_ exchange: ExchangePointer, to context: IOContextPointer) {
    exchange.pointee.packet.action = { packet in
      Connection.handlerDidReturn(Exchange.of(packet))
    }
    context.pointee.thread.post(packet(exchange))
  }
}
