import CMews
import MewsCore
import MewsServer

/// Looks requests up in the frozen routes: the host's side of the server's `Application`.
final class RouteDispatch: @unchecked Sendable {
  /// What a look-up needs, in memory that the I/O threads read.
  struct State {
    var table: RouteTable
  }

  private let state = UnsafeMutablePointer<State>.allocate(capacity: 1)
  private var isFrozen = false

  /// Makes the table. Once, before the server starts. False: memory is exhausted.
  func freeze(_ router: Router) -> Bool {
    guard !isFrozen, let table = router.makeTable() else { return isFrozen }
    state.initialize(to: State(table: table))
    isFrozen = true
    return true
  }

  func destroy() {
    if isFrozen { state.pointee.table.destroy() }
    state.deallocate()
  }

  var application: Application {
    Application(context: UnsafeMutableRawPointer(state)) { state, exchange in
      RouteDispatch.select(
        state.assumingMemoryBound(to: State.self), exchange.assumingMemoryBound(to: Exchange.self))
    }
  }

  /// Sets the exchange's route and captures, or answers 405. On the I/O thread, for each request.
  @_noLocks
  private static func select(_ state: UnsafeMutablePointer<State>, _ exchange: ExchangePointer) {
    guard let path = exchange.pointee.path, let base = exchange.pointee.base else { return }
    let head = Exchange.head(exchange)
    // A look-up writes all that its answer has, so the place for it needs no clearing.
    withUnsafeTemporaryAllocation(of: RouteMatch.self, capacity: 1) { place in
      guard let match = place.baseAddress else { return }
      state.pointee.table.lookup(
        path: path, count: exchange.pointee.pathCount, method: head.pointee.method.code,
        methodText: base + Int(head.pointee.methodOffset), methodCount: Int(head.pointee.methodLength), into: match)
      apply(match, state, exchange)
    }
  }

  @_noLocks @inline(__always)
  private static func apply(
    _ match: UnsafeMutablePointer<RouteMatch>, _ state: UnsafeMutablePointer<State>, _ exchange: ExchangePointer
  ) {
    switch match.pointee.outcome {
    case .found:
      guard let record = match.pointee.route else { return }
      exchange.pointee.route = UnsafePointer(record.pointee.payload.assumingMemoryBound(to: Route.self))
      var index = 0
      while index < Int(match.pointee.parameterCount) {
        let capture = match.pointee.parameters[index]
        Exchange.capture(exchange, index, offset: capture.offset, count: capture.length)
        index &+= 1
      }
    case .notFound: return
    case .methodNotAllowed: _unsafePerformance { refuseMethod(state, exchange, match.pointee.allowedMethods) }
    }
  }

  /// RFC 9110, 15.5.6: the answer names the methods that are allowed.
  @inline(never)
  private static func refuseMethod(
    _ state: UnsafeMutablePointer<State>, _ exchange: ExchangePointer, _ methods: RouteMethodSet
  ) {
    let table = state.pointee.table
    withUnsafeTemporaryAllocation(byteCount: table.allowCapacity, alignment: 1) { buffer in
      let count = table.writeAllow(methods, into: buffer)
      let name: StaticString = "Allow"
      _ = Exchange.addField(
        exchange, name: UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
        value: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
    }
    Exchange.respondError(exchange, status: 405, reason: "the path has no route for this method")
  }
}
