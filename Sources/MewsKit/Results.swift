import CMews

/// An error that the host answered.
public struct MewsError: Error, CustomStringConvertible {
  /// One of `MEWS_E_*` of the C header.
  public let code: mews_result

  /// What was tried, such as `route GET /hello`.
  public let operation: String

  /// The operation and the header's text for the code.
  public var description: String {
    "\(operation): \(String(cString: mews_result_text(code)))"
  }

  init(_ code: mews_result, _ operation: String) {
    self.code = code
    self.operation = operation
  }
}

/// An error with the status it becomes: thrown by a handler, it is the response.
///
/// Any other error that a handler throws becomes a 500 without details for the client, and a line in the log.
public struct HTTPError: Error, CustomStringConvertible {
  /// The status of the response.
  public let status: Status

  /// The body of the response, as plain text. The client sees it.
  public let message: String

  /// Makes the error. Without a message the body is the status's number.
  public init(_ status: Status, _ message: String = "") {
    self.status = status
    self.message = message.isEmpty ? "\(status)" : message
  }

  public var description: String { "\(status): \(message)" }
}

extension mews_result {
  static let ok = mews_result(MEWS_OK)
  static let pending = mews_result(MEWS_PENDING)
  static let gone = mews_result(MEWS_E_GONE)
  static let failed = mews_result(MEWS_E_FAILED)
  static let invalidArgument = mews_result(MEWS_E_INVALID_ARGUMENT)
  static let wrongState = mews_result(MEWS_E_WRONG_STATE)
}

extension String {
  /// A copy of borrowed text; nil when it is absent. What is not UTF-8 becomes U+FFFD.
  init?(_ text: mews_text) {
    guard let data = text.data else { return nil }
    let bytes = UnsafeRawBufferPointer(start: data, count: text.length)
    self = String(decoding: bytes, as: UTF8.self)
  }
}
