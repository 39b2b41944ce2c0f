import CMews

/// A copy of a request: it may be kept, sent to other threads and used after the response. Its members are those of
/// ``Request``.
public struct OwnedRequest: Sendable {
  /// The method, as sent: "GET".
  public let method: String

  /// The request target exactly as sent, query included (RFC 9112, 3.2).
  public let target: String

  /// The path: percent-decoded and without dot segments. An encoded slash stays "%2F".
  public let path: String

  /// The HTTP version times ten: 10 or 11.
  public let version: Int

  /// The path parameters: what the path held in the places of `{name}` and `{name...}`.
  public let parameters: [String: String]

  /// The query parameters.
  public let query: Query

  /// The header fields.
  public let headers: Headers

  /// The whole body.
  public let body: [UInt8]

  /// The query of a request.
  public struct Query: Sendable {
    /// The query without its "?", as sent; nil when the target has no "?".
    public let text: String?

    /// The value of a parameter: percent-decoded, "+" read as a space. Nil when there is none; empty for "?name" and
    /// "?name=". With several of one name: the first.
    public subscript(name: String) -> String? {
      guard let text else { return nil }
      return FormDecoder.firstValue(of: name, in: text)
    }
  }

  /// The header fields of a request. Names are compared in any case.
  public struct Headers: Sendable {
    /// Every field, in the order sent.
    public let fields: [Header]

    /// The number of fields, each repetition counted.
    public var count: Int { fields.count }

    /// The value of a field; with several of one name: the first.
    public subscript(name: String) -> String? {
      fields.first { $0.name.equalsIgnoringASCIICase(name) }?.value
    }

    /// The values of all fields of a name, in the order sent.
    public func all(_ name: String) -> [String] {
      fields.filter { $0.name.equalsIgnoringASCIICase(name) }.map(\.value)
    }
  }
}

extension Request {
  /// Copies the request. The route's pattern is not known here, so the parameters that are wanted are named.
  public func owned(parameters names: [String] = []) -> OwnedRequest {
    var parameters: [String: String] = [:]
    for name in names {
      parameters[name] = String(mews_path_parameter(exchange, name))
    }
    return OwnedRequest(
      method: method, target: target, path: path, version: version, parameters: parameters,
      query: OwnedRequest.Query(text: query.text), headers: OwnedRequest.Headers(fields: headers.fields),
      body: withBody { Array($0) })
  }
}

/// Decodes `application/x-www-form-urlencoded` text, as the host does for ``QueryParameters``.
enum FormDecoder {
  /// The decoded value of the first parameter whose decoded name is `name`.
  static func firstValue(of name: String, in text: String) -> String? {
    for pair in text.utf8.split(separator: UInt8(ascii: "&")) {
      let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
      // Byte by byte: "==" would also find a name that is spelled with other scalars.
      if decode(pair[..<equals]).utf8.elementsEqual(name.utf8) {
        return decode(pair[equals...].dropFirst())
      }
    }
    return nil
  }

  /// Reads "+" as a space and "%41" as a byte; a "%" that two hexadecimal digits do not follow stays.
  static func decode(_ text: Substring.UTF8View) -> String {
    var bytes: [UInt8] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let high = rest.first?.hexadecimalDigit,
        let low = rest.dropFirst().first?.hexadecimalDigit
      {
        bytes.append(high << 4 | low)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension UInt8 {
  /// The value of a hexadecimal digit; nil for any other character.
  fileprivate var hexadecimalDigit: UInt8? {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  fileprivate var asciiLowercase: UInt8 {
    UInt8(ascii: "A")...UInt8(ascii: "Z") ~= self ? self | 0x20 : self
  }
}

extension String {
  fileprivate func equalsIgnoringASCIICase(_ other: String) -> Bool {
    utf8.elementsEqual(other.utf8) { $0.asciiLowercase == $1.asciiLowercase }
  }
}
