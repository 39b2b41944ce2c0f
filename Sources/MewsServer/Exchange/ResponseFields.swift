import CMews
import Glibc
import MewsCore

/// The header fields a handler adds to its response, serialized as they are added into memory of the exchange's arena.
public struct ResponseFields {
  /// More than this in added fields is a mistake of the handler.
  public static let limit = 16 * 1024

  public private(set) var bytes: UnsafeMutablePointer<UInt8>?
  public private(set) var count = 0
  private var capacity = 0

  public init() {}

  @_noLocks @inline(__always)
  mutating func reset() {
    bytes = nil
    count = 0
    capacity = 0
  }

  mutating func add(
    name: UnsafePointer<UInt8>, _ nameCount: Int, value: UnsafePointer<UInt8>, _ valueCount: Int, arena: inout Arena,
    cache: BlockCache
  ) -> mews_result {
    guard FieldSyntax.isToken(name, nameCount), FieldSyntax.isFieldValue(value, valueCount),
      !FieldSyntax.isReserved(name, nameCount)
    else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
    guard nameCount < Self.limit, valueCount < Self.limit, count + nameCount + valueCount + 4 <= Self.limit else {
      return mews_result(MEWS_E_LIMIT)
    }
    let needed = count + nameCount + valueCount + 4
    if needed > capacity {
      let grown = max(256, needed * 2)
      guard let memory = arena.allocate(grown, from: cache) else { return mews_result(MEWS_E_NO_MEMORY) }
      let moved = memory.bindMemory(to: UInt8.self, capacity: grown)
      if let bytes { moved.update(from: bytes, count: count) }
      bytes = moved
      capacity = grown
    }
    guard let bytes else { return mews_result(MEWS_E_NO_MEMORY) }
    count += ResponseWriter.writeHeader(name, nameCount, value, valueCount, to: bytes + count)
    return mews_result(MEWS_OK)
  }
}
