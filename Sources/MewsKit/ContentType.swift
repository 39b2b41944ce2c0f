/// The value of a Content-Type field (RFC 9110, 8.3). A literal costs nothing when it is sent:
///
/// ```swift
/// Response(contentType: "image/svg+xml", body: .constant(logo))
/// ```
public struct ContentType: Sendable, ExpressibleByStringLiteral {
  private enum Text {
    case literal(StaticString)
    case string(String)
  }

  private let text: Text

  /// Takes a literal, which is referred to and never copied.
  public init(stringLiteral value: StaticString) {
    text = value.hasPointerRepresentation ? .literal(value) : .string("\(value)")
  }

  /// Takes text that was made at run time.
  public init(_ value: String) {
    text = .string(value)
  }

  /// Plain text in UTF-8.
  public static var plainText: ContentType { "text/plain; charset=utf-8" }

  /// HTML in UTF-8.
  public static var html: ContentType { "text/html; charset=utf-8" }

  /// JSON (RFC 8259).
  public static var json: ContentType { "application/json" }

  /// Bytes of no stated kind.
  public static var octetStream: ContentType { "application/octet-stream" }

  /// The text ended by NUL, during the call.
  @inline(__always)
  func withCString<Result>(_ use: (UnsafePointer<CChar>) -> Result) -> Result {
    switch text {
    case .literal(let literal):
      // The compiler ends every literal with a NUL.
      use(UnsafeRawPointer(literal.utf8Start).assumingMemoryBound(to: CChar.self))
    case .string(let string):
      string.withCString(use)
    }
  }
}
