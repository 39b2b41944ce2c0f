import CMews
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
    name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, arena: inout Arena, cache: BlockCache
  ) -> mews_result {
    guard name.count <= Self.limit, value.count <= Self.limit else { return mews_result(MEWS_E_LIMIT) }
    // An empty value has no address, and needs none.
    guard let nameBytes = name.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
      return mews_result(MEWS_E_INVALID_ARGUMENT)
    }
    let valueBytes = value.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? nameBytes
    guard FieldSyntax.isToken(nameBytes, name.count), FieldSyntax.isFieldValue(valueBytes, value.count),
      !FieldSyntax.isReserved(nameBytes, name.count)
    else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
    let needed = count + name.count + value.count + ResponseWriter.headerOverhead
    guard needed <= Self.limit else { return mews_result(MEWS_E_LIMIT) }
    if needed > capacity && !grow(to: max(256, needed * 2), &arena, cache) { return mews_result(MEWS_E_NO_MEMORY) }
    guard let bytes else { return mews_result(MEWS_E_NO_MEMORY) }
    count += ResponseWriter.writeHeader(nameBytes, name.count, valueBytes, value.count, to: bytes + count)
    return mews_result(MEWS_OK)
  }

  private mutating func grow(to size: Int, _ arena: inout Arena, _ cache: BlockCache) -> Bool {
    guard let memory = arena.allocate(size, from: cache)?.bindMemory(to: UInt8.self, capacity: size) else {
      return false
    }
    if let bytes { memory.update(from: bytes, count: count) }
    bytes = memory
    capacity = size
    return true
  }
}
