/// Bytes inside a ``RouteTable``.
public struct RouteText {
  /// The first byte; valid as long as the table.
  public let bytes: UnsafePointer<UInt8>
  /// The number of bytes.
  public let count: Int
}

/// A route of a ``RouteTable``: what it was registered with. Valid as long as the table.
public struct RouteEntry {
  /// What the route was registered with.
  public let payload: UnsafeMutableRawPointer
  /// The pattern as it was written.
  public let pattern: RouteText
  /// The names of the parameters, in the order of a match's captures.
  public let parameterNames: UnsafePointer<RouteText>
  /// How many parameters the pattern has.
  public let parameterCount: Int
}

/// A place in the frozen tree. All pointers lead into the table's own memory.
struct RouteNode {
  /// The node before the last segment; nil for the root.
  var parent: UnsafePointer<RouteNode>?
  /// The next nodes for certain segments, ordered by the length and then the bytes of the segment.
  var literals: UnsafePointer<RouteLiteral>
  var literalCount: Int
  /// The next node for any segment that is not empty.
  var parameter: UnsafePointer<RouteNode>?
  /// The node for whatever is left.
  var rest: UnsafePointer<RouteNode>?
  /// The methods that have a route here, a bit each; HEAD's is set where GET's is.
  var methods: UInt64
  /// The route of each bit of `methods`, lowest bit first.
  var routes: UnsafePointer<UnsafePointer<RouteEntry>>
  /// The route for all other methods.
  var anyMethodRoute: UnsafePointer<RouteEntry>?
  /// Whether the last segment was taken for a parameter.
  var isParameter: Bool
}

/// A certain segment, and where it leads.
struct RouteLiteral {
  var text: RouteText
  var node: UnsafePointer<RouteNode>
}

/// The frozen routes: a tree of segments in one piece of memory that nobody writes to any more.
///
/// A pointer in a struct: copies are the same table. Any number of threads may look up at the same time; the owner
/// calls ``destroy()`` when no thread can any more.
public struct RouteTable {
  /// What lies at the start of the table's memory.
  struct Header {
    /// The node before the first segment.
    var root: UnsafePointer<RouteNode>
    /// Every method that has an index, at that index.
    var methods: UnsafePointer<RouteText>
    var methodCount: Int
    /// The bytes of an Allow value that names every method.
    var allowCapacity: Int
  }

  let header: UnsafePointer<Header>

  init(header: UnsafePointer<Header>) {
    self.header = header
  }

  /// Frees the table with all records and texts in it. No lookup may be running, and no match be in use.
  public func destroy() {
    UnsafeMutableRawPointer(mutating: header).deallocate()
  }

  /// The most bytes that ``writeAllow(_:into:)`` writes.
  public var allowCapacity: Int { header.pointee.allowCapacity }

  /// Writes the value of an Allow field, such as `GET, HEAD, POST` (RFC 9110, 10.2.1).
  ///
  /// - Parameters:
  ///   - methods: the set from a match of this table whose method was not allowed.
  ///   - buffer: room for at least ``allowCapacity`` bytes; a method that does not fit is left out.
  /// - Returns: the number of bytes written.
  @_noLocks
  public func writeAllow(_ methods: RouteMethodSet, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard let base = buffer.baseAddress else { return 0 }
    var written = 0
    for index in 0..<header.pointee.methodCount where methods.mask & (1 &<< UInt64(index)) != 0 {
      let name = header.pointee.methods[index]
      let separator = written == 0 ? 0 : 2
      guard name.count &+ separator <= buffer.count &- written else { break }
      if separator != 0 {
        base.storeBytes(of: UInt8(ascii: ","), toByteOffset: written, as: UInt8.self)
        base.storeBytes(of: UInt8(ascii: " "), toByteOffset: written &+ 1, as: UInt8.self)
      }
      (base + written + separator).copyMemory(from: name.bytes, byteCount: name.count)
      written &+= separator &+ name.count
    }
    return written
  }
}

extension RouteEntry {
  /// The place of a parameter among a match's captures, or nil when the pattern has none of that name.
  ///
  /// - Parameters:
  ///   - name: the name without braces, `count` bytes.
  @_noLocks
  public func parameterIndex(name: UnsafePointer<UInt8>, count: Int) -> Int? {
    for index in 0..<parameterCount where routeBytesAreEqual(parameterNames[index], name, count) { return index }
    return nil
  }
}
