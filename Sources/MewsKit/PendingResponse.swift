import CMews

/// A request whose response was left pending: whoever has this completes it, once, on any thread.
struct PendingResponse: Sendable {
  let token: mews_token
  let host: Host
  let route: String

  /// Gives the response. When the client has left, it is dropped.
  func complete(_ response: consuming Response) {
    let hasFields = !response.headers.isEmpty
    let result = hasFields ? sendOnWorker(response) : send(response)
    // The first two have spent the token. After anything else it is still here, and the request has no response.
    if result == .ok || result == .gone { return }
    host.log(.error, "\(route): \(MewsError(result, "response"))")
    let instead = send(.text("Internal Server Error\n", status: .internalServerError))
    if instead != .ok && instead != .gone { _ = mews_token_release(token) }
  }

  /// Completes the request with a response that is no more than a status, a type and a body.
  private func send(_ response: borrowing Response) -> mews_result {
    let status = response.status.rawValue
    let token = token
    return response.withContentTypeAndBody { type, body in
      switch body {
      case .constant(let literal) where literal.hasPointerRepresentation:
        mews_complete_reference(token, status, type, literal.utf8Start, literal.utf8CodeUnitCount, nil, nil)
      case .constant(let literal):
        literal.withUTF8Buffer { mews_complete(token, status, type, $0.baseAddress, $0.count) }
      case .text(let text):
        text.withUTF8Bytes { mews_complete(token, status, type, $0.baseAddress, $0.count) }
      case .bytes(let bytes):
        bytes.withUnsafeBytes { mews_complete(token, status, type, $0.baseAddress, $0.count) }
      case .shared(let bytes):
        mews_complete_reference(token, status, type, bytes.start, bytes.count, SharedBytes.release, bytes.retained())
      case .empty:
        mews_complete(token, status, type, nil, 0)
      case .given:
        // Only a request that is no copy gives responses by itself.
        mews_result.wrongState
      }
    }
  }

  /// Header fields are added where the exchange is at hand: in a handler that goes on with the request.
  private func sendOnWorker(_ response: consuming Response) -> mews_result {
    let late = Unmanaged.passRetained(LateResponse(response, host: host, route: route))
    let result = mews_continue(token, LateResponse.callback, late.toOpaque())
    if result != .ok { late.release() }
    return result
  }
}

/// A response on its way to a worker that sends it.
private final class LateResponse: Sendable {
  private let response: Response
  private let host: Host
  private let route: String

  init(_ response: consuming Response, host: Host, route: String) {
    self.response = response
    self.host = host
    self.route = route
  }

  static let callback: mews_handler = { exchange, state in
    guard let state else { return .invalidArgument }
    return Unmanaged<LateResponse>.fromOpaque(state).takeRetainedValue().send(to: exchange)
  }

  private func send(to exchange: OpaquePointer) -> mews_result {
    do {
      try response.send(to: exchange)
      return .ok
    } catch {
      return ErrorResponse.send(error, to: exchange, route: route, host: host)
    }
  }
}
