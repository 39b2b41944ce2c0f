import Glibc
import Synchronization

/// What a pool holds. Caches count for themselves and the pool adds up, so a figure taken while other threads rent and
/// release may be off by the blocks then on their way between a cache and the pool; it is exact when they stand still.
public struct BlockPoolStatistics: Sendable, Equatable {
  /// Blocks of 4 KiB that somebody holds.
  public var rented = 0
  /// Blocks of 4 KiB that are free, in the pool or in a cache.
  public var pooled = 0
  /// Blocks of 4 KiB that exist: `rented + pooled`.
  public var allocated = 0
  /// Pages given back to the kernel by `trim`, since the pool was made. Their blocks stay in the pool.
  public var evicted = 0
  /// Large blocks that somebody holds.
  public var large = 0
  /// External blocks that somebody holds.
  public var external = 0
  /// Bytes that count against the limit: the storage of all blocks that exist and of large ones.
  public var bytes = 0
}

/// How a pool watches its users. Every option costs time at each rent and release.
public struct BlockPoolDebug: OptionSet, Sendable {
  public let rawValue: UInt8

  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// Fills returned blocks with 0xDB and checks them when they are rented again, least recently returned first. A write
  /// after the return is counted by `misuseCount`.
  public static let poison = BlockPoolDebug(rawValue: 1)
  /// Takes each rented block from malloc and frees it when it is returned, so that the address sanitizer sees both.
  public static let everyBlockFromMalloc = BlockPoolDebug(rawValue: 2)
}

/// The memory of a server: slabs of 256 blocks of 4 KiB, under a hard limit.
///
/// Threads rent through a cache each (`makeCache`), which trades batches of blocks with the pool.
///
/// Thread: any. It is a pointer: copies are the same pool.
public struct BlockPool: @unchecked Sendable {
  /// Bytes of storage of a pooled block: a page.
  @inlinable
  public static var blockSize: Int { @inline(__always) @_noLocks get { 4096 } }
  /// Blocks in a slab.
  static let blocksPerSlab = 256
  /// Blocks that change hands between a cache and the pool at once.
  @inlinable
  static var batchSize: Int { @inline(__always) @_noLocks get { 32 } }

  let storage: UnsafeMutablePointer<BlockPoolStorage>

  /// Makes an empty pool; the first slab is mapped when the first block is rented.
  ///
  /// - Parameters:
  ///   - limit: bytes of block storage, pooled and large together, that will never be exceeded. Headers, 64 bytes a
  ///     block, come on top.
  ///   - debug: how to watch for misuse; none in production.
  /// - Returns: nil when the limit is below one block or memory is exhausted. Release it with `destroy`.
  public static func create(limit: Int, debug: BlockPoolDebug = []) -> BlockPool? {
    guard limit >= blockSize, let lock = PoolLock.create() else { return nil }
    let byteCount = MemoryLayout<BlockPoolStorage>.size
    guard let memory = allocateAligned(byteCount, alignment: CacheLine.size) else {
      lock.destroy()
      return nil
    }
    let storage = memory.bindMemory(to: BlockPoolStorage.self, capacity: 1)
    storage.initialize(to: BlockPoolStorage(lock: lock, limit: limit, debug: debug))
    return BlockPool(storage: storage)
  }

  /// Makes a cache for one thread. nil when memory is exhausted. Destroy it before the pool.
  public func makeCache() -> BlockCache? {
    BlockCache.create(pool: self)
  }

  /// What the pool holds now.
  public var statistics: BlockPoolStatistics {
    storage.pointee.lock.lock()
    defer { storage.pointee.lock.unlock() }
    var pooled = storage.pointee.blocks.count &+ storage.pointee.returned.count
    var freeHeaders = storage.pointee.headers.count
    var cache = storage.pointee.firstCache
    while let shelves = cache {
      pooled &+= BlockShelf.count(shelves + BlockShelf.blocks)
      freeHeaders &+= BlockShelf.count(shelves + BlockShelf.headers)
      cache = shelves.pointee.nextCache
    }
    var result = BlockPoolStatistics()
    let separate = storage.pointee.separateCount.load(ordering: .relaxed)
    result.allocated = storage.pointee.slabBlockCount &+ separate
    result.pooled = min(pooled, storage.pointee.slabBlockCount)
    result.rented = result.allocated &- result.pooled
    result.evicted = storage.pointee.evictedCount
    result.large = storage.pointee.largeCount.load(ordering: .relaxed)
    result.external = max(0, storage.pointee.headerCount &- freeHeaders)
    result.bytes = storage.pointee.bytes.load(ordering: .relaxed)
    return result
  }

  /// How often a user was caught: a block released more often than it was retained, or written to after its return
  /// (only with `BlockPoolDebug.poison`). 0 in a correct program.
  public var misuseCount: Int {
    storage.pointee.misuseCount.load(ordering: .relaxed)
  }

  /// Gives the pages of free blocks that no cache holds back to the kernel. The blocks stay in the pool, at the end of
  /// the queue, and get zeroed pages at their next use.
  ///
  /// - Returns: the number of pages given back.
  @discardableResult
  public func trim() -> Int {
    var total = 0
    // One batch at a time: the others stay in reach of threads that rent meanwhile.
    while true {
      storage.pointee.lock.lock()
      let next = storage.pointee.blocks.popResident()
      storage.pointee.lock.unlock()
      guard let batch = next else { return total }
      BlockPool.evictPages(of: batch)
      storage.pointee.lock.lock()
      storage.pointee.blocks.pushEvicted(batch.head, count: batch.count)
      storage.pointee.evictedCount &+= batch.count
      storage.pointee.lock.unlock()
      total &+= batch.count
    }
  }

  /// Ends the pool, after all its caches.
  ///
  /// When blocks are still rented or a cache is left, their holders may yet touch them: then nothing is freed.
  ///
  /// - Returns: blocks of all kinds that were never released, and caches never destroyed. 0 in a correct program.
  @discardableResult
  public func destroy() -> Int {
    let held = statistics
    var leaked = held.rented &+ held.large &+ held.external
    var cache = storage.pointee.firstCache
    while let shelves = cache {
      leaked &+= 1
      cache = shelves.pointee.nextCache
    }
    guard leaked == 0 else { return leaked }
    var slab = storage.pointee.firstSlab
    while let current = slab {
      slab = current.pointee.next
      munmap(current.pointee.mapping, current.pointee.byteCount)
    }
    storage.pointee.lock.destroy()
    storage.deinitialize(count: 1)
    freeAligned(storage)
    return 0
  }
}

/// The state of a pool. Fields without an atomic type belong to the holder of the lock.
struct BlockPoolStorage: ~Copyable {
  /// Free blocks of the slabs.
  var blocks = BlockDepot()
  /// Free headers for external blocks.
  var headers = BlockDepot()
  /// Debug mode: free blocks, each poisoned, in the order of their return.
  var returned = BlockQueue()
  var firstSlab: UnsafeMutablePointer<Slab>?
  var firstCache: UnsafeMutablePointer<BlockShelf>?
  var slabBlockCount = 0
  var headerCount = 0
  var evictedCount = 0

  let lock: PoolLock
  let limit: Int
  let debug: BlockPoolDebug
  let bytes = Atomic<Int>(0)
  let largeCount = Atomic<Int>(0)
  let separateCount = Atomic<Int>(0)
  let misuseCount = Atomic<Int>(0)

  init(lock: PoolLock, limit: Int, debug: BlockPoolDebug) {
    self.lock = lock
    self.limit = limit
    self.debug = debug
  }
}
