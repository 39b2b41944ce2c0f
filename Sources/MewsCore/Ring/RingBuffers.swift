import Glibc

/// The blocks that a ring's kernel side receives into, by their numbers. A place is vacant from when a block was
/// received into until another one lies there.
struct RingBuffers {
  private let blocks: UnsafeMutablePointer<BlockPointer?>
  /// The numbers of the vacant places, a stack.
  private let vacant: UnsafeMutablePointer<UInt16>
  private(set) var vacantCount: Int
  private let count: Int
  private let cache: BlockCache

  static func create(count: Int, cache: BlockCache) -> RingBuffers? {
    guard let blocks = calloc(count, MemoryLayout<BlockPointer?>.stride) else { return nil }
    guard let vacant = calloc(count, MemoryLayout<UInt16>.stride) else {
      free(blocks)
      return nil
    }
    let numbers = vacant.bindMemory(to: UInt16.self, capacity: count)
    for number in 0..<count { numbers[number] = UInt16(truncatingIfNeeded: count - 1 - number) }
    return RingBuffers(
      blocks: blocks.bindMemory(to: BlockPointer?.self, capacity: count), vacant: numbers, vacantCount: count,
      count: count, cache: cache)
  }

  /// Gives the blocks back. The kernel must not have them any more.
  func destroy() {
    for number in 0..<count { if let block = blocks[number] { cache.release(block) } }
    free(blocks)
    free(vacant)
  }

  /// How many blocks the kernel has.
  var providedCount: Int {
    @_noLocks get { count &- vacantCount }
  }

  /// Puts a block into a vacant place; nil when there is no such place or no block.
  @_noLocks
  mutating func fill() -> (number: UInt16, block: BlockPointer)? {
    guard vacantCount > 0, let block = cache.rent() else { return nil }
    vacantCount &-= 1
    let number = vacant[vacantCount]
    blocks[Int(number)] = block
    return (number, block)
  }

  /// Takes a block out; nil for a number that the kernel cannot have given.
  @_noLocks @inline(__always)
  mutating func take(_ number: UInt16) -> BlockPointer? {
    guard Int(number) < count, let block = blocks[Int(number)] else { return nil }
    blocks[Int(number)] = nil
    vacant[vacantCount] = number
    vacantCount &+= 1
    return block
  }

  /// Calls the body with each block that lies in a place.
  func forEach(_ body: (_ number: UInt16, _ block: BlockPointer) -> Void) {
    for number in 0..<count { if let block = blocks[number] { body(UInt16(truncatingIfNeeded: number), block) } }
  }

  /// Releases a block that was taken out.
  @_noLocks
  func release(_ block: BlockPointer) {
    cache.release(block)
  }
}
