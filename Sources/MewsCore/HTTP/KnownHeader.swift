/// Field names that the parser recognizes, so that the server looks them up by a number.
public enum KnownHeader: Sendable {
  case other
  case accept
  case acceptEncoding
  case acceptLanguage
  case authorization
  case cacheControl
  case connection
  case contentEncoding
  case contentLength
  case contentType
  case cookie
  case date
  case expect
  case host
  case ifModifiedSince
  case ifNoneMatch
  case origin
  case range
  case referer
  case secWebSocketKey
  case server
  case transferEncoding
  case upgrade
  case userAgent

  /// Which field a name is, in any case.
  ///
  /// - Parameters:
  ///   - name: a token (RFC 9110, 5.6.2): what is none may be taken for a known name.
  ///   - count: its length in bytes.
  @_noLocks
  public static func recognize(_ name: UnsafePointer<UInt8>, _ count: Int) -> KnownHeader {
    switch count {
    case 4:
      if name.equalsToken("host") { return .host }
      if name.equalsToken("date") { return .date }
    case 5:
      if name.equalsToken("range") { return .range }
    case 6:
      if name.equalsToken("accept") { return .accept }
      if name.equalsToken("cookie") { return .cookie }
      if name.equalsToken("origin") { return .origin }
      if name.equalsToken("expect") { return .expect }
      if name.equalsToken("server") { return .server }
    case 7:
      if name.equalsToken("referer") { return .referer }
      if name.equalsToken("upgrade") { return .upgrade }
    case 10:
      if name.equalsToken("user-agent") { return .userAgent }
      if name.equalsToken("connection") { return .connection }
    case 12:
      if name.equalsToken("content-type") { return .contentType }
    case 13:
      if name.equalsToken("cache-control") { return .cacheControl }
      if name.equalsToken("authorization") { return .authorization }
      if name.equalsToken("if-none-match") { return .ifNoneMatch }
    case 14:
      if name.equalsToken("content-length") { return .contentLength }
    case 15:
      if name.equalsToken("accept-encoding") { return .acceptEncoding }
      if name.equalsToken("accept-language") { return .acceptLanguage }
    case 16:
      if name.equalsToken("content-encoding") { return .contentEncoding }
    case 17:
      if name.equalsToken("transfer-encoding") { return .transferEncoding }
      if name.equalsToken("if-modified-since") { return .ifModifiedSince }
      if name.equalsToken("sec-websocket-key") { return .secWebSocketKey }
    default:
      break
    }
    return .other
  }

  /// Equality as a plain comparison of two bytes: the synthesized operator goes through generic code in debug builds,
  /// which the hot path does not allow.
  @_noLocks @inline(__always)
  static func areSame(_ first: KnownHeader, _ second: KnownHeader) -> Bool {
    unsafeBitCast(first, to: UInt8.self) == unsafeBitCast(second, to: UInt8.self)
  }
}
