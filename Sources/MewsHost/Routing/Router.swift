/// Who registers a route: what an error and the list of routes show.
public struct RouteOwner: Equatable, Sendable, CustomStringConvertible {
  /// The plugin's name, or the program's.
  public let name: String
  /// The name of the plugin's file, without its directory; nil for a linking program.
  public let file: String?

  public init(name: String, file: String? = nil) {
    self.name = name
    self.file = file
  }

  /// `hello (hello.so)`, or only the name where there is no file.
  public var description: String { file.map { "\(name) (\(printable($0)))" } ?? name }
}

/// Why a route was refused.
public enum RouterError: Error, Equatable, CustomStringConvertible {
  /// The method is neither a token (RFC 9110, 5.6.2) nor `*`.
  case badMethod(String)
  /// The pattern is malformed.
  case badPattern(RoutePatternError)
  /// Another route answers the same paths for the same method.
  case conflict(RouteConflict)
  /// The routes name more methods than a router can tell apart.
  case tooManyMethods(String)

  /// One sentence without a full stop.
  public var description: String {
    switch self {
    case .badMethod(let method): "the method '\(printable(method))' is neither a token such as GET nor '*'"
    case .badPattern(let error): error.description
    case .conflict(let conflict): conflict.description
    case .tooManyMethods(let method):
      "the method '\(printable(method))' is one too many: the routes may name \(RouteMethods.limit) methods together"
    }
  }
}

/// Two routes for the same method and the same paths.
public struct RouteConflict: Equatable, Sendable, CustomStringConvertible {
  /// The method of both.
  public let method: String
  /// The pattern of the route that was there first.
  public let firstPattern: String
  /// Who registered the route that was there first.
  public let firstOwner: RouteOwner
  /// The pattern of the route that was refused. It may differ from the first in its parameters' names.
  public let secondPattern: String
  /// Who registered the route that was refused.
  public let secondOwner: RouteOwner

  /// One sentence without a full stop, naming both owners.
  public var description: String {
    let route = "\(method) \(secondPattern)"
    guard secondPattern == firstPattern else {
      return "\(route) is claimed by \(firstOwner), as \(firstPattern), and by \(secondOwner)"
    }
    if firstOwner == secondOwner { return "\(route) is claimed twice by \(firstOwner)" }
    return "\(route) is claimed by \(firstOwner) and by \(secondOwner)"
  }
}

/// Collects routes and checks them against each other; ``makeTable()`` freezes them into what requests are looked up
/// in.
///
/// A value: a plugin whose start fails is undone by going back to the copy made before it started. Not for the hot
/// path.
public struct Router {
  /// A route as it was registered.
  public struct Route {
    /// A method, or `*` for every one.
    public let method: String
    /// What paths it answers.
    public let pattern: RoutePattern
    /// Who registered it.
    public let owner: RouteOwner
    /// What a lookup answers. Borrowed: the router never looks behind it.
    public let payload: UnsafeMutableRawPointer
  }

  /// The method that stands for every one.
  public static let anyMethod = "*"

  /// The routes in the order in which they were added.
  public private(set) var routes: [Route] = []
  private var methods = RouteMethods()
  /// The place of the route that holds a claim.
  private var claims: [Claim: Int] = [:]

  /// What only one route can have.
  private struct Claim: Hashable {
    let method: String
    let shape: [UInt8]
  }

  public init() {}

  /// Adds a route.
  ///
  /// - Parameters:
  ///   - method: a token, case counts, or `*` for every method that has no route of its own with this pattern.
  ///   - pattern: see ``RoutePattern``.
  ///   - owner: who asks; shown in errors.
  ///   - payload: what a lookup answers; it must outlive every table made of this router.
  /// - Throws: why the route is refused; the router is then as it was.
  public mutating func add(
    method: String, pattern: String, owner: RouteOwner, payload: UnsafeMutableRawPointer
  ) throws(RouterError) {
    guard RouteMethods.isToken(method) else { throw .badMethod(method) }
    let parsed: RoutePattern
    do throws(RoutePatternError) {
      parsed = try RoutePattern(parsing: pattern)
    } catch {
      throw .badPattern(error)
    }
    let claim = Claim(method: method, shape: parsed.shape)
    if let index = claims[claim] {
      let first = routes[index]
      throw .conflict(
        RouteConflict(
          method: method, firstPattern: first.pattern.text, firstOwner: first.owner, secondPattern: pattern,
          secondOwner: owner))
    }
    if method != Self.anyMethod, methods.index(of: method) == nil { throw .tooManyMethods(method) }
    claims[claim] = routes.count
    routes.append(Route(method: method, pattern: parsed, owner: owner, payload: payload))
  }

  /// Freezes the routes into a table, which does not change when the router does.
  ///
  /// - Returns: a table that the caller destroys; nil when memory is exhausted.
  public func makeTable() -> RouteTable? {
    var trie = RouteTrie(methods: methods)
    for (index, route) in routes.enumerated() { trie.insert(route, index: index) }
    return RouteTable.freeze(trie, routes: routes)
  }
}
