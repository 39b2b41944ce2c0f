import MewsCore

extension Exchange {
  /// The calling thread is about to wait. If it runs a handler, that is noted for the handler's route: a handler that
  /// says that it waits is not run inline. Any thread.
  public static func threadWillBlock() {
    guard let context = ThreadContext.current, let address = context.pointee.exchange else { return }
    let exchange = address.assumingMemoryBound(to: Exchange.self)
    guard check(exchange) == 0, let record = exchange.pointee.route?.pointee.record else { return }
    RouteRecord.willBlock(record, isInline: context.pointee.kind == .ioThread)
  }
}
