/// What became of a lookup.
public enum RouteOutcome: UInt8, Sendable {
  /// No route has a pattern that the path fits: 404.
  case notFound
  /// Routes fit the path, but none of them the method: 405 with Allow (RFC 9110, 15.5.6).
  case methodNotAllowed
  /// A route answers.
  case found
}

/// A part of a path, in bytes.
public struct RouteCapture: Equatable, Sendable {
  /// Where it starts in the path that was looked up.
  public var offset: UInt32
  /// Its length; 0 only for an empty rest.
  public var length: UInt32

  @_noLocks @inlinable @inline(__always) public init(offset: UInt32, length: UInt32) {
    self.offset = offset
    self.length = length
  }
}

/// A set of methods, opaque outside the table that made it.
public struct RouteMethodSet: Equatable, Sendable {
  var mask: UInt64
}

/// Where ``RouteTable/lookup(path:count:method:methodText:methodCount:into:)`` puts its answer. Plain memory that the
/// caller owns and may use for one lookup after the other.
public struct RouteMatch {
  /// What became of the lookup. The other fields have a meaning only as they say.
  public internal(set) var outcome = RouteOutcome.notFound
  /// How many parameters the route has. 0 unless found.
  public internal(set) var parameterCount: UInt32 = 0
  /// The route that answers, which belongs to the table; nil unless found.
  public internal(set) var route: UnsafePointer<RouteEntry>?
  /// The methods that the path has routes for, when the method is not allowed.
  /// See ``RouteTable/writeAllow(_:into:)``.
  public internal(set) var allowedMethods = RouteMethodSet(mask: 0)
  /// What the path held in the places of the route's parameters, in the order of the path: the first `parameterCount`.
  public internal(set) var parameters = InlineArray<16, RouteCapture>(repeating: RouteCapture(offset: 0, length: 0))

  public init() {}
}
