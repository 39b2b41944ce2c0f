import Synchronization

/// A thread's own store of free blocks in front of a pool.
///
/// Renting takes the block that was released last and releasing puts it back: no lock and no atomic read-modify-write,
/// but for every 32nd block. A cache keeps at most 64 free blocks. A block may be rented from one cache and released to
/// another of the same pool.
///
/// Thread: one at a time. It is a pointer: copies are the same cache.
public struct BlockCache {
  /// Two shelves side by side: blocks, then headers for external blocks.
  @usableFromInline let shelves: UnsafeMutablePointer<BlockShelf>

  /// Rents a block of 4 KiB: one reference, no bytes in it, its storage not cleared.
  ///
  /// - Returns: nil at the pool's limit, or when memory is exhausted. Hand it to `release`.
  @inlinable @inline(__always) @_noLocks
  public func rent() -> BlockPointer? {
    if let block = BlockShelf.pop(shelves + BlockShelf.blocks) {
      block.pointee.beginRent()
      return block
    }
    return _unsafePerformance { rentFromPool() }
  }

  /// Adds an owner to a block.
  @inlinable @inline(__always) @_noLocks
  public func retain(_ block: BlockPointer) {
    block.pointee.references &+= 1
  }

  /// Takes an owner from a block. When it was the last, the block goes back: a pooled one to this cache, a large one to
  /// the allocator, and an external one has its release function called, on this thread, before this returns.
  ///
  /// Releasing a block that lies in the pool is counted by `BlockPool.misuseCount` and does nothing else.
  @inlinable @inline(__always) @_noLocks
  public func release(_ block: BlockPointer) {
    if block.pointee.references == 1, case .pooled = block.pointee.origin,
      BlockShelf.push(block, on: shelves + BlockShelf.blocks)
    {
      return
    }
    _unsafePerformance { releaseSlowly(block) }
  }
}

/// A stack of free blocks, at most a batch, and a spare batch behind it: so a thread that goes up and down around the
/// edge of a batch does not go to the pool each time.
///
/// Handled by address and never as `inout`: the pool reads the counts while the owner changes them.
@usableFromInline
struct BlockShelf: ~Copyable {
  /// Index of the shelf for blocks in a cache.
  @inlinable
  static var blocks: Int { @inline(__always) @_noLocks get { 0 } }
  /// Index of the shelf for headers in a cache.
  @inlinable
  static var headers: Int { @inline(__always) @_noLocks get { 1 } }

  @usableFromInline var loaded: BlockPointer?
  @usableFromInline let loadedCount = Atomic<Int>(0)
  var spare: BlockPointer?
  let spareCount = Atomic<Int>(0)
  let pool: BlockPool
  /// The pool's list of caches, linked through their first shelves; belongs to the holder of the pool's lock.
  var nextCache: UnsafeMutablePointer<BlockShelf>?

  init(pool: BlockPool) {
    self.pool = pool
  }

  /// Takes the block that was put here last; nil when the stack is empty.
  @inlinable @inline(__always) @_noLocks
  static func pop(_ shelf: UnsafeMutablePointer<BlockShelf>) -> BlockPointer? {
    guard let block = shelf.pointee.loaded else { return nil }
    shelf.pointee.loaded = block.pointee.next
    // Only the owner writes the count, so a load and a store will do; others read it at any time.
    let count = shelf.pointee.loadedCount.load(ordering: .relaxed)
    shelf.pointee.loadedCount.store(count &- 1, ordering: .relaxed)
    return block
  }

  /// Puts a block on the stack. false when the stack holds a whole batch.
  @inlinable @inline(__always) @_noLocks
  static func push(_ block: BlockPointer, on shelf: UnsafeMutablePointer<BlockShelf>) -> Bool {
    let count = shelf.pointee.loadedCount.load(ordering: .relaxed)
    guard count < BlockPool.batchSize else { return false }
    block.pointee.references = 0
    block.pointee.next = shelf.pointee.loaded
    shelf.pointee.loaded = block
    shelf.pointee.loadedCount.store(count &+ 1, ordering: .relaxed)
    return true
  }

  /// Free blocks on the shelf, seen from any thread.
  static func count(_ shelf: UnsafeMutablePointer<BlockShelf>) -> Int {
    shelf.pointee.loadedCount.load(ordering: .relaxed) &+ shelf.pointee.spareCount.load(ordering: .relaxed)
  }

  /// Makes the stack hold blocks again: the spare batch, or the given one. The stack is empty.
  static func load(_ shelf: UnsafeMutablePointer<BlockShelf>, _ batch: BlockBatch) {
    shelf.pointee.loaded = batch.head
    shelf.pointee.loadedCount.store(batch.count, ordering: .relaxed)
  }

  /// Takes the spare batch; nil when there is none.
  static func takeSpare(_ shelf: UnsafeMutablePointer<BlockShelf>) -> BlockBatch? {
    guard let head = shelf.pointee.spare else { return nil }
    let batch = BlockBatch(head: head, count: shelf.pointee.spareCount.load(ordering: .relaxed))
    shelf.pointee.spare = nil
    shelf.pointee.spareCount.store(0, ordering: .relaxed)
    return batch
  }

  /// Takes all of the stack; nil when it is empty.
  static func takeLoaded(_ shelf: UnsafeMutablePointer<BlockShelf>) -> BlockBatch? {
    guard let head = shelf.pointee.loaded else { return nil }
    let batch = BlockBatch(head: head, count: shelf.pointee.loadedCount.load(ordering: .relaxed))
    shelf.pointee.loaded = nil
    shelf.pointee.loadedCount.store(0, ordering: .relaxed)
    return batch
  }

  /// Makes the stack the spare batch. There is no spare batch; the stack is empty afterwards.
  static func setAside(_ shelf: UnsafeMutablePointer<BlockShelf>) {
    guard let batch = takeLoaded(shelf) else { return }
    shelf.pointee.spare = batch.head
    shelf.pointee.spareCount.store(batch.count, ordering: .relaxed)
  }
}
