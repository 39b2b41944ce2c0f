import CMewsShims
import MewsCore

/// The deadline of the request that runs, and the answer to one that misses it: 504 (RFC 9110, 15.6.5), after which the
/// connection is closed.
///
/// A connection has one timer, because it has one request at a time. An answer leaves the timer alone: when that is due
/// it finds nothing to do, or that the deadline of the request by then is a later one. So a deadline that is met costs
/// a look at the clock and a word; and a route without one costs a branch.
extension Connection {
  /// Notes until when the request has to be answered that is about to go to its handler.
  @_noLocks @inline(never)
  static func startDeadline(_ connection: ConnectionPointer, _ deadline: RouteDeadlinePointer) {
    let thread = connection.pointee.context.pointee.thread
    // Not the time at which the pass began: handlers may have run in it since. This is somewhere inside of its
    // millisecond.
    let time = IOThread.clock &+ UInt64(deadline.pointee.milliseconds) &+ 1
    connection.pointee.deadline = time
    let timer = deadlineTimer(connection)
    if timer.pointee.isStarted && timer.pointee.deadline <= time { return }
    timer.pointee.context = UnsafeMutableRawPointer(connection)
    thread.start(timer, deadline: time)
  }

  /// The transport is closed.
  static func cancelDeadline(_ connection: ConnectionPointer) {
    connection.pointee.context.pointee.thread.cancel(deadlineTimer(connection))
  }

  static func deadlineTimerIsDue(_ timer: TimerPointer) {
    guard let connection = timer.pointee.context?.assumingMemoryBound(to: Connection.self) else { return }
    // Without a request that has a deadline, the next one that does starts the timer anew.
    guard case .running = connection.pointee.phase, let exchange = connection.pointee.exchange,
      let deadline = exchange.pointee.route?.pointee.deadline
    else { return }
    let thread = connection.pointee.context.pointee.thread
    guard connection.pointee.deadline <= thread.now else {
      return thread.start(timer, deadline: connection.pointee.deadline)
    }
    expire(connection, exchange, deadline)
  }

  /// Answers in the place of the handler, and lets the exchange go on its own: the handler may still read the request
  /// and respond, and its completion may still come. Whatever does comes back to this thread, and ends the exchange.
  private static func expire(
    _ connection: ConnectionPointer, _ exchange: ExchangePointer, _ deadline: RouteDeadlinePointer
  ) {
    let context = connection.pointee.context
    if exchange.pointee.isAnsweredInPlace { return goOnWithout(exchange, connection) }
    // What a response is written from belongs to the handler now, so the 504 has an exchange of its own.
    guard let standIn = IOContext.rentExchange(context) else { return connection.pointee.transport.abort(connection) }
    standIn.pointee.resources = context.pointee.resources
    standIn.pointee.connection = connection
    Exchange.head(standIn).pointee.method = exchange.pointee.head.method
    pin(exchange, connection)
    exchange.pointee.connection = nil
    connection.pointee.exchange = standIn
    let isPending = Exchange.deadlineDidPass(exchange)
    Exchange.reportMissedDeadline(exchange, deadline, isPending: isPending)
    if isPending { endUnawaited(exchange, context) }
    if refuse(connection, standIn, status: 504, reason: "there was no response in time") { receive(connection) }
  }

  /// The handler has responded in time, and then got stuck on what was the I/O thread: sends that, and reads on. The
  /// exchange ends when the handler returns.
  private static func goOnWithout(_ exchange: ExchangePointer, _ connection: ConnectionPointer) {
    let keepAlive = exchange.pointee.keepAlive && !connection.pointee.context.pointee.isDraining
    pin(exchange, connection)
    exchange.pointee.connection = nil
    connection.pointee.exchange = nil
    prepareForNext(connection, keepAlive: keepAlive)
    receive(connection)
    if connection.pointee.inputEnded { inputDidEnd(connection) }
  }

  /// Ends an exchange whose connection has gone on without it. A response that it has goes now, also when a token keeps
  /// the exchange.
  static func endUnawaited(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    exchange.pointee.response.reset(to: context.pointee.cache)
    IOContext.endExchange(exchange, context)
  }

  @_noLocks @inline(__always)
  private static func deadlineTimer(_ connection: ConnectionPointer) -> TimerPointer {
    withUnsafeMutablePointer(to: &connection.pointee.deadlineTimer) { $0 }
  }
}
