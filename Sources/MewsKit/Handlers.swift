import CMews

/// A route whose handler runs on the host's thread. The host holds a plain pointer to it, as the route's state.
final class SyncRoute: Sendable {
  private let name: String
  private let host: Host
  private let handler: Routes.Handler

  init(name: String, host: Host, handler: @escaping Routes.Handler) {
    self.name = name
    self.host = host
    self.handler = handler
  }

  static let callback: mews_handler = { exchange, state in
    guard let state else { return .invalidArgument }
    return Unmanaged<SyncRoute>.fromOpaque(state)._withUnsafeGuaranteedRef { $0.answer(exchange) }
  }

  private func answer(_ exchange: OpaquePointer) -> mews_result {
    do {
      try handler(Request(exchange)).send(to: exchange)
      return .ok
    } catch {
      return ErrorResponse.send(error, to: exchange, route: name, host: host)
    }
  }
}

/// A route whose handler is asynchronous: it gets a copy of the request, and its task runs on the host's workers, piece
/// by piece. The response is left pending meanwhile, so a task that is suspended occupies no thread.
final class AsyncRoute: Sendable {
  private let name: String
  private let host: Host
  private let parameters: [String]
  private let handler: Routes.AsyncHandler

  init(name: String, host: Host, parameters: [String], handler: @escaping Routes.AsyncHandler) {
    self.name = name
    self.host = host
    self.parameters = parameters
    self.handler = handler
  }

  static let callback: mews_handler = { exchange, state in
    guard let state else { return .invalidArgument }
    return Unmanaged<AsyncRoute>.fromOpaque(state)._withUnsafeGuaranteedRef { $0.answer(exchange) }
  }

  private func answer(_ exchange: OpaquePointer) -> mews_result {
    let request = Request(exchange).owned(parameters: parameters)
    var token: mews_token = 0
    let result = mews_exchange_retain(exchange, &token)
    guard result == .ok else { return result }
    let pending = PendingResponse(token: token, host: host, route: name)
    Task.detached(executorPreference: host.executor) { [handler] in
      do {
        pending.complete(try await handler(request))
      } catch {
        pending.complete(ErrorResponse.make(error, route: pending.route, host: pending.host))
      }
    }
    return .pending
  }
}

/// What the client and the log get when a handler throws.
enum ErrorResponse {
  /// The response that an error becomes. An error that is none of the client's business is logged.
  static func make(_ error: any Error, route: String, host: Host) -> Response {
    if let error = error as? HTTPError { return .text("\(error.message)\n", status: error.status) }
    host.log(.error, "\(route): \(error)")
    return .text("Internal Server Error\n", status: .internalServerError)
  }

  static func send(_ error: any Error, to exchange: OpaquePointer, route: String, host: Host) -> mews_result {
    do {
      try make(error, route: route, host: host).send(to: exchange)
    } catch let failure as MewsError where failure.code == .wrongState {
      // A response was given before the handler failed; that one counts.
      return .ok
    } catch let failure {
      host.log(.error, "\(route): \(failure)")
      return .failed
    }
    return .ok
  }
}
