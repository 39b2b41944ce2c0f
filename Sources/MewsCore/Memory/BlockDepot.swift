/// The free blocks that no cache holds, as a list of batches. A batch is a list of blocks that changes hands as one, so
/// the pool's lock is held for a few instructions however many blocks move.
///
/// The head of a batch carries what the depot needs to know, in fields that mean nothing in a free block: the number of
/// blocks in `start`, whether their pages were given back to the kernel in `end`, the next batch in `context`.
///
/// Thread: the holder of the pool's lock.
struct BlockDepot {
  private var first: BlockPointer?
  private var last: BlockPointer?

  /// Free blocks here, all batches together.
  private(set) var count = 0

  /// Adds a batch of recently used blocks, to be taken first.
  mutating func push(_ head: BlockPointer, count batchCount: Int) {
    head.pointee.start = UInt32(truncatingIfNeeded: batchCount)
    head.pointee.end = 0
    head.pointee.context = UnsafeMutableRawPointer(first)
    if first == nil { last = head }
    first = head
    count &+= batchCount
  }

  /// Adds a batch whose pages were given back, to be taken last.
  mutating func pushEvicted(_ head: BlockPointer, count batchCount: Int) {
    head.pointee.start = UInt32(truncatingIfNeeded: batchCount)
    head.pointee.end = 1
    head.pointee.context = nil
    if let last { last.pointee.context = UnsafeMutableRawPointer(head) } else { first = head }
    last = head
    count &+= batchCount
  }

  /// Takes the batch used last; nil when there is none.
  mutating func pop() -> BlockBatch? {
    guard let head = first else { return nil }
    first = head.pointee.context?.assumingMemoryBound(to: Block.self)
    if first == nil { last = nil }
    let batchCount = Int(head.pointee.start)
    count &-= batchCount
    return BlockBatch(head: head, count: batchCount)
  }

  /// Takes a batch whose pages are still there; nil when there is none left.
  mutating func popResident() -> BlockBatch? {
    guard let first, first.pointee.end == 0 else { return nil }
    return pop()
  }
}

/// Blocks linked by `next`, with their number.
struct BlockBatch {
  var head: BlockPointer
  var count: Int
}
