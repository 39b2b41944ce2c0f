extension Pipe {
  /// Room to write to, of at least `minimum` bytes (below 1 counts as 1): as `SegmentChain.reserve`.
  ///
  /// - Returns: nil when the writer has completed, at the pool's limit, or when memory is exhausted. When the reader is
  ///   done there is room, so that the writer needs no case for it, but always the same.
  @inlinable @inline(__always) @_noLocks
  public mutating func reserve(_ minimum: Int, from cache: BlockCache) -> UnsafeMutableRawBufferPointer? {
    guard !writerDone else { return nil }
    return segments.reserve(minimum, from: cache)
  }

  /// Takes over bytes that were written into the reserved room. The reader sees them after a flush; when the reader is
  /// done they are dropped.
  ///
  /// - Returns: false, and nothing changes, when the writer has completed, or the count is negative or exceeds the
  ///   room.
  @inlinable @inline(__always) @_noLocks @discardableResult
  public mutating func advance(_ count: Int) -> Bool {
    guard !writerDone else { return false }
    guard readerDone else { return segments.advance(count) }
    guard count >= 0, count <= segments.reservedCount else { return false }
    return segments.advance(0)
  }

  /// Gives reserved room up, and its block when that holds no bytes.
  @inlinable @inline(__always) @_noLocks
  public mutating func cancelReservation(to cache: BlockCache) {
    segments.cancelReservation(to: cache)
  }

  /// Copies bytes into the pipe. All of them or, unless the answer is `accepted`, none.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(_ bytes: UnsafeRawPointer, _ count: Int, from cache: BlockCache) -> WriteResult {
    guard !writerDone, count >= 0 else { return .misused }
    guard !readerDone else { return .dropped }
    return segments.append(bytes, count, from: cache) ? .accepted : .noMemory
  }

  /// Puts a block into the pipe. Its reference is taken over in any case: a block that cannot be accepted is released
  /// to the cache.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(_ block: BlockPointer, to cache: BlockCache) -> WriteResult {
    guard !writerDone, !readerDone else {
      cache.release(block)
      return writerDone ? .misused : .dropped
    }
    segments.append(block)
    return .accepted
  }

  /// Puts the bytes of a block into the pipe: copies them where there is room behind the last byte, and has the block
  /// in the pipe otherwise. So bytes that come one by one do not hold a block each, and those that belong together
  /// mostly lie together. The reference is taken over in any case.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(merging block: BlockPointer, to cache: BlockCache) -> WriteResult {
    guard let tail = segments.tail, tail.pointee.room >= block.pointee.unread, !writerDone, !readerDone else {
      return append(block, to: cache)
    }
    SegmentChain.copy(block.pointee.bytes + Int(block.pointee.start), block.pointee.unread, to: tail)
    segments.unreadCount &+= block.pointee.unread
    segments.reservedCount = 0
    cache.release(block)
    return .accepted
  }

  /// Moves all of a chain into the pipe, in constant time. It is emptied in any case: a chain that cannot be accepted
  /// is released to the cache.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(contentsOf chain: inout SegmentChain, to cache: BlockCache) -> WriteResult {
    guard !writerDone, !readerDone else {
      chain.removeAll(to: cache)
      return writerDone ? .misused : .dropped
    }
    segments.append(contentsOf: &chain)
    return .accepted
  }

  /// Moves all that was written into another pipe, flushed or not, into this one, in constant time.
  @inlinable @inline(__always) @_noLocks
  public mutating func append(contentsOf other: inout Pipe, to cache: BlockCache) -> WriteResult {
    other.visibleCount = 0
    other.examinedCount = 0
    return append(contentsOf: &other.segments, to: cache)
  }

  /// Moves all that was written, flushed or not, to the end of a chain, in constant time. A reservation is over.
  @_noLocks
  public mutating func moveAll(to chain: inout SegmentChain) {
    segments.reservedCount = 0
    chain.append(contentsOf: &segments)
    visibleCount = 0
    examinedCount = 0
  }

  /// Drops everything and starts over, as a new pipe with the same thresholds.
  @_noLocks
  public mutating func reset(to cache: BlockCache) {
    segments.cancelReservation(to: cache)
    segments.removeAll(to: cache)
    self = Pipe(pause: pause, resume: resume)
  }

  /// Shows the reader all that was written, and says whether to go on. With nothing written it only answers.
  @inlinable @inline(__always) @_noLocks
  public mutating func flush() -> FlushResult {
    guard !writerDone else { return .misused }
    guard !readerDone else { return .readerCompleted }
    visibleCount = segments.unreadCount
    if pause > 0, unexamined >= pause { paused = true }
    if flushCanceled {
      flushCanceled = false
      return .canceled
    }
    return paused ? .paused : .flowing
  }

  /// Makes the next flush answer `canceled`, once. It is how a waiting writer is called back.
  @inlinable @inline(__always) @_noLocks
  public mutating func cancelFlush() {
    flushCanceled = true
  }

  /// Ends the writer's side: bytes not flushed become visible, reserved room is given up. The first completion counts;
  /// a later one does nothing.
  ///
  /// - Parameters:
  ///   - error: 0 for a clean end, after which the reader sees all bytes; anything else is what each later read fails
  ///     with.
  ///   - cache: where blocks go, all of them if the reader is done.
  @_noLocks
  public mutating func completeWriter(error: Int32 = 0, to cache: BlockCache) {
    guard !writerDone else { return }
    writerDone = true
    writerError = error
    paused = false
    if readerDone { return releaseAll(to: cache) }
    visibleCount = segments.unreadCount
    segments.cancelReservation(to: cache)
  }

  /// Releases what is left when both sides are done.
  @_noLocks
  mutating func releaseAll(to cache: BlockCache) {
    segments.removeAll(to: cache)
    visibleCount = 0
    examinedCount = 0
  }
}
