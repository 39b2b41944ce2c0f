import CMews
import Glibc
import MewsServer

@c @implementation public func mews_complete(
  _ token: mews_token, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: UnsafeRawPointer?, _ length: Int
) -> mews_result {
  complete(token, status, contentType, ResponseBody(copying: body, count: length))
}

@c @implementation public func mews_complete_reference(
  _ token: mews_token, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: UnsafeRawPointer?,
  _ length: Int, _ release: mews_release?, _ context: UnsafeMutableRawPointer?
) -> mews_result {
  complete(
    token, status, contentType, ResponseBody(referencing: body, count: length, release: release, context: context))
}

private func complete(
  _ token: mews_token, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: ResponseBody
) -> mews_result {
  guard !ForkedChild.isThisProcess else {
    if body.isReference { body.releaseNow() }
    return mews_result(MEWS_E_UNSUPPORTED)
  }
  var completion: CompletionPointer?
  let result = Completion.respond(
    status: status, contentType: UnsafeRawPointer(contentType)?.assumingMemoryBound(to: UInt8.self),
    contentTypeCount: contentType.map { Int(truncatingIfNeeded: strlen($0)) } ?? 0, body: body, &completion)
  guard let completion else { return result }
  return ExchangeToken(rawValue: token).complete(completion)
}

@c @implementation public func mews_continue(
  _ token: mews_token, _ handler: mews_handler?, _ state: UnsafeMutableRawPointer?
) -> mews_result {
  guard let handler else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let completion = Completion.proceed(handler, state: state) else { return mews_result(MEWS_E_NO_MEMORY) }
  return ExchangeToken(rawValue: token).complete(completion)
}
