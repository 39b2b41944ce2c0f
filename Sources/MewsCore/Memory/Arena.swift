/// Memory that is freed all at once: small allocations side by side in pooled blocks, those above 2 KiB in blocks of
/// their own. Nothing is taken before the first allocation.
///
/// Thread: one at a time. An arena is a plain value: it does not free itself (`reset`), and copies share what they
/// hold.
public struct Arena {
  /// Every allocation starts at a multiple of this, in bytes.
  @inlinable
  public static var alignment: Int { @inline(__always) @_noLocks get { 16 } }
  /// The largest allocation, in bytes: 1 GiB.
  @inlinable
  public static var maximumSize: Int { @inline(__always) @_noLocks get { 1 << 30 } }
  /// The largest allocation that shares a block with others. Larger ones would waste up to half of it.
  private static var maximumSharedSize: Int { @_noLocks get { 2048 } }

  /// The first free byte of the newest shared block.
  @usableFromInline var cursor: UnsafeMutableRawPointer?
  /// Bytes from the cursor to the end of that block.
  @usableFromInline var remaining = 0
  /// Shared blocks and those of large allocations, linked by `next`.
  @usableFromInline var blocks: BlockPointer?

  /// An empty arena.
  @inlinable @inline(__always) @_noLocks
  public init() {}

  /// Whether nothing was allocated since the last reset.
  @inlinable @inline(__always)
  public var isEmpty: Bool { blocks == nil }

  /// Allocates memory that lives until `reset`: aligned to 16 bytes, not cleared.
  ///
  /// - Parameters:
  ///   - size: bytes, 1 to 1 GiB.
  ///   - cache: where blocks come from.
  /// - Returns: nil for another size, at the pool's limit, or when memory is exhausted.
  @inlinable @inline(__always) @_noLocks
  public mutating func allocate(_ size: Int, from cache: BlockCache) -> UnsafeMutableRawPointer? {
    guard size > 0, size <= Arena.maximumSize else { return nil }
    let rounded = (size &+ (Arena.alignment &- 1)) & ~(Arena.alignment &- 1)
    guard rounded <= remaining, let memory = cursor else { return allocateInNewBlock(rounded, from: cache) }
    cursor = memory + rounded
    remaining &-= rounded
    return memory
  }

  /// Frees everything that was allocated. Does nothing when nothing was.
  @inlinable @inline(__always) @_noLocks
  public mutating func reset(to cache: BlockCache) {
    guard blocks != nil else { return }
    releaseBlocks(to: cache)
  }

  @usableFromInline @inline(never) @_noLocks
  mutating func allocateInNewBlock(_ size: Int, from cache: BlockCache) -> UnsafeMutableRawPointer? {
    let isShared = size <= Arena.maximumSharedSize
    let rented = isShared ? cache.rent() : _unsafePerformance { cache.rentLarge(size) }
    guard let block = rented else { return nil }
    block.pointee.next = blocks
    blocks = block
    let memory = UnsafeMutableRawPointer(block.pointee.bytes)
    if isShared {
      cursor = memory + size
      remaining = Int(block.pointee.capacity) &- size
    }
    return memory
  }

  @usableFromInline @inline(never) @_noLocks
  mutating func releaseBlocks(to cache: BlockCache) {
    var block = blocks
    self = Arena()
    while let current = block {
      block = current.pointee.next
      cache.release(current)
    }
  }
}
