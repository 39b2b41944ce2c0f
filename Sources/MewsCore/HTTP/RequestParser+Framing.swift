/// The header fields that frame the message or steer the connection.
extension RequestParser {
  /// What was met so far in the header section.
  struct SeenFields {
    var host = false
    var contentLength = false
    var transferEncoding = false
    var upgrade = false
    // Options of the Connection field.
    var closeOption = false
    var keepAliveOption = false
    var upgradeOption = false

    @_noLocks
    init() {}
  }

  /// Acts on a field whose meaning the server must know.
  ///
  /// - Parameters:
  ///   - first: where the value starts, without the white space before it.
  ///   - last: where it ends.
  @_noLocks @inline(__always)
  mutating func interpret(
    _ known: KnownHeader, _ base: UnsafePointer<UInt8>, _ first: Int, _ last: Int,
    _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    switch known {
    case .host: return interpretHost(base, first, last, head)
    case .contentLength: return interpretContentLength(base + first, last &- first, head)
    case .transferEncoding: return interpretTransferEncoding(base + first, last &- first, head)
    case .connection: interpretConnection(base + first, last &- first)
    case .upgrade: seen.upgrade = true
    case .expect:
      if last &- first == 12 && (base + first).equalsToken("100-continue") { head.pointee.expectsContinue = true }
    default: break
    }
    return .done
  }

  /// RFC 9112, 3.2: a second Host field or one that is malformed is answered with 400.
  @_noLocks
  private mutating func interpretHost(
    _ base: UnsafePointer<UInt8>, _ first: Int, _ last: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if seen.host { return fail(.duplicateHost) }
    if !Authority.isValid(base, from: first, to: last) { return fail(.invalidHost) }
    seen.host = true
    head.pointee.hostIndex = Int32(truncatingIfNeeded: head.pointee.headerCount)
    // The authority of the target overrules the field (RFC 9112, 3.2.2).
    switch head.pointee.form {
    case .absolute, .authority: break
    case .origin, .asterisk:
      head.pointee.authorityOffset = UInt32(truncatingIfNeeded: first)
      head.pointee.authorityLength = UInt32(truncatingIfNeeded: last &- first)
    }
    return .done
  }

  /// RFC 9112, 6.3. A list of equal values could be accepted (RFC 9110, 8.6); it is refused, as two parties that
  /// disagree on it disagree on where the next request starts.
  @_noLocks
  private mutating func interpretContentLength(
    _ value: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if seen.contentLength { return fail(.duplicateContentLength) }
    if seen.transferEncoding { return fail(.contentLengthWithTransferEncoding) }
    if count == 0 { return fail(.invalidContentLength) }
    var length: Int64 = 0
    for index in 0..<count {
      let byte = value[index]
      if !ASCII.isDigit(byte) { return fail(.invalidContentLength) }
      let (product, productOverflows) = length.multipliedReportingOverflow(by: 10)
      let (sum, sumOverflows) = product.addingReportingOverflow(Int64(byte &- ASCII.zero))
      if productOverflows || sumOverflows { return fail(.invalidContentLength) }
      length = sum
    }
    seen.contentLength = true
    head.pointee.contentLength = length
    return .done
  }

  /// RFC 9112, 6.1: only a single "chunked" is served, without a second field, a list or parameters. A single coding
  /// of another name is one that this server does not have: 501.
  @_noLocks
  private mutating func interpretTransferEncoding(
    _ value: UnsafePointer<UInt8>, _ count: Int, _ head: UnsafeMutablePointer<RequestHead>
  ) -> Step {
    if head.pointee.versionMinor == 0 { return fail(.transferEncodingInHTTP10) }
    if seen.transferEncoding { return fail(.invalidTransferEncoding) }
    if seen.contentLength { return fail(.contentLengthWithTransferEncoding) }
    if count != 7 || !value.equalsToken("chunked") {
      return fail(FieldSyntax.isToken(value, count) ? .unsupportedTransferCoding : .invalidTransferEncoding)
    }
    seen.transferEncoding = true
    head.pointee.isChunked = true
    return .done
  }

  /// The options of a Connection field (RFC 9110, 7.6.1); unknown ones name fields that do not concern the server.
  @_noLocks
  private mutating func interpretConnection(_ value: UnsafePointer<UInt8>, _ count: Int) {
    // Nearly always there is one option, and it is this.
    if count == 10 && value.equalsToken("keep-alive") {
      seen.keepAliveOption = true
      return
    }
    var start = 0
    while start < count {
      var end = start
      while end < count && value[end] != ASCII.comma { end &+= 1 }
      let next = end &+ 1
      while start < end && ASCII.isWhitespace(value[start]) { start &+= 1 }
      while end > start && ASCII.isWhitespace(value[end &- 1]) { end &-= 1 }
      let option = value + start
      switch end &- start {
      case 5: if option.equalsToken("close") { seen.closeOption = true }
      case 7: if option.equalsToken("upgrade") { seen.upgradeOption = true }
      case 10: if option.equalsToken("keep-alive") { seen.keepAliveOption = true }
      default: break
      }
      start = next
    }
  }

  /// What depends on the whole section.
  @_noLocks @inline(__always)
  mutating func finishHead(_ head: UnsafeMutablePointer<RequestHead>) -> Step {
    let isHTTP11 = head.pointee.versionMinor == 1
    if isHTTP11 && !seen.host { return fail(.missingHost) }
    head.pointee.keepAlive = !seen.closeOption && (isHTTP11 || seen.keepAliveOption)
    head.pointee.upgrade = isHTTP11 && seen.upgrade && seen.upgradeOption
    if !isHTTP11 { head.pointee.expectsContinue = false }
    return .done
  }
}
