/// The methods that a router knows: the nine of RFC 9110 and RFC 5789, and those that routes add, each with an index
/// below 63. A set of methods is a 64-bit mask with bit `index` set; a method that no route names has the empty mask.
struct RouteMethods {
  /// The methods whose indexes are the codes that the request parser gives.
  static let standard = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"]
  /// The index of GET.
  static let get = 0
  /// The index of HEAD.
  static let head = 1
  /// How many methods there can be, the standard ones included.
  static let limit = 63

  /// Every method by its index.
  private(set) var names = Self.standard

  /// The index of a method, which is given one if it has none. Nil when there are too many.
  mutating func index(of method: String) -> Int? {
    if let index = names.firstIndex(of: method) { return index }
    guard names.count < Self.limit else { return nil }
    names.append(method)
    return names.count - 1
  }

  /// Whether a text is a method at all: a token (RFC 9110, 5.6.2).
  static func isToken(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy(isTokenByte)
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}
