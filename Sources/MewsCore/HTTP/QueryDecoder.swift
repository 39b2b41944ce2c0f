/// A name and value of a query, still encoded: positions relative to the first byte of the query.
public struct QueryPair: Equatable, Sendable {
  public let nameOffset: Int
  public let nameLength: Int
  public let valueOffset: Int
  /// 0 for "name=" and for "name" alone.
  public let valueLength: Int

  @_noLocks
  init(nameOffset: Int, nameLength: Int, valueOffset: Int, valueLength: Int) {
    self.nameOffset = nameOffset
    self.nameLength = nameLength
    self.valueOffset = valueOffset
    self.valueLength = valueLength
  }
}

/// Reads a query as application/x-www-form-urlencoded (WHATWG URL, 5.1): pairs between "&", split at the first "=",
/// "+" for a space. As there, nothing is malformed: a percent sign without two hexadecimal digits stands for itself.
public struct QueryDecoder: Sendable {
  private let count: Int
  private var position = 0

  /// Starts at the first pair of a query of `count` bytes, which comes without its "?".
  @_noLocks
  public init(count: Int) {
    self.count = count
  }

  /// The next pair, or nil after the last. Empty ones ("a&&b") are skipped.
  ///
  /// - Parameter query: the query, the same in each call.
  @_noLocks
  public mutating func next(_ query: UnsafePointer<UInt8>) -> QueryPair? {
    while position < count && query[position] == ASCII.ampersand { position &+= 1 }
    if position >= count { return nil }
    let start = position
    var equals = -1
    while position < count && query[position] != ASCII.ampersand {
      if equals < 0 && query[position] == ASCII.equals { equals = position }
      position &+= 1
    }
    if equals < 0 {
      return QueryPair(nameOffset: start, nameLength: position &- start, valueOffset: position, valueLength: 0)
    }
    return QueryPair(
      nameOffset: start, nameLength: equals &- start, valueOffset: equals &+ 1, valueLength: position &- equals &- 1)
  }

  /// The first pair whose decoded name is the given one, case included; nil when there is none.
  ///
  /// - Parameters:
  ///   - query: `count` bytes, without the "?".
  ///   - name: `nameCount` bytes, not encoded.
  @_noLocks
  public static func find(
    _ query: UnsafePointer<UInt8>, _ count: Int, _ name: UnsafePointer<UInt8>, _ nameCount: Int
  ) -> QueryPair? {
    var decoder = QueryDecoder(count: count)
    while let pair = decoder.next(query) {
      if matches(query + pair.nameOffset, pair.nameLength, name, nameCount) { return pair }
    }
    return nil
  }

  /// Decodes a name or a value.
  ///
  /// - Parameters:
  ///   - component: `count` bytes of the query.
  ///   - output: has room for `count` bytes. It may be the same memory as the component.
  /// - Returns: the length of the result, at most `count`.
  @_noLocks
  public static func decode(
    _ component: UnsafePointer<UInt8>, _ count: Int, into output: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var position = 0
    var length = 0
    while position < count {
      output[length] = decodeByte(component, count, &position)
      length &+= 1
    }
    return length
  }

  @_noLocks @inline(__always)
  private static func decodeByte(_ component: UnsafePointer<UInt8>, _ count: Int, _ position: inout Int) -> UInt8 {
    let byte = component[position]
    position &+= 1
    if byte == ASCII.plus { return ASCII.space }
    if byte != ASCII.percent { return byte }
    let decoded = PercentCoding.decode(component + position, count &- position)
    if decoded < 0 { return byte }
    position &+= 2
    return UInt8(truncatingIfNeeded: decoded)
  }

  @_noLocks
  private static func matches(
    _ component: UnsafePointer<UInt8>, _ count: Int, _ name: UnsafePointer<UInt8>, _ nameCount: Int
  ) -> Bool {
    var position = 0
    var length = 0
    while position < count {
      if length == nameCount || decodeByte(component, count, &position) != name[length] { return false }
      length &+= 1
    }
    return length == nameCount
  }
}
