import CMews
import MewsServer

@c @implementation public func mews_request_method(_ exchange: OpaquePointer?) -> mews_text {
  open(exchange).map { text($0.pointee.methodView) } ?? absentText
}

@c @implementation public func mews_request_target(_ exchange: OpaquePointer?) -> mews_text {
  open(exchange).map { text($0.pointee.targetView) } ?? absentText
}

@c @implementation public func mews_request_path(_ exchange: OpaquePointer?) -> mews_text {
  open(exchange).map { text($0.pointee.pathView) } ?? absentText
}

@c @implementation public func mews_request_query(_ exchange: OpaquePointer?) -> mews_text {
  open(exchange).map { text($0.pointee.queryView) } ?? absentText
}

@c @implementation public func mews_request_version(_ exchange: OpaquePointer?) -> UInt32 {
  open(exchange).map { 10 + UInt32($0.pointee.head.versionMinor) } ?? 0
}

@c @implementation public func mews_path_parameter(
  _ exchange: OpaquePointer?, _ name: UnsafePointer<CChar>?
) -> mews_text {
  guard let exchange = open(exchange), let name else { return absentText }
  return text(exchange.pointee.pathParameter(name))
}

@c @implementation public func mews_query_parameter(
  _ exchange: OpaquePointer?, _ name: UnsafePointer<CChar>?
) -> mews_text {
  guard let exchange = open(exchange), let name else { return absentText }
  return text(exchange.pointee.queryParameter(name))
}

@c @implementation public func mews_request_header_count(_ exchange: OpaquePointer?) -> UInt32 {
  open(exchange)?.pointee.head.headerCount ?? 0
}

@c @implementation public func mews_request_header_at(_ exchange: OpaquePointer?, _ index: UInt32) -> mews_header {
  guard let exchange = open(exchange) else { return mews_header(name: absentText, value: absentText) }
  let field = exchange.pointee.headerField(index)
  return mews_header(name: text(field.name), value: text(field.value))
}

@c @implementation public func mews_request_header(
  _ exchange: OpaquePointer?, _ name: UnsafePointer<CChar>?
) -> mews_text {
  mews_request_header_repeated(exchange, name, 0)
}

@c @implementation public func mews_request_header_repeated(
  _ exchange: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ number: UInt32
) -> mews_text {
  guard let exchange = open(exchange), let name else { return absentText }
  return text(exchange.pointee.headerValue(name, number: number))
}

@c @implementation public func mews_request_body(_ exchange: OpaquePointer?) -> mews_bytes {
  guard let view = open(exchange)?.pointee.bodyView else { return mews_bytes(data: nil, length: 0) }
  return mews_bytes(data: view.baseAddress, length: view.count)
}
