import Glibc

extension RouteTable {
  /// Lays a trie out in one piece of memory. Nil when memory is exhausted.
  static func freeze(_ trie: RouteTrie, routes: [Router.Route]) -> RouteTable? {
    // The same walk runs twice: over no memory, to learn how much it takes, and then over that much.
    var measure = RouteTableLayout(memory: nil)
    _ = measure.place(trie, routes)
    guard let memory = malloc(measure.size) else { return nil }
    var layout = RouteTableLayout(memory: memory)
    return layout.place(trie, routes).map(RouteTable.init)
  }
}

/// Hands out the memory of a table piece by piece. Without memory it only adds the sizes up.
private struct RouteTableLayout {
  private let memory: UnsafeMutableRawPointer?
  private(set) var size = 0

  init(memory: UnsafeMutableRawPointer?) {
    self.memory = memory
  }

  private mutating func room<Element>(for count: Int, of type: Element.Type) -> UnsafeMutablePointer<Element>? {
    let mask = MemoryLayout<Element>.alignment - 1
    let offset = (size + mask) & ~mask
    size = offset + count * MemoryLayout<Element>.stride
    guard let memory else { return nil }
    return (memory + offset).bindMemory(to: type, capacity: count)
  }

  private mutating func place(_ bytes: some Collection<UInt8>) -> RouteText? {
    guard let copy = room(for: bytes.count, of: UInt8.self) else { return nil }
    for (index, byte) in bytes.enumerated() { copy[index] = byte }
    return RouteText(bytes: copy, count: bytes.count)
  }

  private mutating func place(_ texts: [String]) -> UnsafePointer<RouteText>? {
    let room = room(for: texts.count, of: RouteText.self)
    for (index, text) in texts.enumerated() {
      guard let text = place(text.utf8) else { continue }
      room?[index] = text
    }
    return UnsafePointer(room)
  }

  /// Places the whole table; nil when there is no memory.
  mutating func place(_ trie: RouteTrie, _ routes: [Router.Route]) -> UnsafePointer<RouteTable.Header>? {
    let header = room(for: 1, of: RouteTable.Header.self)
    let nodes = room(for: trie.nodes.count, of: RouteNode.self)
    let records = place(routes)
    let names = trie.methods.names
    let methods = place(names)
    for index in trie.nodes.indices { place(trie.nodes[index], at: index, of: nodes, records) }
    guard let header, let nodes, let methods else { return nil }
    header.initialize(
      to: RouteTable.Header(
        root: UnsafePointer(nodes), methods: methods, methodCount: names.count,
        allowCapacity: names.reduce(0) { $0 + $1.utf8.count + 2 }))
    return UnsafePointer(header)
  }

  private mutating func place(_ routes: [Router.Route]) -> UnsafePointer<RouteEntry>? {
    let records = room(for: routes.count, of: RouteEntry.self)
    for (index, route) in routes.enumerated() {
      let pattern = place(route.pattern.text.utf8)
      let names = place(route.pattern.parameterNames)
      guard let records, let pattern, let names else { continue }
      (records + index).initialize(
        to: RouteEntry(
          payload: route.payload, pattern: pattern, parameterNames: names,
          parameterCount: route.pattern.parameterNames.count))
    }
    return UnsafePointer(records)
  }

  private mutating func place(
    _ node: RouteTrie.Node, at index: Int, of nodes: UnsafeMutablePointer<RouteNode>?,
    _ records: UnsafePointer<RouteEntry>?
  ) {
    var byMethod = node.routes
    if let get = byMethod[RouteMethods.get], byMethod[RouteMethods.head] == nil { byMethod[RouteMethods.head] = get }
    let methods = byMethod.keys.sorted()
    let routes = room(for: methods.count, of: UnsafePointer<RouteEntry>.self)
    let ordered = node.literals.keys.sorted { first, second in
      first.count != second.count ? first.count < second.count : first.lexicographicallyPrecedes(second)
    }
    let literals = room(for: ordered.count, of: RouteLiteral.self)
    for (position, bytes) in ordered.enumerated() {
      let text = place(bytes)
      guard let text, let literals, let nodes, let next = node.literals[bytes] else { continue }
      (literals + position).initialize(to: RouteLiteral(text: text, node: UnsafePointer(nodes + next)))
    }
    guard let nodes, let records, let routes, let literals else { return }
    for (position, method) in methods.enumerated() {
      guard let route = byMethod[method] else { continue }
      (routes + position).initialize(to: records + route)
    }
    (nodes + index).initialize(
      to: RouteNode(
        parent: node.parent.map { UnsafePointer(nodes + $0) },
        literals: UnsafePointer(literals), literalCount: ordered.count,
        parameter: node.parameter.map { UnsafePointer(nodes + $0) },
        rest: node.rest.map { UnsafePointer(nodes + $0) },
        methods: methods.reduce(0) { $0 | 1 << UInt64($1) },
        routes: UnsafePointer(routes), anyMethodRoute: node.anyMethodRoute.map { records + $0 },
        isParameter: node.isParameter))
  }
}
