import CMews
import Glibc
import MewsServer

extension Plugin {
  /// Registers a route. Inside `start`, or for the linking program before the server starts.
  public func addRoute(
    method: String, pattern: String, handler: @escaping mews_handler, options: mews_route_options
  ) -> mews_result {
    guard phase == .starting else { return mews_result(MEWS_E_WRONG_STATE) }
    guard options.execution <= UInt32(MEWS_EXECUTION_BLOCKING) else {
      remember("\(method) \(pattern): \(options.execution) is no execution class")
      return mews_result(MEWS_E_INVALID_ARGUMENT)
    }
    guard let record = makeRecord(method, pattern, ExecutionClass(declared: options.execution)) else {
      return mews_result(MEWS_E_NO_MEMORY)
    }
    let route = UnsafeMutablePointer<Route>.allocate(capacity: 1)
    route.initialize(
      to: Route(
        handler: handler, state: options.state, plugin: handle, pluginName: nameText.pointer,
        execution: options.execution))
    route.pointee.record = record
    do throws(RouterError) {
      try host.router.add(method: method, pattern: pattern, owner: owner, payload: UnsafeMutableRawPointer(route))
    } catch {
      RouteRecord.destroy(record)
      route.deallocate()
      return refuse(error, method, pattern)
    }
    let timeout = handlerTimeout(options)
    if timeout > 0 {
      route.pointee.deadline = RouteDeadline.create(milliseconds: timeout, route: "\(method) \(pattern)")
    }
    // The pattern was parsed a moment ago, so it is there.
    if let names = host.router.routes.last?.pattern.parameterNames { route.pointee.setParameterNames(names) }
    routes.append(
      RegisteredRoute(method: method, pattern: pattern, route: route, usesPluginState: options.use_state == 0))
    return mews_result(MEWS_OK)
  }

  private func makeRecord(_ method: String, _ pattern: String, _ declared: ExecutionClass?) -> RouteRecordPointer? {
    let names = RouteNames(method: method, pattern: pattern, plugin: name, declared: declared?.name ?? "auto")
    let policy = RoutePolicy(declared: declared, options: host.server.options)
    return RouteRecord.create(names, policy: policy, learning: host.server.learning)
  }

  /// Milliseconds; 0 for none.
  private func handlerTimeout(_ options: mews_route_options) -> UInt32 {
    let own = options.handler_timeout_ms
    let effective = own > 0 ? own : host.server.options.handlerTimeoutMilliseconds
    return effective == MEWS_HANDLER_TIMEOUT_NONE ? 0 : effective
  }

  private func refuse(_ error: RouterError, _ method: String, _ pattern: String) -> mews_result {
    remember(error.description)
    if case .conflict = error {
      conflict = error.description
      return mews_result(MEWS_E_CONFLICT)
    }
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }

  /// Keeps the first thing that went wrong, for the one who asks why.
  private func remember(_ text: String) {
    if failure == nil { failure = text }
    host.lastError = text
  }

  /// Frees the routes. No router and no request knows them any more.
  func discardRoutes() {
    for route in routes {
      route.route.pointee.freeParameterNames()
      if let record = route.route.pointee.record { RouteRecord.destroy(record) }
      if let deadline = route.route.pointee.deadline { RouteDeadline.destroy(deadline) }
    }
    for route in routes { route.route.deallocate() }
    routes = []
  }

  /// Hands what `start` stored to the routes that take the plugin's state.
  func adoptState() {
    for route in routes where route.usesPluginState { route.route.pointee.state = state.pointee }
  }
}

extension Route {
  /// Copies the names, to be freed with `freeParameterNames`.
  mutating func setParameterNames(_ names: [String]) {
    guard !names.isEmpty else { return }
    let places = UnsafeMutablePointer<ParameterName>.allocate(capacity: names.count)
    for (index, name) in names.enumerated() {
      let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: name.utf8.count)
      for (offset, byte) in name.utf8.enumerated() { bytes[offset] = byte }
      (places + index).initialize(to: ParameterName(bytes: bytes, count: name.utf8.count))
    }
    parameterNames = UnsafePointer(places)
    parameterCount = names.count
  }

  mutating func freeParameterNames() {
    guard let names = parameterNames else { return }
    for index in 0..<parameterCount { names[index].bytes.deallocate() }
    names.deallocate()
    parameterNames = nil
    parameterCount = 0
  }
}
