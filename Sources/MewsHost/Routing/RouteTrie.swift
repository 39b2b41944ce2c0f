/// The routes of a ``Router`` by the segments of their patterns: the growing form that ``RouteTable`` is laid out from.
struct RouteTrie {
  /// A place in the tree: the paths that led to it have matched so far.
  struct Node {
    /// The node before the last segment; nil for the root.
    var parent: Int?
    /// Whether the last segment was taken for a parameter.
    var isParameter = false
    /// The next nodes by the bytes of the next segment.
    var literals: [[UInt8]: Int] = [:]
    /// The next node for any segment that is not empty.
    var parameter: Int?
    /// The node for whatever is left.
    var rest: Int?
    /// The routes that end here, as indexes into the router's routes, by the index of their method.
    var routes: [Int: Int] = [:]
    /// The route that ends here for every method that has none of its own.
    var anyMethodRoute: Int?
  }

  /// The root first; a node comes after its parent.
  private(set) var nodes = [Node(parent: nil)]
  private(set) var methods: RouteMethods

  init(methods: RouteMethods) {
    self.methods = methods
  }

  /// Adds a route that conflicts with none that is there.
  mutating func insert(_ route: Router.Route, index: Int) {
    var node = 0
    for segment in route.pattern.segments { node = child(of: node, for: segment) }
    if route.method == Router.anyMethod {
      nodes[node].anyMethodRoute = index
    } else if let method = methods.index(of: route.method) {
      nodes[node].routes[method] = index
    }
  }

  private mutating func child(of node: Int, for segment: RoutePattern.Segment) -> Int {
    switch segment {
    case .literal(let bytes):
      if let next = nodes[node].literals[bytes] { return next }
      nodes[node].literals[bytes] = nodes.count
      nodes.append(Node(parent: node))
    case .parameter:
      if let next = nodes[node].parameter { return next }
      nodes[node].parameter = nodes.count
      nodes.append(Node(parent: node, isParameter: true))
    case .rest:
      if let next = nodes[node].rest { return next }
      nodes[node].rest = nodes.count
      nodes.append(Node(parent: node))
    }
    return nodes.count - 1
  }
}
