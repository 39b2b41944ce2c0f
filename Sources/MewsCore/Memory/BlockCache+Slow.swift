import Glibc
import Synchronization

// What happens once in a while: trading with the pool, blocks that are not pooled, and the cache's own life.
extension BlockCache {
  /// The pool behind the cache.
  public var pool: BlockPool { shelves.pointee.pool }

  /// Rents a block of at least the given capacity, with memory of its own: one reference, no bytes in it, not cleared,
  /// the storage aligned to 16 bytes. Its capacity counts against the pool's limit.
  ///
  /// - Parameter capacity: bytes, 1 to 4,294,967,295.
  /// - Returns: nil for another capacity, at the pool's limit, or when memory is exhausted. Hand it to `release`.
  public func rentLarge(_ capacity: Int) -> BlockPointer? {
    guard capacity > 0, let storedCapacity = UInt32(exactly: capacity), pool.claim(capacity) else { return nil }
    // Header and bytes in one allocation: the header's stride keeps the bytes aligned.
    guard let memory = malloc(Block.headerStride &+ capacity) else {
      pool.unclaim(capacity)
      return nil
    }
    let block = memory.bindMemory(to: Block.self, capacity: 1)
    let bytes = (memory + Block.headerStride).assumingMemoryBound(to: UInt8.self)
    block.initialize(to: Block(bytes: bytes, capacity: storedCapacity, kind: .large))
    block.pointee.beginRent()
    pool.storage.pointee.largeCount.wrappingAdd(1, ordering: .relaxed)
    return block
  }

  /// Rents a block that shows bytes which somebody else owns: one reference, all bytes unread, no room. They do not
  /// count against the pool's limit.
  ///
  /// - Parameters:
  ///   - bytes: must not change or go until `release` is called. Never written to.
  ///   - count: bytes, 0 to 4,294,967,295. What is longer takes several blocks, the last with the release function.
  ///   - release: called once with `context` by the `release` that takes the last owner, on its thread. nil for bytes
  ///     that live for ever.
  /// - Returns: nil for another count, or when memory is exhausted: then `release` is not called and stays the caller's
  ///   to call. Hand the block to `release`.
  public func rentExternal(
    _ bytes: UnsafeRawPointer, _ count: Int, release: BlockRelease?, context: UnsafeMutableRawPointer?
  ) -> BlockPointer? {
    guard let storedCount = UInt32(exactly: count) else { return nil }
    let shelf = shelves + BlockShelf.headers
    if shelf.pointee.loaded == nil {
      guard let batch = BlockShelf.takeSpare(shelf) ?? pool.takeHeaders() else { return nil }
      BlockShelf.load(shelf, batch)
    }
    guard let block = BlockShelf.pop(shelf) else { return nil }
    block.pointee.beginRent()
    block.pointee.bytes = UnsafeMutableRawPointer(mutating: bytes).assumingMemoryBound(to: UInt8.self)
    block.pointee.capacity = storedCount
    block.pointee.end = storedCount
    block.pointee.release = release
    block.pointee.context = context
    return block
  }

  /// Gives all free blocks of the cache to the pool: for a thread that will be idle.
  public func drain() {
    for index in [BlockShelf.blocks, BlockShelf.headers] {
      let shelf = shelves + index
      if let batch = BlockShelf.takeSpare(shelf) { give(batch, of: index) }
      if let batch = BlockShelf.takeLoaded(shelf) { give(batch, of: index) }
    }
  }

  /// Ends the cache; its free blocks go to the pool. Blocks rented from it stay valid and go to another cache.
  public func destroy() {
    drain()
    let state = pool.storage
    state.pointee.lock.lock()
    if state.pointee.firstCache == shelves {
      state.pointee.firstCache = shelves.pointee.nextCache
    } else {
      var cache = state.pointee.firstCache
      while let current = cache {
        if current.pointee.nextCache == shelves {
          current.pointee.nextCache = shelves.pointee.nextCache
          break
        }
        cache = current.pointee.nextCache
      }
    }
    state.pointee.lock.unlock()
    shelves.deinitialize(count: 2)
    freeAligned(shelves)
  }

  static func create(pool: BlockPool) -> BlockCache? {
    let byteCount = 2 &* MemoryLayout<BlockShelf>.stride
    guard let memory = allocateAligned(byteCount, alignment: 2 &* CacheLine.size) else { return nil }
    let shelves = memory.bindMemory(to: BlockShelf.self, capacity: 2)
    (shelves + BlockShelf.blocks).initialize(to: BlockShelf(pool: pool))
    (shelves + BlockShelf.headers).initialize(to: BlockShelf(pool: pool))
    pool.storage.pointee.lock.lock()
    shelves.pointee.nextCache = pool.storage.pointee.firstCache
    pool.storage.pointee.firstCache = shelves
    pool.storage.pointee.lock.unlock()
    return BlockCache(shelves: shelves)
  }

  /// Rents when the stack of the cache is empty. A pool in debug mode never fills it, and so always comes here.
  @usableFromInline @inline(never)
  func rentFromPool() -> BlockPointer? {
    guard pool.storage.pointee.debug.isEmpty else { return pool.rentChecked() }
    let shelf = shelves + BlockShelf.blocks
    guard let batch = BlockShelf.takeSpare(shelf) ?? pool.takeBlocks() else { return nil }
    BlockShelf.load(shelf, batch)
    guard let block = BlockShelf.pop(shelf) else { return nil }
    block.pointee.beginRent()
    return block
  }

  /// Releases whatever is not the last reference to a pooled block that fits on the stack.
  @usableFromInline @inline(never)
  func releaseSlowly(_ block: BlockPointer) {
    guard block.pointee.references == 1 else {
      if block.pointee.references == 0 { return pool.reportMisuse() }
      block.pointee.references &-= 1
      return
    }
    switch block.pointee.origin {
    case .pooled: stack(block, on: BlockShelf.blocks)
    case .guarded: pool.returnGuarded(block)
    case .separate: pool.returnSeparate(block)
    case .large:
      pool.unclaim(Int(block.pointee.capacity))
      pool.storage.pointee.largeCount.wrappingSubtract(1, ordering: .relaxed)
      free(block)
    case .external:
      let release = block.pointee.release
      let context = block.pointee.context
      stack(block, on: BlockShelf.headers)
      // Last, because it may come back here and release or rent in turn.
      release?(context)
    }
  }

  /// Puts a block on a shelf, making room first: the stack becomes the spare batch, the spare batch goes to the pool.
  private func stack(_ block: BlockPointer, on index: Int) {
    let shelf = shelves + index
    if BlockShelf.push(block, on: shelf) { return }
    if let batch = BlockShelf.takeSpare(shelf) { give(batch, of: index) }
    BlockShelf.setAside(shelf)
    _ = BlockShelf.push(block, on: shelf)
  }

  private func give(_ batch: BlockBatch, of index: Int) {
    let state = pool.storage
    state.pointee.lock.lock()
    if index == BlockShelf.blocks {
      state.pointee.blocks.push(batch.head, count: batch.count)
    } else {
      state.pointee.headers.push(batch.head, count: batch.count)
    }
    state.pointee.lock.unlock()
  }
}
