import Glibc
import Synchronization

/// Free blocks of a pool in debug mode: first returned, first rented, so that a block rests as long as it can and a
/// late write has time to show.
struct BlockQueue {
  private var first: BlockPointer?
  private var last: BlockPointer?
  private(set) var count = 0

  mutating func append(_ batch: BlockBatch) {
    if let last { last.pointee.next = batch.head } else { first = batch.head }
    var end = batch.head
    while let next = end.pointee.next { end = next }
    last = end
    count &+= batch.count
  }

  mutating func popFirst() -> BlockPointer? {
    guard let block = first else { return nil }
    first = block.pointee.next
    if first == nil { last = nil }
    count &-= 1
    return block
  }
}

extension BlockPool {
  /// What returned blocks are filled with.
  static let poisonByte: UInt8 = 0xDB

  /// Counts one misuse.
  func reportMisuse() {
    storage.pointee.misuseCount.wrappingAdd(1, ordering: .relaxed)
  }

  /// Rents a block of a pool in debug mode. nil at the limit or when memory is exhausted.
  func rentChecked() -> BlockPointer? {
    storage.pointee.debug.contains(.everyBlockFromMalloc) ? rentSeparate() : rentGuarded()
  }

  /// Takes back a guarded block whose last reference went.
  func returnGuarded(_ block: BlockPointer) {
    memset(block.pointee.bytes, Int32(BlockPool.poisonByte), BlockPool.blockSize)
    block.pointee.isPoisoned = true
    block.pointee.references = 0
    block.pointee.next = nil
    storage.pointee.lock.lock()
    storage.pointee.returned.append(BlockBatch(head: block, count: 1))
    storage.pointee.lock.unlock()
  }

  /// Frees a block of its own whose last reference went.
  func returnSeparate(_ block: BlockPointer) {
    free(block.pointee.bytes)
    freeAligned(block)
    unclaim(BlockPool.blockSize)
    storage.pointee.separateCount.wrappingSubtract(1, ordering: .relaxed)
  }

  private func rentGuarded() -> BlockPointer? {
    while true {
      storage.pointee.lock.lock()
      let next = storage.pointee.returned.popFirst()
      storage.pointee.lock.unlock()
      guard let block = next else {
        guard addSlab() else { return nil }
        continue
      }
      if block.pointee.isPoisoned && !isPoisonIntact(block) { reportMisuse() }
      block.pointee.isPoisoned = false
      block.pointee.beginRent()
      return block
    }
  }

  /// Header and storage are allocations of their own, so that bytes out of range on either side are found.
  private func rentSeparate() -> BlockPointer? {
    guard claim(BlockPool.blockSize) else { return nil }
    guard let bytes = malloc(BlockPool.blockSize) else {
      unclaim(BlockPool.blockSize)
      return nil
    }
    guard let header = allocateAligned(Block.headerStride, alignment: CacheLine.size) else {
      free(bytes)
      unclaim(BlockPool.blockSize)
      return nil
    }
    let block = header.bindMemory(to: Block.self, capacity: 1)
    block.initialize(
      to: Block(
        bytes: bytes.assumingMemoryBound(to: UInt8.self), capacity: UInt32(BlockPool.blockSize), kind: .separate))
    block.pointee.beginRent()
    storage.pointee.separateCount.wrappingAdd(1, ordering: .relaxed)
    return block
  }

  private func isPoisonIntact(_ block: BlockPointer) -> Bool {
    for index in 0..<BlockPool.blockSize where block.pointee.bytes[index] != BlockPool.poisonByte { return false }
    return true
  }
}
