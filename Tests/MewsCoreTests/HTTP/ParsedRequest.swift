@testable import MewsCore

/// A request head as values that can be compared.
struct ParsedRequest: Equatable {
  struct Field: Equatable {
    var name: String
    var value: String
    var known: KnownHeader
  }

  var method: Method
  var methodText: String
  var target: String
  var form: TargetForm
  var path: String
  var pathIsPlain: Bool
  var pathIsImplied: Bool
  var query: String?
  var authority: String
  var versionMinor: Int
  var fields: [Field]
  var contentLength: Int64
  var isChunked: Bool
  var keepAlive: Bool
  var expectsContinue: Bool
  var upgrade: Bool
  var hostIndex: Int
  var consumed: Int

  init(_ head: UnsafeMutablePointer<RequestHead>, _ base: UnsafePointer<UInt8>, consumed: Int) {
    func string(_ offset: UInt32, _ length: UInt32) -> String { text(base, Int(offset), Int(length)) }
    let value = head.pointee
    method = value.method
    methodText = string(value.methodOffset, value.methodLength)
    target = string(value.targetOffset, value.targetLength)
    form = value.form
    path = string(value.pathOffset, value.pathLength)
    pathIsPlain = value.pathIsPlain
    pathIsImplied = value.pathIsImplied
    query = value.hasQuery ? string(value.queryOffset, value.queryLength) : nil
    authority = string(value.authorityOffset, value.authorityLength)
    versionMinor = Int(value.versionMinor)
    fields = (0..<Int(value.headerCount)).map { index in
      let field = value.headers[index]
      return Field(
        name: string(field.nameOffset, UInt32(field.nameLength)), value: string(field.valueOffset, field.valueLength),
        known: field.known)
    }
    contentLength = value.contentLength
    isChunked = value.isChunked
    keepAlive = value.keepAlive
    expectsContinue = value.expectsContinue
    upgrade = value.upgrade
    hostIndex = Int(value.hostIndex)
    self.consumed = consumed
  }
}

enum ParseOutcome: Equatable {
  case complete(ParsedRequest)
  case incomplete
  case failed(RequestError)
}

/// Parses bytes that come in pieces, each time from other memory, which ends at an unreadable page.
///
/// - Parameter pieces: how many bytes are there at each call, in rising order.
func parse(_ bytes: [UInt8], pieces: [Int], limits: RequestLimits = RequestLimits()) -> ParseOutcome {
  let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
  head.initialize(to: RequestHead())
  defer { head.deallocate() }
  let guarded = GuardedBytes(capacity: bytes.count)
  var parser = RequestParser(limits: limits)
  for piece in pieces {
    let base = guarded.place(bytes[..<piece])
    let result = parser.parse(base, piece, into: head)
    if result.isFailed { return .failed(result.error) }
    if result.isComplete { return .complete(ParsedRequest(head, base, consumed: result.consumed)) }
  }
  return .incomplete
}

func parse(_ text: String, limits: RequestLimits = RequestLimits()) -> ParseOutcome {
  let bytes = Array(text.utf8)
  return parse(bytes, pieces: [bytes.count], limits: limits)
}

/// The head of a request that must be complete.
func parsed(_ text: String, limits: RequestLimits = RequestLimits()) -> ParsedRequest? {
  if case .complete(let request) = parse(text, limits: limits) { return request }
  return nil
}
