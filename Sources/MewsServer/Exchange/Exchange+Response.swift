import CMews
import Glibc
import MewsCore

/// A body as the response functions take it.
public struct ResponseBody {
  var bytes: UnsafeRawPointer?
  var count: Int
  /// Sent from where it lies; `release` is called once when it is no longer needed.
  public let isReference: Bool
  var release: mews_release?
  var releaseContext: UnsafeMutableRawPointer?

  /// Bytes that are copied.
  @_noLocks @inline(__always)
  public init(copying bytes: UnsafeRawPointer?, count: Int) {
    self.bytes = bytes
    self.count = count
    isReference = false
    release = nil
    releaseContext = nil
  }

  /// Bytes that are sent from where they lie.
  @inline(__always)
  public init(
    referencing bytes: UnsafeRawPointer?, count: Int, release: mews_release?, context: UnsafeMutableRawPointer?
  ) {
    self.bytes = bytes
    self.count = count
    isReference = true
    self.release = release
    releaseContext = context
  }

  /// Releases bytes that will not be sent.
  public func releaseNow() { release?(releaseContext) }
}

extension Exchange {
  /// Whether the method is HEAD, whose response is all but the body.
  private var isHead: Bool {
    @_noLocks @inline(__always) get {
      if case .head = head.method { return true }
      return false
    }
  }

  /// The room that status line, Date, Server, Connection, Content-Length and the blank line need at most.
  static var headBound: Int { @_noLocks @inline(__always) get { 320 } }

  /// Whether a status and a body can be those of a response.
  @_noLocks @inline(__always)
  static func isResponse(_ status: UInt32, _ body: ResponseBody) -> Bool {
    status >= 200 && status <= 599 && body.count >= 0 && (body.bytes != nil || body.count == 0)
  }

  /// Gives the response: writes its head and its body into the output. A body by reference is released exactly once,
  /// whatever the result.
  @_noLocks
  public static func respond(
    _ exchange: ExchangePointer, status: UInt32, contentType: UnsafePointer<UInt8>?, contentTypeCount: Int,
    body: ResponseBody
  ) -> mews_result {
    guard isResponse(status, body) else { return refuse(body, mews_result(-2)) }
    guard exchange.pointee.status == 0 else { return refuse(body, mews_result(-6)) }
    if let contentType, !FieldSyntax.isFieldValue(contentType, contentTypeCount) {
      return refuse(body, mews_result(-2))
    }
    let watch = enterIOThread(exchange)
    guard let output = exchange.pointee.output else { return refuse(body, mews_result(-6)) }
    let result = write(
      exchange, status: status, contentType: contentType, contentTypeCount: contentTypeCount, body: body, to: output)
    if let watch { RunWatch.resume(watch) }
    // Last, because these functions may do what they like: wait, or respond.
    if body.isReference && result != Written.withBody { _unsafePerformance { body.releaseNow() } }
    return min(result, 0)
  }

  /// Before a handler's response. Nil, unless the handler runs on an I/O thread whose work is still its thread's: then
  /// that cannot be taken over until `RunWatch.resume`.
  @_noLocks @inline(__always)
  private static func enterIOThread(_ exchange: ExchangePointer) -> RunWatchPointer? {
    guard let watch = exchange.pointee.watch else { return nil }
    if RunWatch.enter(watch) { return watch }
    leaveIOThread(exchange)
    return nil
  }

  /// The handler goes on as one on a worker does.
  @_noLocks @inline(never)
  static func leaveIOThread(_ exchange: ExchangePointer) {
    exchange.pointee.watch = nil
    exchange.pointee.output = withUnsafeMutablePointer(to: &exchange.pointee.response) { $0 }
  }

  /// What `write` answers: an error, or one of these.
  private enum Written {
    static var withoutBody: mews_result { @_noLocks @inline(__always) get { 0 } }
    /// The output has the body, and releases it.
    static var withBody: mews_result { @_noLocks @inline(__always) get { 1 } }
  }

  @_noLocks @inline(__always)
  private static func write(
    _ exchange: ExchangePointer, status: UInt32, contentType: UnsafePointer<UInt8>?, contentTypeCount: Int,
    body: ResponseBody, to output: UnsafeMutablePointer<Pipe>
  ) -> mews_result {
    let hasBody = ResponseWriter.statusAllowsBody(Int(status))
    let sendsBody = hasBody && body.count > 0 && !exchange.pointee.isHead
    let headSize = headBound &+ contentTypeCount &+ exchange.pointee.fields.count
    let isCopiedWithHead = sendsBody && !body.isReference && body.count <= BlockPool.blockSize &- headSize
    let room = isCopiedWithHead ? headSize &+ body.count : headSize
    let cache = exchange.pointee.cache
    guard let memory = output.pointee.reserve(room, from: cache), let start = memory.baseAddress else {
      return mews_result(-3)
    }
    let bytes = start.assumingMemoryBound(to: UInt8.self)
    var count = writeHead(
      exchange, status: status, contentType: contentType, contentTypeCount: contentTypeCount,
      contentLength: hasBody ? body.count : -1, to: bytes)
    if isCopiedWithHead, let source = body.bytes {
      (start + count).copyMemory(from: source, byteCount: body.count)
      count &+= body.count
      output.pointee.advance(count)
    } else if sendsBody, let source = body.bytes {
      // The body's memory is found before the head is committed, so that a failure leaves nothing half-written.
      guard let block = bodyBlock(body, source, cache) else { return mews_result(-3) }
      output.pointee.advance(count)
      _ = output.pointee.append(block, to: cache)
    } else {
      output.pointee.advance(count)
    }
    exchange.pointee.status = status
    return sendsBody ? Written.withBody : Written.withoutBody
  }

  @_noLocks @inline(never)
  private static func refuse(_ body: ResponseBody, _ result: mews_result) -> mews_result {
    if body.isReference { _unsafePerformance { body.releaseNow() } }
    return result
  }

  /// A block with a body that does not fit behind the head: a copy in memory of its own, or a view of the bytes.
  @_noLocks @inline(never)
  private static func bodyBlock(_ body: ResponseBody, _ source: UnsafeRawPointer, _ cache: BlockCache) -> BlockPointer?
  {
    guard body.count <= Int(UInt32.max) else { return nil }
    if body.isReference {
      return _unsafePerformance {
        cache.rentExternal(
          UnsafeMutablePointer(mutating: source.assumingMemoryBound(to: UInt8.self)), body.count, release: body.release,
          context: body.releaseContext)
      }
    }
    guard let block = _unsafePerformance({ cache.rentLarge(body.count) }) else { return nil }
    UnsafeMutableRawPointer(block.pointee.bytes).copyMemory(from: source, byteCount: body.count)
    block.pointee.end = UInt32(truncatingIfNeeded: body.count)
    return block
  }

  /// Writes the head of the response and returns its size. A content length of -1 writes none.
  @_noLocks @inline(__always)
  private static func writeHead(
    _ exchange: ExchangePointer, status: UInt32, contentType: UnsafePointer<UInt8>?, contentTypeCount: Int,
    contentLength: Int, to bytes: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var count = ResponseWriter.writeStatusLine(Int(status), to: bytes)
    count &+= exchange.pointee.resources.pointee.writeDate(to: bytes + count)
    if let context = exchange.pointee.context, context.pointee.isDraining { exchange.pointee.keepAlive = false }
    if !exchange.pointee.keepAlive {
      count &+= ResponseWriter.writeText("Connection: close\r\n", to: bytes + count)
    } else if exchange.pointee.head.versionMinor == 0 {
      count &+= ResponseWriter.writeText("Connection: keep-alive\r\n", to: bytes + count)
    }
    if let contentType {
      count &+= ResponseWriter.writeText("Content-Type: ", to: bytes + count)
      UnsafeMutableRawPointer(bytes + count).copyMemory(from: contentType, byteCount: contentTypeCount)
      count &+= contentTypeCount
      bytes[count] = 13
      bytes[count &+ 1] = 10
      count &+= 2
    }
    if let fields = exchange.pointee.fields.bytes {
      UnsafeMutableRawPointer(bytes + count).copyMemory(from: fields, byteCount: exchange.pointee.fields.count)
      count &+= exchange.pointee.fields.count
    }
    if contentLength >= 0 {
      count &+= ResponseWriter.writeText("Content-Length: ", to: bytes + count)
      count &+= ResponseWriter.writeDecimal(UInt64(truncatingIfNeeded: contentLength), to: bytes + count)
      bytes[count] = 13
      bytes[count &+ 1] = 10
      count &+= 2
    }
    bytes[count] = 13
    bytes[count &+ 1] = 10
    return count &+ 2
  }

  /// Responds with the short plain text of an error the server found by itself: "404 Not Found: no route for this
  /// path".
  public static func respondError(_ exchange: ExchangePointer, status: UInt32, reason: StaticString) {
    let reasonCount = reason.utf8CodeUnitCount
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ResponseWriter.maximumStatusLine + reasonCount + 3) {
      text in
      guard let bytes = text.baseAddress else { return }
      // The status line without its version and its line end.
      let version = 9
      var count = ResponseWriter.writeStatusLine(Int(status), to: bytes) - 2
      if reasonCount > 0 {
        count += ResponseWriter.writeText(": ", to: bytes + count)
        count += ResponseWriter.writeText(reason, to: bytes + count)
      }
      bytes[count] = 10
      let type: StaticString = "text/plain"
      _ = respond(
        exchange, status: status, contentType: type.utf8Start, contentTypeCount: type.utf8CodeUnitCount,
        body: ResponseBody(copying: bytes + version, count: count + 1 - version))
    }
  }

  /// Adds a header field to the response. Called by the thread that runs the handler, or for the server itself.
  public static func addField(
    _ exchange: ExchangePointer, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer
  ) -> mews_result {
    guard exchange.pointee.status == 0 else { return mews_result(MEWS_E_WRONG_STATE) }
    let cache = exchange.pointee.cache
    return exchange.pointee.fields.add(name: name, value: value, arena: &exchange.pointee.arena, cache: cache)
  }
}
