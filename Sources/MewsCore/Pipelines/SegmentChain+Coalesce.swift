extension SegmentChain {
  /// Makes the first bytes of the chain lie side by side in one block: for a head that straddles blocks. A reservation
  /// is over, and pointers into the moved bytes are void unless their blocks are pinned.
  ///
  /// A block that is too small is replaced by one of the next power of two, so that a head which grows piece by piece
  /// is copied a constant number of times on average.
  ///
  /// - Parameters:
  ///   - count: bytes, 0 to `self.count`.
  ///   - room: bytes of room to have behind them in that block. Counts only when `count` is all there is: otherwise
  ///     other bytes follow.
  ///   - cache: where a new block comes from, and where emptied ones go.
  /// - Returns: false, and the bytes stay where they are, for another count, a negative room, at the pool's limit, or
  ///   when memory is exhausted.
  @_noLocks
  public mutating func coalesce(_ count: Int, room: Int, from cache: BlockCache) -> Bool {
    guard count >= 0, count <= unreadCount, room >= 0 else { return false }
    reservedCount = 0
    // Drops blocks at the front that hold nothing.
    consume(0, to: cache)
    guard count > 0, let first = head else { return true }
    let roomNeeded = count == unreadCount ? room : 0
    let (needed, overflow) = count.addingReportingOverflow(roomNeeded)
    guard !overflow else { return false }
    if first.pointee.unread >= count, roomNeeded == 0 || first.pointee.room >= roomNeeded {
      pull(count, into: first, to: cache)
      return true
    }
    guard let target = makeTarget(needed, from: first, cache: cache) else { return false }
    pull(count, into: target, to: cache)
    return true
  }

  /// The block at the front that the bytes will lie in: the present one, if need be with its bytes moved to its start,
  /// or a new one put before it.
  @_noLocks
  private mutating func makeTarget(_ needed: Int, from first: BlockPointer, cache: BlockCache) -> BlockPointer? {
    if case .external = first.pointee.kind {
      return putNewFirst(needed, cache: cache)
    }
    let capacity = Int(truncatingIfNeeded: first.pointee.capacity)
    if capacity &- Int(truncatingIfNeeded: first.pointee.start) >= needed { return first }
    // Somebody who has pinned the block must find its bytes where they were.
    guard capacity >= needed, first.pointee.references == 1 else { return putNewFirst(needed, cache: cache) }
    let unread = first.pointee.unread
    UnsafeMutableRawPointer(first.pointee.bytes).copyMemory(
      from: first.pointee.bytes + Int(truncatingIfNeeded: first.pointee.start), byteCount: unread)
    first.pointee.start = 0
    first.pointee.end = UInt32(truncatingIfNeeded: unread)
    return first
  }

  @_noLocks
  private mutating func putNewFirst(_ needed: Int, cache: BlockCache) -> BlockPointer? {
    guard needed <= Int(UInt32.max) else { return nil }
    let rounded = 1 << (Int.bitWidth &- (needed &- 1).leadingZeroBitCount)
    guard let block = SegmentChain.rent(min(rounded, Int(UInt32.max)), from: cache) else { return nil }
    block.pointee.next = head
    head = block
    return block
  }

  /// Moves bytes from the blocks behind the first into it until it holds `count`, and drops what is empty then.
  @_noLocks
  private mutating func pull(_ count: Int, into target: BlockPointer, to cache: BlockCache) {
    while let next = target.pointee.next, target.pointee.unread < count || next.pointee.unread == 0 {
      let part = max(0, min(next.pointee.unread, count &- target.pointee.unread))
      SegmentChain.copy(next.pointee.bytes + Int(truncatingIfNeeded: next.pointee.start), part, to: target)
      next.pointee.start &+= UInt32(truncatingIfNeeded: part)
      guard next.pointee.unread == 0 else { return }
      target.pointee.next = next.pointee.next
      if tail == next { tail = target }
      cache.release(next)
    }
  }
}
