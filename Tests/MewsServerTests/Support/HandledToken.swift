import CMews

@testable import MewsServer

/// A token as these tests use it: the calls of the C interface, in Swift's words.
extension ExchangeToken {
  func complete(_ text: String = "", status: UInt32 = 200, type: String? = "text/plain") -> mews_result {
    complete(copying: Array(text.utf8), status: status, type: type)
  }

  func complete(copying bytes: [UInt8], status: UInt32 = 200, type: String? = "text/plain") -> mews_result {
    bytes.withUnsafeBytes { complete(status, type, ResponseBody(copying: $0.baseAddress, count: $0.count)) }
  }

  func complete(lending bytes: LentBytes, status: UInt32 = 200) -> mews_result {
    complete(status, "text/plain", bytes.asBody)
  }

  func complete(_ body: ResponseBody) -> mews_result { complete(200, "text/plain", body) }

  private func complete(_ status: UInt32, _ type: String?, _ body: ResponseBody) -> mews_result {
    var completion: CompletionPointer?
    let typeBytes = type.map { Array($0.utf8) }
    let result = Completion.respond(
      status: status, contentType: typeBytes, contentTypeCount: typeBytes?.count ?? 0, body: body, &completion)
    guard let completion else { return result }
    return complete(completion)
  }

  /// Has a worker go on with a closure. It is kept until it is called, or until the call is refused.
  func proceed(_ body: @escaping (HandledExchange) -> mews_result) -> mews_result {
    let kept = Unmanaged.passRetained(Continuation(body))
    let callback: mews_handler = { exchange, state in
      guard let state else { return mews_result(MEWS_E_FAILED) }
      let continuation = Unmanaged<Continuation>.fromOpaque(state).takeRetainedValue()
      return continuation.body(HandledExchange(pointer: ExchangePointer(exchange)))
    }
    guard let completion = Completion.proceed(callback, state: kept.toOpaque()) else {
      kept.release()
      return mews_result(MEWS_E_NO_MEMORY)
    }
    let result = complete(completion)
    if result != mews_result(MEWS_OK) { kept.release() }
    return result
  }
}

private final class Continuation {
  let body: (HandledExchange) -> mews_result

  init(_ body: @escaping (HandledExchange) -> mews_result) { self.body = body }
}
