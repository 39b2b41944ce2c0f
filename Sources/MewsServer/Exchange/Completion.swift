import CMews
import CMewsShims
import Glibc
import MewsCore

public typealias CompletionPointer = UnsafeMutablePointer<Completion>

/// What takes the place of a handler that returned MEWS_PENDING: a response, or a handler to go on with. It lies in
/// memory of its own, with copies of what it needs behind it, because any thread may make one.
public struct Completion {
  /// What a worker calls; nil for a response.
  var handler: mews_handler?
  var state: UnsafeMutableRawPointer?

  var status: UInt32 = 0
  var contentType: UnsafePointer<UInt8>?
  var contentTypeCount = 0
  /// By reference, or a copy behind this.
  var body = ResponseBody(copying: nil, count: 0)

  /// A copied body up to this size is copied once more, next to the response's head; a larger one is sent from here.
  private static var smallBody: Int { 2048 }

  /// Makes a response. A body by reference is released when that fails.
  ///
  /// - Returns: MEWS_OK, MEWS_E_INVALID_ARGUMENT or MEWS_E_NO_MEMORY.
  public static func respond(
    status: UInt32, contentType: UnsafePointer<UInt8>?, contentTypeCount: Int, body: ResponseBody,
    _ completion: inout CompletionPointer?
  ) -> mews_result {
    guard Exchange.isResponse(status, body),
      contentType.map({ FieldSyntax.isFieldValue($0, contentTypeCount) }) ?? true
    else { return refuse(body, mews_result(MEWS_E_INVALID_ARGUMENT)) }
    let bodyCount = body.isReference ? 0 : body.count
    let (count, overflows) = bodyCount.addingReportingOverflow(contentTypeCount)
    guard !overflows, body.count <= Int(UInt32.max), let made = allocate(extra: count) else {
      return refuse(body, mews_result(MEWS_E_NO_MEMORY))
    }
    made.initialize(to: Completion(status: status, contentTypeCount: contentTypeCount, body: body))
    let copies = UnsafeMutableRawPointer(made + 1)
    if let contentType {
      copies.copyMemory(from: contentType, byteCount: contentTypeCount)
      made.pointee.contentType = UnsafePointer(copies.assumingMemoryBound(to: UInt8.self))
    }
    if bodyCount > 0, let source = body.bytes {
      (copies + contentTypeCount).copyMemory(from: source, byteCount: bodyCount)
      made.pointee.body = ResponseBody(copying: copies + contentTypeCount, count: bodyCount)
    }
    completion = made
    return mews_result(MEWS_OK)
  }

  /// Makes a continuation; nil when memory is exhausted.
  public static func proceed(_ handler: @escaping mews_handler, state: UnsafeMutableRawPointer?) -> CompletionPointer? {
    guard let made = allocate(extra: 0) else { return nil }
    made.initialize(to: Completion(handler: handler, state: state))
    return made
  }

  /// Frees a completion that comes to nothing.
  static func discard(_ completion: CompletionPointer) {
    if completion.pointee.body.isReference { completion.pointee.body.releaseNow() }
    free(completion)
  }

  /// Gives the response to the exchange, on its I/O thread, and frees the completion, at the latest when its bytes are
  /// sent. Without memory for it, the exchange has no response afterwards.
  static func send(_ completion: CompletionPointer, to exchange: ExchangePointer) {
    let body = completion.pointee.body
    let isSentFromHere = !body.isReference && body.count > smallBody
    let sent =
      isSentFromHere
      ? ResponseBody(referencing: body.bytes, count: body.count, release: { free($0) }, context: completion) : body
    _ = Exchange.respond(
      exchange, status: completion.pointee.status, contentType: completion.pointee.contentType,
      contentTypeCount: completion.pointee.contentTypeCount, body: sent)
    if !isSentFromHere { free(completion) }
  }

  private static func allocate(extra: Int) -> CompletionPointer? {
    let (size, overflows) = extra.addingReportingOverflow(MemoryLayout<Completion>.stride)
    guard !overflows, let memory = malloc(size) else { return nil }
    return memory.bindMemory(to: Completion.self, capacity: 1)
  }

  private static func refuse(_ body: ResponseBody, _ result: mews_result) -> mews_result {
    if body.isReference { body.releaseNow() }
    return result
  }
}
