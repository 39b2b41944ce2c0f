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
    if let deadline = route.pointee.deadline { startDeadline(connection, deadline) }
    let execution = Route.execution(route)
    connection.pointee.phase = .running
    if execution == 1 && !context.pointee.forcesWorkers {
      connection.pointee.handlerIsDue = true
      return false
    }
    if let record = route.pointee.record { RouteRecord.cell(record, context.pointee.number).countWorkerRun() }
    Exchange.prepareForWorker(exchange, isUncounted: execution == 3)
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
    prepareForNext(connection, keepAlive: keepAlive)
    return true
  }

  /// Makes the connection ready for the next request, if there may be one, and has the response sent.
  @_noLocks @inline(__always)
  static func prepareForNext(_ connection: ConnectionPointer, keepAlive: Bool) {
    if connection.pointee.heldBytes > 0 {
      let held = connection.pointee.heldBytes
      connection.pointee.heldBytes = 0
      consumeInput(connection, held)
    }
    connection.pointee.phase = keepAlive ? .head : .closing
    outputIsReady(connection)
  }

  /// Keeps the bytes of the request for those who hold a token of it.
  @_noLocks @inline(__always)
  static func pinIfRetained(_ exchange: ExchangePointer, _ connection: ConnectionPointer) {
    if Exchange.isRetained(exchange) { pin(exchange, connection) }
  }

  /// Keeps the bytes of the request for as long as the exchange.
  @_noLocks @inline(__always)
  static func pin(_ exchange: ExchangePointer, _ connection: ConnectionPointer) {
    guard exchange.pointee.pinned == nil, let block = connection.pointee.input.firstBlock else { return }
    connection.pointee.context.pointee.cache.retain(block)
    exchange.pointee.pinned = block
  }

  /// The handler has been run, or a pending response is there; this is the I/O thread.
  @_noLocks
  static func handlerDidReturn(_ exchange: ExchangePointer) {
    guard let context = exchange.pointee.context else { return }
    exchange.pointee.resources = context.pointee.resources
    guard let connection = exchange.pointee.connection else {
      return _unsafePerformance { endUnawaited(exchange, context) }
    }
    if let next = next(after: exchange, connection, context) { queueInline(next, context) }
  }

  /// Lets an exchange go whose handler has been run, and reads on. Returns the next one if its handler is to run on
  /// this thread.
  @_noLocks @inline(__always)
  static func next(
    after exchange: ExchangePointer, _ connection: ConnectionPointer, _ context: IOContextPointer
  ) -> ExchangePointer? {
    guard case .running = connection.pointee.phase else {
      _unsafePerformance { discardResponse(exchange, connection, context) }
      return nil
    }
    if !exchange.pointee.response.holdsNoBlock {
      _ = connection.pointee.output.append(contentsOf: &exchange.pointee.response, to: context.pointee.cache)
    }
    if finish(connection, exchange) { readOn(connection) }
    // Whatever request it is in now will not become whole. One that runs is answered first.
    if connection.pointee.inputEnded { _unsafePerformance { inputDidEnd(connection) } }
    return takeDue(connection)
  }

  /// The exchange whose handler is to run on this thread now, if there is one. It is the caller's to run or queue.
  @_noLocks @inline(__always)
  static func takeDue(_ connection: ConnectionPointer) -> ExchangePointer? {
    guard connection.pointee.handlerIsDue else { return nil }
    connection.pointee.handlerIsDue = false
    return connection.pointee.exchange
  }

  /// Has a handler run on the I/O thread, behind others that wait for that.
  @_noLocks @inline(__always)
  static func queueInline(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    exchange.pointee.packet.action = { packet in Exchange.runInline(Exchange.of(packet)) }
    context.pointee.thread.runHandler(Exchange.packet(exchange))
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
    let thread = shim_thread_context()
    thread?.assumingMemoryBound(to: ThreadContext.self).pointee.exchange = UnsafeMutableRawPointer(exchange)
    shim_store_relaxed(handlerWord(exchange), UInt64(UInt(bitPattern: thread)))
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

  /// Says in the log what is wrong with a handler, and responds in its place if it has not. Of one that is late anyway
  /// there is no more to say.
  static func fail(_ exchange: ExchangePointer, _ failure: String) {
    guard let context = exchange.pointee.context, !isExpired(exchange) else { return }
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

  /// Gives the exchange an output of its own and a packet whose action runs the handler. A handler that is known to
  /// block takes none of the places of those that run.
  @_noLocks
  static func prepareForWorker(_ exchange: ExchangePointer, isUncounted: Bool) {
    exchange.pointee.output = withUnsafeMutablePointer(to: &exchange.pointee.response) { $0 }
    exchange.pointee.packet.isUncounted = isUncounted ? 1 : 0
    exchange.pointee.packet.action = { packet in Exchange.runOnWorker(Exchange.of(packet)) }
  }

  /// How many requests a connection may have answered before the handlers of others, which wait, are run. Their
  /// responses go to the kernel at once.
  private static var runsPerTurn: Int { @_noLocks get { 32 } }

  /// Runs a handler on the I/O thread, or on what was its thread when the handler began, and then those of the requests
  /// that have come behind it, as long as it is the connection's turn.
  @_noLocks
  static func runInline(_ first: ExchangePointer) {
    guard let context = first.pointee.context else { return }
    var exchange = first
    var left = runsPerTurn
    while let next = runOneInline(exchange, context) {
      left &-= 1
      guard left > 0, context.pointee.thread.runsHandlerAtOnce(packet(next)) else {
        return Connection.queueInline(next, context)
      }
      exchange = next
    }
  }

  /// Runs a handler. Returns the exchange behind it whose handler is to run on this thread.
  @_noLocks @inline(__always)
  private static func runOneInline(_ exchange: ExchangePointer, _ context: IOContextPointer) -> ExchangePointer? {
    guard let route = exchange.pointee.route else { return nil }
    if hasMissedDeadline(exchange, route) {
      Connection.handlerDidReturn(exchange)
      return nil
    }
    guard let connection = exchange.pointee.connection else { return nil }
    // Another thread may have prepared it.
    exchange.pointee.resources = context.pointee.resources
    // The client may have left since.
    if case .running = connection.pointee.phase {} else { leaveIOThread(exchange) }
    let measure = RouteRecord.countInline(route, context)
    if case .none = measure { return runInline(exchange, route, context, connection, .none) }
    return runMeasured(exchange, route, context, connection, measure)
  }

  @_noLocks @inline(never)
  private static func runMeasured(
    _ exchange: ExchangePointer, _ route: UnsafePointer<Route>, _ context: IOContextPointer,
    _ connection: ConnectionPointer, _ measure: RunMeasure
  ) -> ExchangePointer? {
    runInline(exchange, route, context, connection, measure)
  }

  @_noLocks @inline(__always)
  private static func runInline(
    _ exchange: ExchangePointer, _ route: UnsafePointer<Route>, _ context: IOContextPointer,
    _ connection: ConnectionPointer, _ measure: RunMeasure
  ) -> ExchangePointer? {
    let watch = context.pointee.watch
    exchange.pointee.watch = watch
    let run = RouteRun.inline(route, context, measure)
    RunWatch.begin(watch)
    let isOver = runHandler(exchange, route.pointee.handler, route.pointee.state)
    // As long as the work can be taken over: what there is to say of the run may take its time, too.
    if run.isMeasured, !RunWatch.isTaken(watch) { run.observe(run.sample()) }
    guard RunWatch.enter(watch) else {
      if isOver { _unsafePerformance { returnFromTakeover(exchange, context) } }
      return nil
    }
    guard isOver else { return nil }
    exchange.pointee.watch = nil
    return Connection.next(after: exchange, connection, context)
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
    if hasMissedDeadline(exchange, route) { return sendBack(exchange, to: context) }
    if let resources = ThreadResources.current { exchange.pointee.resources = resources }
    let run = RouteRun.beginOnWorker(route, isUncounted: exchange.pointee.packet.isUncounted != 0)
    let hasResponse = runHandler(exchange, route.pointee.handler, route.pointee.state)
    guard run.isMeasured else {
      if hasResponse { sendBack(exchange, to: context) }
      return
    }
    let sample = run.sample()
    // First, because the client waits.
    if hasResponse { sendBack(exchange, to: context) }
    run.observe(sample)
  }

  /// Hands an exchange back to its I/O thread.
  static func sendBack(_ exchange: ExchangePointer, to context: IOContextPointer) {
    exchange.pointee.packet.action = { packet in
      Connection.handlerDidReturn(Exchange.of(packet))
    }
    context.pointee.thread.post(packet(exchange))
  }
}
