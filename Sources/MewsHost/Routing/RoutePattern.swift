/// The shape of the paths that a route answers: `/hello/{name}`, `/files/{path...}`, `/about/`.
///
/// A pattern is a row of segments, each of them a literal, `{name}` for one non-empty segment, or, as the last,
/// `{name...}` for the rest of the path, which may be empty. Literals are compared byte by byte with the decoded path.
/// A slash at the end counts: `/about` and `/about/` are two patterns.
public struct RoutePattern: Equatable, Sendable {
  /// What a path holds between two slashes.
  public enum Segment: Equatable, Sendable {
    /// Exactly these bytes. Empty only as the last segment: the pattern ends in a slash.
    case literal([UInt8])
    /// One segment of at least one byte.
    case parameter(name: String)
    /// All that is left of the path, slashes included; may be empty.
    case rest(name: String)
  }

  /// The most parameters in one pattern, the rest included: as many as a ``RouteMatch`` has room for.
  public static let maximumParameterCount = 16

  /// The pattern as it was written.
  public let text: String
  /// The segments in the order of the path; never empty.
  public let segments: [Segment]
  /// The names of the parameters in the order of the path.
  public let parameterNames: [String]

  /// Reads a pattern.
  ///
  /// - Parameter text: the pattern, not percent-encoded.
  /// - Throws: what is wrong with the pattern, in words.
  public init(parsing text: String) throws(RoutePatternError) {
    guard text.utf8.first == UInt8(ascii: "/") else { throw RoutePatternError(text, .noLeadingSlash) }
    if let character = text.unicodeScalars.first(where: Self.cannotOccur) {
      throw RoutePatternError(text, .forbiddenCharacter(character))
    }
    let parts = text.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    var segments: [Segment] = []
    var names: [String] = []
    for (index, part) in parts.enumerated() {
      let isLast = index == parts.count - 1
      let segment: Segment
      do throws(RoutePatternError.Cause) {
        segment = try Self.segment(part, isLast: isLast)
      } catch {
        throw RoutePatternError(text, error)
      }
      switch segment {
      case .literal: break
      case .parameter(let name), .rest(let name):
        guard !names.contains(name) else { throw RoutePatternError(text, .repeatedParameter(name)) }
        names.append(name)
      }
      segments.append(segment)
    }
    guard names.count <= Self.maximumParameterCount else { throw RoutePatternError(text, .tooManyParameters) }
    self.text = text
    self.segments = segments
    parameterNames = names
  }

  /// The pattern's bytes without its parameters' names: two patterns of one shape answer exactly the same paths.
  public var shape: [UInt8] {
    segments.flatMap { segment in
      switch segment {
      case .literal(let bytes): Array("/".utf8) + bytes
      case .parameter: Array("/{}".utf8)
      case .rest: Array("/{...}".utf8)
      }
    }
  }

  private static func segment(_ part: Substring.UTF8View, isLast: Bool) throws(RoutePatternError.Cause) -> Segment {
    let text = String(Substring(part))
    guard part.contains(where: { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") }) else {
      if text.isEmpty && !isLast { throw .emptySegment }
      if text == "." || text == ".." { throw .dotSegment(text) }
      return .literal(Array(part))
    }
    guard part.first == UInt8(ascii: "{"), part.last == UInt8(ascii: "}") else { throw .partialParameter(text) }
    let inside = text.dropFirst().dropLast()
    let isRest = inside.hasSuffix("...")
    let name = String(isRest ? inside.dropLast(3) : inside)
    guard !name.isEmpty else { throw .namelessParameter }
    guard isName(name) else { throw .badParameterName(name) }
    if isRest && !isLast { throw .restBeforeEnd(name) }
    return isRest ? .rest(name: name) : .parameter(name: name)
  }

  /// Whether a name is `[A-Za-z_][A-Za-z0-9_]*`.
  private static func isName(_ name: String) -> Bool {
    for (index, byte) in name.utf8.enumerated() {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"): continue
      case UInt8(ascii: "0")...UInt8(ascii: "9") where index > 0: continue
      default: return false
      }
    }
    return true
  }

  /// Characters that make a pattern a mistake: what follows `?` or `#` is no path, and no path has control characters.
  private static func cannotOccur(_ character: Unicode.Scalar) -> Bool {
    character == "?" || character == "#" || character.value < 0x20 || character.value == 0x7F
  }
}

/// Why a text is no ``RoutePattern``.
public struct RoutePatternError: Error, Equatable, CustomStringConvertible {
  /// The kinds of mistakes.
  public enum Cause: Error, Equatable, Sendable {
    case noLeadingSlash
    case forbiddenCharacter(Unicode.Scalar)
    case emptySegment
    case dotSegment(String)
    case partialParameter(String)
    case namelessParameter
    case badParameterName(String)
    case repeatedParameter(String)
    case restBeforeEnd(String)
    case tooManyParameters
  }

  /// The pattern as it was given.
  public let pattern: String
  /// What is wrong with it.
  public let cause: Cause

  init(_ pattern: String, _ cause: Cause) {
    self.pattern = pattern
    self.cause = cause
  }

  /// One sentence without a full stop, naming the pattern.
  public var description: String { "the pattern '\(printable(pattern))' \(clause)" }

  private var clause: String {
    switch cause {
    case .noLeadingSlash: "must start with '/'"
    case .forbiddenCharacter("?"), .forbiddenCharacter("#"): "must be a path only, without '?' and '#'"
    case .forbiddenCharacter: "has a control character"
    case .emptySegment: "has an empty segment ('//'), which only a rest such as {path...} can match"
    case .dotSegment(let segment): "has the segment '\(segment)', which no normalized path has"
    case .partialParameter(let segment):
      "has braces inside the segment '\(printable(segment))': a parameter is a whole segment, such as {name}"
    case .namelessParameter: "has a parameter without a name"
    case .badParameterName(let name):
      "has the parameter name '\(printable(name))': a name has letters, digits and '_' and does not start with a digit"
    case .repeatedParameter(let name): "has the parameter '\(name)' twice"
    case .restBeforeEnd(let name): "has {\(name)...} before its end: a rest is the last segment"
    case .tooManyParameters: "has more than \(RoutePattern.maximumParameterCount) parameters"
    }
  }
}
