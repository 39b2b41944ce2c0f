import CMews
import Glibc
import MewsServer

@c @implementation public func mews_response_header(
  _ exchange: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?
) -> mews_result {
  guard let name, let value else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  return mews_response_header_text(
    exchange, mews_text(data: name, length: Int(strlen(name))), mews_text(data: value, length: Int(strlen(value))))
}

@c @implementation public func mews_response_header_text(
  _ exchange: OpaquePointer?, _ name: mews_text, _ value: mews_text
) -> mews_result {
  var result: mews_result = 0
  guard let exchange = open(exchange, &result) else { return result }
  guard let bytes = name.data, name.length > 0, value.length >= 0, value.data != nil || value.length == 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return Exchange.addField(
    exchange, name: UnsafeRawBufferPointer(start: bytes, count: name.length),
    value: UnsafeRawBufferPointer(start: value.data, count: value.length))
}

@c @implementation public func mews_respond(
  _ exchange: OpaquePointer?, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: UnsafeRawPointer?,
  _ length: Int
) -> mews_result {
  respond(exchange, status, contentType, ResponseBody(copying: body, count: length))
}

@c @implementation public func mews_respond_reference(
  _ exchange: OpaquePointer?, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: UnsafeRawPointer?,
  _ length: Int, _ release: mews_release?, _ context: UnsafeMutableRawPointer?
) -> mews_result {
  respond(
    exchange, status, contentType, ResponseBody(referencing: body, count: length, release: release, context: context))
}

@_noLocks @inline(__always)
private func respond(
  _ exchange: OpaquePointer?, _ status: UInt32, _ contentType: UnsafePointer<CChar>?, _ body: ResponseBody
) -> mews_result {
  var result: mews_result = 0
  guard let exchange = open(exchange, &result) else {
    if body.isReference { _unsafePerformance { body.releaseNow() } }
    return result
  }
  guard let contentType else {
    return Exchange.respond(exchange, status: status, contentType: nil, contentTypeCount: 0, body: body)
  }
  let count = _unsafePerformance { Int(truncatingIfNeeded: strlen(contentType)) }
  return Exchange.respond(
    exchange, status: status, contentType: UnsafeRawPointer(contentType).assumingMemoryBound(to: UInt8.self),
    contentTypeCount: count, body: body)
}

@c @implementation public func mews_alloc(_ exchange: OpaquePointer?, _ size: Int) -> UnsafeMutableRawPointer? {
  guard let exchange = open(exchange) else { return nil }
  return exchange.pointee.arena.allocate(size, from: exchange.pointee.cache)
}

@c @implementation public func mews_exchange_plugin(_ exchange: OpaquePointer?) -> OpaquePointer? {
  open(exchange)?.pointee.route?.pointee.plugin
}

@c @implementation public func mews_exchange_retain(
  _ exchange: OpaquePointer?, _ token: UnsafeMutablePointer<mews_token>?
) -> mews_result {
  guard let token else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  token.pointee = 0
  var result: mews_result = 0
  guard let exchange = open(exchange, &result) else { return result }
  return Exchange.retain(exchange, &token.pointee)
}

@c @implementation public func mews_token_status(_ token: mews_token) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  return ExchangeToken(rawValue: token).status()
}

@c @implementation public func mews_token_release(_ token: mews_token) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  return ExchangeToken(rawValue: token).release()
}
