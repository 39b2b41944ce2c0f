import CMews
import MewsCore

@testable import MewsServer

/// An exchange as the handlers of these tests see it: the calls of the C interface, in Swift's words.
struct HandledExchange {
  let pointer: ExchangePointer

  var method: String { String(decoding: pointer.pointee.methodView, as: UTF8.self) }
  var path: String { String(decoding: pointer.pointee.pathView, as: UTF8.self) }
  var body: [UInt8] { Array(pointer.pointee.bodyView) }

  func header(_ name: String) -> String? {
    let value = pointer.pointee.headerValue(name, number: 0)
    return value.baseAddress == nil ? nil : String(decoding: value, as: UTF8.self)
  }

  func respond(_ text: String = "", status: UInt32 = 200, type: String? = "text/plain") -> mews_result {
    respond(copying: Array(text.utf8), status: status, type: type)
  }

  func respond(copying bytes: [UInt8], status: UInt32 = 200, type: String? = "text/plain") -> mews_result {
    bytes.withUnsafeBytes { bytes in
      respond(status, type, ResponseBody(copying: bytes.baseAddress, count: bytes.count))
    }
  }

  func respond(lending bytes: LentBytes, status: UInt32 = 200, type: String? = "text/plain") -> mews_result {
    respond(status, type, bytes.asBody)
  }

  /// Lends bytes that nobody else keeps: giving them back frees them.
  func respond(giving bytes: [UInt8]) -> mews_result {
    let lent = Unmanaged.passRetained(LentBytes(bytes))
    var body = lent.takeUnretainedValue().asBody
    body.release = { context in
      guard let context else { return }
      Unmanaged<LentBytes>.fromOpaque(context).release()
    }
    return respond(200, "text/plain", body)
  }

  private func respond(_ status: UInt32, _ type: String?, _ body: ResponseBody) -> mews_result {
    guard let type else {
      return Exchange.respond(pointer, status: status, contentType: nil, contentTypeCount: 0, body: body)
    }
    let typeBytes = Array(type.utf8)
    return Exchange.respond(
      pointer, status: status, contentType: typeBytes, contentTypeCount: typeBytes.count, body: body)
  }

  func addField(_ name: String, _ value: String) -> mews_result {
    Array(name.utf8).withUnsafeBytes { name in
      Array(value.utf8).withUnsafeBytes { value in Exchange.addField(pointer, name: name, value: value) }
    }
  }

  /// Memory of the exchange's arena with these bytes in it.
  func store(_ text: String) -> UnsafeBufferPointer<UInt8> {
    let bytes = Array(text.utf8)
    guard let memory = pointer.pointee.arena.allocate(bytes.count, from: pointer.pointee.cache) else {
      return UnsafeBufferPointer(start: nil, count: 0)
    }
    memory.copyMemory(from: bytes, byteCount: bytes.count)
    return UnsafeBufferPointer(start: memory.assumingMemoryBound(to: UInt8.self), count: bytes.count)
  }

  /// Takes a token; nil when it is refused.
  func retain() -> ExchangeToken? {
    var token: UInt64 = 0
    guard Exchange.retain(pointer, &token) == mews_result(MEWS_OK) else { return nil }
    return ExchangeToken(rawValue: token)
  }
}

/// Bytes that a handler lends to the server, and how often it gave them back.
final class LentBytes {
  private(set) var releaseCount = 0
  private let bytes: UnsafeMutableBufferPointer<UInt8>

  init(_ content: [UInt8]) {
    bytes = .allocate(capacity: content.count)
    _ = bytes.initialize(from: content)
  }

  deinit { bytes.deallocate() }

  var asBody: ResponseBody {
    ResponseBody(
      referencing: bytes.baseAddress, count: bytes.count,
      release: { context in
        guard let context else { return }
        Unmanaged<LentBytes>.fromOpaque(context).takeUnretainedValue().releaseCount += 1
      }, context: Unmanaged.passUnretained(self).toOpaque())
  }
}
