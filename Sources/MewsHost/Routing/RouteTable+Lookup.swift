import Glibc

extension RouteTable {
  /// Finds the route of a request.
  ///
  /// A literal segment wins over a parameter, a parameter over a rest, the first segment counting most; a branch in
  /// which no route fits the rest of the path and the method is left again for the next best. On one pattern, the
  /// method's own route wins over GET's for HEAD, and that over the one for `*`.
  ///
  /// Any thread. Takes no lock and allocates nothing; bounded by the number of nodes of the table.
  ///
  /// - Parameters:
  ///   - path: the decoded path; `count` bytes, at most 2^32 - 1.
  ///   - method: the parser's code of the method: 0 to 8 for GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, TRACE and
  ///     CONNECT, anything else for a method that `methodText` spells.
  ///   - methodText: the method as it was sent, `methodCount` bytes; read only for the codes above 8.
  ///   - match: receives the answer.
  @_noLocks
  public func lookup(
    path: UnsafePointer<UInt8>, count: Int, method: UInt8, methodText: UnsafePointer<UInt8>, methodCount: Int,
    into match: UnsafeMutablePointer<RouteMatch>
  ) {
    match.pointee.outcome = .notFound
    match.pointee.parameterCount = 0
    match.pointee.route = nil
    match.pointee.allowedMethods.mask = 0
    guard count > 0, count <= Int(UInt32.max), path[0] == UInt8(ascii: "/") else { return }
    var search = RouteSearch(
      path: path, count: count, node: header.pointee.root, match: match,
      method: methodMask(method, methodText, methodCount))
    if search.run() {
      match.pointee.outcome = .found
    } else {
      match.pointee.parameterCount = 0
      if match.pointee.allowedMethods.mask != 0 { match.pointee.outcome = .methodNotAllowed }
    }
  }

  /// The bit of a method; 0 for one that no route names.
  @_noLocks
  @inline(__always)
  private func methodMask(_ code: UInt8, _ text: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    let standardCount = 9
    if code < standardCount { return 1 &<< UInt64(code) }
    for index in standardCount..<header.pointee.methodCount
    where routeBytesAreEqual(header.pointee.methods[index], text, count) {
      return 1 &<< UInt64(index)
    }
    return 0
  }
}

/// Whether a text consists of exactly these bytes.
@_noLocks
@inline(__always)
func routeBytesAreEqual(_ text: RouteText, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
  guard text.count == count else { return false }
  return _unsafePerformance { memcmp(text.bytes, bytes, count) } == 0
}

/// A walk over the tree, one segment a step. It needs no stack: the nodes know their parents, and the path shows where
/// the segment before started.
private struct RouteSearch {
  /// What a node's next segment can be taken for, most specific first.
  private enum Choice {
    case literal
    case parameter
    case rest
  }

  let path: UnsafePointer<UInt8>
  let count: Int
  /// The node that all segments before `start` led to.
  var node: UnsafePointer<RouteNode>
  let match: UnsafeMutablePointer<RouteMatch>
  /// The bit of the request's method.
  let method: UInt64

  /// Runs to the first route that fits. False when none does.
  @_noLocks
  @inline(__always)
  mutating func run() -> Bool {
    var start = 1
    var end = segmentEnd(from: 1)
    var choice = Choice.literal
    while true {
      if let next = step(start, end, &choice) {
        if end < count {
          node = next
          start = end &+ 1
          end = segmentEnd(from: start)
          choice = .literal
        } else if select(next) {
          return true
        } else if next.pointee.isParameter {
          match.pointee.parameterCount &-= 1
        }
        continue
      }
      if let rest = node.pointee.rest {
        capture(start, count)
        if select(rest) { return true }
        match.pointee.parameterCount &-= 1
      }
      guard let parent = node.pointee.parent else { return false }
      if node.pointee.isParameter {
        match.pointee.parameterCount &-= 1
        choice = .rest
      } else {
        choice = .parameter
      }
      node = parent
      end = start &- 1
      start = segmentStart(before: end)
    }
  }

  /// The next node for the segment, from the first choice that leads anywhere; moves `choice` behind it. Nil when only
  /// the rest is left.
  @_noLocks
  @inline(__always)
  private func step(_ start: Int, _ end: Int, _ choice: inout Choice) -> UnsafePointer<RouteNode>? {
    if choice == .literal {
      choice = .parameter
      if let next = literal(path + start, end &- start) { return next }
    }
    if choice == .parameter {
      choice = .rest
      if let next = node.pointee.parameter, end > start {
        capture(start, end)
        return next
      }
    }
    return nil
  }

  /// The next node for a certain segment, found by halving.
  @_noLocks
  @inline(__always)
  private func literal(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> UnsafePointer<RouteNode>? {
    let literals = node.pointee.literals
    var low = 0
    var high = node.pointee.literalCount
    while low < high {
      let middle = (low &+ high) &>> 1
      let text = literals[middle].text
      var order = length &- text.count
      if order == 0 { order = Int(_unsafePerformance { memcmp(bytes, text.bytes, length) }) }
      if order == 0 { return literals[middle].node }
      if order < 0 { high = middle } else { low = middle &+ 1 }
    }
    return nil
  }

  /// Takes the node's route for the method; where there is none, remembers which methods it has.
  @_noLocks
  @inline(__always)
  private func select(_ end: UnsafePointer<RouteNode>) -> Bool {
    let methods = end.pointee.methods
    if methods & method != 0 {
      // How many routes come before this one. Most often none does, and without the processor's help counting is slow.
      let before = methods & (method &- 1)
      match.pointee.route = end.pointee.routes[before == 0 ? 0 : before.nonzeroBitCount]
      return true
    }
    if let route = end.pointee.anyMethodRoute {
      match.pointee.route = route
      return true
    }
    match.pointee.allowedMethods.mask |= methods
    return false
  }

  /// Records a parameter. A pattern has at most as many as the match has room for, and so has every branch of the tree.
  @_noLocks
  @inline(__always)
  private func capture(_ start: Int, _ end: Int) {
    let index = Int(match.pointee.parameterCount)
    match.pointee.parameters[unchecked: index] = RouteCapture(
      offset: UInt32(truncatingIfNeeded: start), length: UInt32(truncatingIfNeeded: end &- start))
    match.pointee.parameterCount &+= 1
  }

  @_noLocks
  @inline(__always)
  private func segmentEnd(from start: Int) -> Int {
    var end = start
    // Eight bytes at a time while none of them is a slash.
    let ones: UInt64 = 0x0101_0101_0101_0101
    while end &+ 8 <= count {
      let word = UnsafeRawPointer(path).loadUnaligned(fromByteOffset: end, as: UInt64.self).littleEndian
      let different = word ^ ones &* UInt64(UInt8(ascii: "/"))
      // The lowest top bit that is set marks the first byte that is 0, and that is right; those above it need not be.
      let zeros = (different &- ones) & ~different & (ones &* 0x80)
      if zeros != 0 { return end &+ zeros.trailingZeroBitCount &>> 3 }
      end &+= 8
    }
    while end < count, path[end] != UInt8(ascii: "/") { end &+= 1 }
    return end
  }

  /// Where the segment that ends at `end` starts. The path starts with a slash, so there is one before it.
  @_noLocks
  @inline(__always)
  private func segmentStart(before end: Int) -> Int {
    var start = end
    while path[start &- 1] != UInt8(ascii: "/") { start &-= 1 }
    return start
  }
}
