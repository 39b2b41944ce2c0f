/// What is wrong with a request: its status code and a reason in words. One byte, so that it travels in a register.
public enum RequestError: Sendable {
  /// Nothing is wrong.
  case noError

  case tooManyEmptyLines
  case invalidMethod
  case methodTooLong
  case invalidTarget
  case targetTooLong
  case invalidTargetForm
  case invalidAuthority
  case invalidVersion
  case unsupportedVersion

  case invalidLineEnd
  case foldedField
  case invalidFieldName
  case invalidFieldValue
  case tooManyFields
  case fieldsTooLarge

  case missingHost
  case duplicateHost
  case invalidHost
  case invalidContentLength
  case duplicateContentLength
  case invalidTransferEncoding
  case unsupportedTransferCoding
  case transferEncodingInHTTP10
  case contentLengthWithTransferEncoding

  case invalidChunkSize
  case invalidChunkExtension
  case chunkExtensionsTooLarge
  case invalidChunkEnd
  case invalidTrailer
  case trailersTooLarge

  /// The status code to answer with (RFC 9110, 15); 0 for `noError`. The connection is closed after the answer.
  public var status: Int {
    switch self {
    case .noError: 0
    case .targetTooLong: 414
    case .tooManyFields, .fieldsTooLarge, .trailersTooLarge: 431
    case .methodTooLong, .unsupportedTransferCoding: 501
    case .unsupportedVersion: 505
    default: 400
    }
  }

  /// The cause in words, for the body of the answer and the log; ASCII, lives for ever.
  public var reason: StaticString {
    switch self {
    case .noError: "no error"
    case .tooManyEmptyLines: "too many empty lines before the request line"
    case .invalidMethod: "the method is not a token"
    case .methodTooLong: "the method is too long"
    case .invalidTarget: "the request target holds a character that is not allowed"
    case .targetTooLong: "the request target is too long"
    case .invalidTargetForm: "the form of the request target does not fit the method"
    case .invalidAuthority: "the authority of the request target is invalid"
    case .invalidVersion: "the HTTP version is invalid"
    case .unsupportedVersion: "the HTTP version is not supported"
    case .invalidLineEnd: "a line does not end in CR LF"
    case .foldedField: "a header field is folded over several lines"
    case .invalidFieldName: "a header field name is not a token followed by a colon"
    case .invalidFieldValue: "a header field value holds a character that is not allowed"
    case .tooManyFields: "too many header fields"
    case .fieldsTooLarge: "the header fields are too large"
    case .missingHost: "the Host field is missing"
    case .duplicateHost: "more than one Host field"
    case .invalidHost: "the Host field is invalid"
    case .invalidContentLength: "the Content-Length field is invalid"
    case .duplicateContentLength: "more than one Content-Length field"
    case .invalidTransferEncoding: "the Transfer-Encoding field is invalid"
    case .unsupportedTransferCoding: "the transfer coding is not supported"
    case .transferEncodingInHTTP10: "HTTP/1.0 has no Transfer-Encoding"
    case .contentLengthWithTransferEncoding: "Content-Length together with Transfer-Encoding"
    case .invalidChunkSize: "a chunk size is invalid"
    case .invalidChunkExtension: "a chunk extension is invalid"
    case .chunkExtensionsTooLarge: "the chunk extensions are too large"
    case .invalidChunkEnd: "the data of a chunk does not end in CR LF"
    case .invalidTrailer: "a trailer field is invalid"
    case .trailersTooLarge: "the trailer fields are too large"
    }
  }
}
