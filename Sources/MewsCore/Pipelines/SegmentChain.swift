import CMewsShims
import Glibc

/// Bytes in a row of blocks: written at the tail, read at the head. Blocks are released as soon as they are read, so an
/// empty chain holds none.
///
/// Thread: one at a time. A chain is a plain value: it does not free itself (`removeAll`), and only one copy may be
/// used.
public struct SegmentChain {
  @usableFromInline var head: BlockPointer?
  @usableFromInline var tail: BlockPointer?
  @usableFromInline var unreadCount = 0
  /// Bytes at the tail that a writer was given by `reserve` and has not committed: they keep the tail from being
  /// released.
  @usableFromInline var reservedCount = 0

  /// An empty chain.
  @inlinable @inline(__always) @_noLocks
  public init() {}

  /// Unread bytes, all blocks together.
  @inlinable
  public var count: Int { @inline(__always) @_noLocks get { unreadCount } }

  /// Whether the chain holds neither bytes nor a block.
  @inlinable
  public var holdsNoBlock: Bool { @inline(__always) @_noLocks get { head == nil } }

  /// The block that holds the first unread bytes, for who wants to pin it (`BlockCache.retain`); nil when `count` is 0.
  @inlinable
  public var firstBlock: BlockPointer? {
    @inline(__always) @_noLocks get {
      var block = head
      while let current = block, current.pointee.unread == 0 { block = current.pointee.next }
      return block
    }
  }

  /// The unread bytes of the first block that has some; empty when `count` is 0. Valid until the chain is changed at
  /// that end, or for as long as the block is pinned.
  @inlinable
  public var first: UnsafeRawBufferPointer {
    @inline(__always) @_noLocks get {
      guard let block = firstBlock else { return UnsafeRawBufferPointer(start: nil, count: 0) }
      return UnsafeRawBufferPointer(
        start: block.pointee.bytes + Int(truncatingIfNeeded: block.pointee.start), count: block.pointee.unread)
    }
  }

  /// Room to write to behind the last byte, all that the tail block has.
  ///
  /// Bytes of the tail that somebody has pinned lie before the room and stay as they are.
  ///
  /// - Parameters:
  ///   - minimum: bytes the room has at least; below 1 counts as 1. Above 4 KiB the room is a large block.
  ///   - cache: where a new block comes from.
  /// - Returns: room that is valid until the chain is written to; commit what was written with `advance`, or give the
  ///   room up with `cancelReservation`. nil at the pool's limit, or when memory is exhausted.
  @inlinable @inline(__always) @_noLocks
  public mutating func reserve(_ minimum: Int, from cache: BlockCache) -> UnsafeMutableRawBufferPointer? {
    if let tail, tail.pointee.room >= max(minimum, 1) { return reserveRoom(of: tail) }
    return reserveInAnotherBlock(max(minimum, 1), from: cache)
  }

  /// Commits bytes that were written into reserved room; the reservation is over.
  ///
  /// - Parameter count: bytes, from 0 to the size of the room; without a reservation, 0.
  /// - Returns: false, and nothing changes, for another count.
  @inlinable @inline(__always) @_noLocks @discardableResult
  public mutating func advance(_ count: Int) -> Bool {
    guard count >= 0, count <= reservedCount else { return false }
    tail?.pointee.end &+= UInt32(truncatingIfNeeded: count)
    unreadCount &+= count
    reservedCount = 0
    return true
  }

  /// Gives reserved room up, and the block it lies in when that holds no bytes: for a read that brought nothing.
  @inlinable @inline(__always) @_noLocks
  public mutating func cancelReservation(to cache: BlockCache) {
    reservedCount = 0
    if unreadCount == 0 { removeAll(to: cache) }
  }

  /// Copies bytes to the end of the chain. A reservation is over.
  ///
  /// - Returns: false, and nothing is appended, when the count is negative, at the pool's limit, or when memory is
  ///   exhausted.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(_ bytes: UnsafeRawPointer, _ count: Int, from cache: BlockCache) -> Bool {
    guard count >= 0 else { return false }
    reservedCount = 0
    guard let tail, tail.pointee.room >= count else { return appendAcrossBlocks(bytes, count, from: cache) }
    SegmentChain.copy(bytes, count, to: tail)
    unreadCount &+= count
    return true
  }

  /// Puts a block at the end of the chain, which takes the caller's reference over. A reservation is over.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(_ block: BlockPointer) {
    block.pointee.next = nil
    if let tail { tail.pointee.next = block } else { head = block }
    tail = block
    unreadCount &+= block.pointee.unread
    reservedCount = 0
  }

  /// Moves all of another chain, reservation included, to the end of this one, in constant time. The other is empty
  /// then.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(contentsOf other: inout SegmentChain) {
    guard let otherHead = other.head else { return }
    if let tail { tail.pointee.next = otherHead } else { head = otherHead }
    tail = other.tail
    unreadCount &+= other.unreadCount
    reservedCount = other.reservedCount
    other = SegmentChain()
  }

  /// Drops bytes from the front and releases the blocks that are read to their end; also the last one, unless room in
  /// it is reserved.
  ///
  /// - Parameter count: bytes; what exceeds `self.count` is ignored.
  @inlinable @_noLocks
  public mutating func consume(_ count: Int, to cache: BlockCache) {
    var left = min(max(count, 0), unreadCount)
    unreadCount &-= left
    while let block = head {
      let unread = block.pointee.unread
      if left < unread {
        block.pointee.start &+= UInt32(truncatingIfNeeded: left)
        return
      }
      left &-= unread
      block.pointee.start = block.pointee.end
      if block == tail {
        if reservedCount > 0 { return }
        tail = nil
      }
      head = block.pointee.next
      cache.release(block)
    }
  }

  /// Describes unread bytes for `writev`, from the front.
  ///
  /// - Parameters:
  ///   - vectors: room for `capacity` vectors; the filled ones are valid until the chain is changed.
  ///   - limit: bytes to describe at most.
  /// - Returns: the number of vectors filled; none is empty.
  @inlinable @_noLocks
  public func gather(_ vectors: UnsafeMutablePointer<iovec>, _ capacity: Int, limit: Int = Int.max) -> Int {
    var filled = 0
    var left = limit
    var block = head
    while let current = block, filled < capacity, left > 0 {
      let length = min(current.pointee.unread, left)
      if length > 0 {
        vectors[filled].iov_base = UnsafeMutableRawPointer(
          current.pointee.bytes + Int(truncatingIfNeeded: current.pointee.start))
        vectors[filled].iov_len = length
        filled &+= 1
        left &-= length
      }
      block = current.pointee.next
    }
    return filled
  }

  /// Drops all bytes and releases all blocks. A reservation is over.
  @inlinable @inline(__always) @_noLocks
  public mutating func removeAll(to cache: BlockCache) {
    guard head != nil else { return }
    releaseBlocks(to: cache)
  }
}

// MARK: - Parts that are called less often

extension SegmentChain {
  @usableFromInline @inline(__always) @_noLocks
  mutating func reserveRoom(of block: BlockPointer) -> UnsafeMutableRawBufferPointer {
    reservedCount = block.pointee.room
    return UnsafeMutableRawBufferPointer(
      start: block.pointee.bytes + Int(truncatingIfNeeded: block.pointee.end), count: reservedCount)
  }

  /// Reserves when the tail has too little room: from its start when it is read and nobody else can see it, or in a new
  /// one.
  @usableFromInline @inline(never) @_noLocks
  mutating func reserveInAnotherBlock(_ minimum: Int, from cache: BlockCache) -> UnsafeMutableRawBufferPointer? {
    if let tail, tail.pointee.unread == 0, tail.pointee.references == 1 {
      tail.pointee.start = 0
      tail.pointee.end = 0
      if tail.pointee.room >= minimum { return reserveRoom(of: tail) }
    }
    guard let block = SegmentChain.rent(minimum, from: cache) else { return nil }
    if unreadCount == 0 { releaseBlocks(to: cache) }
    append(block)
    return reserveRoom(of: block)
  }

  @usableFromInline @inline(never) @_noLocks
  mutating func appendAcrossBlocks(_ bytes: UnsafeRawPointer, _ count: Int, from cache: BlockCache) -> Bool {
    guard count > 0 else { return true }
    let fitting = tail?.pointee.room ?? 0
    // All blocks first, so that nothing has changed when there are too few.
    var added = SegmentChain()
    var missing = count &- fitting
    while missing > 0 {
      guard let block = cache.rent() else {
        added.releaseBlocks(to: cache)
        return false
      }
      added.append(block)
      missing &-= block.pointee.room
    }
    if let tail { SegmentChain.copy(bytes, fitting, to: tail) }
    var copied = fitting
    var next = added.head
    while let block = next {
      let part = min(count &- copied, block.pointee.room)
      SegmentChain.copy(bytes + copied, part, to: block)
      copied &+= part
      next = block.pointee.next
    }
    append(contentsOf: &added)
    unreadCount &+= count
    return true
  }

  @usableFromInline @inline(never) @_noLocks
  mutating func releaseBlocks(to cache: BlockCache) {
    var block = head
    self = SegmentChain()
    while let current = block {
      block = current.pointee.next
      cache.release(current)
    }
  }

  /// Copies bytes into the room of a block, which has enough.
  @usableFromInline @inline(__always) @_noLocks
  static func copy(_ bytes: UnsafeRawPointer, _ count: Int, to block: BlockPointer) {
    let room = UnsafeMutableRawPointer(block.pointee.bytes) + Int(truncatingIfNeeded: block.pointee.end)
    room.copyMemory(from: bytes, byteCount: count)
    block.pointee.end &+= UInt32(truncatingIfNeeded: count)
  }

  /// Rents a block with the given capacity at least: pooled when that will do.
  @_noLocks
  static func rent(_ capacity: Int, from cache: BlockCache) -> BlockPointer? {
    capacity <= BlockPool.blockSize ? cache.rent() : _unsafePerformance { cache.rentLarge(capacity) }
  }
}
