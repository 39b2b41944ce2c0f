import CMews

@testable import MewsServer

/// The routes of a test: exact methods and paths.
final class RouteList {
  /// A handler with the closure that is its state.
  private final class TestRoute {
    let method: String
    let path: String
    let body: (HandledExchange) -> mews_result
    let route = UnsafeMutablePointer<Route>.allocate(capacity: 1)

    init(
      _ method: String, _ path: String, _ execution: mews_execution, timeout: UInt32, _ record: RouteRecordPointer?,
      _ body: @escaping (HandledExchange) -> mews_result
    ) {
      self.method = method
      self.path = path
      self.body = body
      route.initialize(
        to: Route(
          handler: { exchange, state in
            guard let state else { return mews_result(MEWS_E_FAILED) }
            let route = Unmanaged<TestRoute>.fromOpaque(state).takeUnretainedValue()
            return route.body(HandledExchange(pointer: ExchangePointer(exchange)))
          }, state: Unmanaged.passUnretained(self).toOpaque(), plugin: nil, pluginName: nil,
          execution: execution))
      route.pointee.record = record
      if timeout > 0 {
        route.pointee.deadline = RouteDeadline.create(milliseconds: timeout, route: "\(method) \(path)")
      }
    }

    deinit {
      if let record = route.pointee.record { RouteRecord.destroy(record) }
      if let deadline = route.pointee.deadline { RouteDeadline.destroy(deadline) }
      route.deallocate()
    }
  }

  private var routes: [TestRoute] = []

  /// - Parameter record: how the route's runs are counted; the list frees it.
  func add(
    _ method: String, _ path: String, execution: mews_execution, timeout: UInt32 = 0,
    record: RouteRecordPointer? = nil, _ body: @escaping (HandledExchange) -> mews_result
  ) {
    routes.append(TestRoute(method, path, execution, timeout: timeout, record, body))
  }

  /// How many requests of a path were answered with 504.
  func missedCount(_ path: String) -> UInt64 {
    routes.filter { $0.path == path }.reduce(0) { $0 + ($1.route.pointee.deadline?.pointee.missedCount ?? 0) }
  }

  func removeAll() { routes = [] }

  /// How the server asks. The list has to outlive it.
  var application: Application {
    Application(context: Unmanaged.passUnretained(self).toOpaque()) { list, exchange in
      let list = Unmanaged<RouteList>.fromOpaque(list).takeUnretainedValue()
      list.select(HandledExchange(pointer: exchange.assumingMemoryBound(to: Exchange.self)))
    }
  }

  private func select(_ exchange: HandledExchange) {
    let candidates = routes.filter { $0.path == exchange.path }
    if let found = candidates.first(where: { $0.method == exchange.method }) {
      exchange.pointer.pointee.route = UnsafePointer(found.route)
    } else if !candidates.isEmpty {
      _ = exchange.addField("Allow", candidates.map(\.method).joined(separator: ", "))
      Exchange.respondError(exchange.pointer, status: 405, reason: "the path has no route for this method")
    }
  }
}
