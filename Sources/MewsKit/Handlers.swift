import CMews
import Glibc

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

/// A route whose handler is asynchronous: it gets a copy of the request, its task runs on Swift's own threads, and the
/// worker waits for it.
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
    let outcome = Outcome()
    Task.detached { [handler] in
      do {
        outcome.finish(.success(try await handler(request)))
      } catch {
        outcome.finish(.failure(error))
      }
    }
    do {
      try outcome.wait().send(to: exchange)
      return .ok
    } catch {
      return ErrorResponse.send(error, to: exchange, route: name, host: host)
    }
  }
}

/// What a task comes to, and the place where a thread waits for it. One thread finishes it, one waits for it; the
/// semaphore orders the writing of the result before its reading.
private final class Outcome: @unchecked Sendable {
  private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
  private var result: Result<Response, any Error>?

  init() {
    sem_init(semaphore, 0, 0)
  }

  deinit {
    sem_destroy(semaphore)
    semaphore.deallocate()
  }

  func finish(_ result: consuming Result<Response, any Error>) {
    self.result = consume result
    sem_post(semaphore)
  }

  func wait() throws -> Response {
    while sem_wait(semaphore) != 0 && errno == EINTR {}
    switch result.take() {
    case .some(let result): return try result.get()
    case .none: throw CancellationError()
    }
  }
}

/// What the client and the log get when a handler throws.
enum ErrorResponse {
  static func send(_ error: any Error, to exchange: OpaquePointer, route: String, host: Host) -> mews_result {
    do {
      if let error = error as? HTTPError {
        try Response.text("\(error.message)\n", status: error.status).send(to: exchange)
      } else {
        host.log(.error, "\(route): \(error)")
        try Response.text("Internal Server Error\n", status: .internalServerError).send(to: exchange)
      }
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
