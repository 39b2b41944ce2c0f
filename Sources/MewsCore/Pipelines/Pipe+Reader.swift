import Glibc

extension Pipe {
  /// Looks at what there is. A `ready` read that is not canceled must be answered by `advance` before the next.
  ///
  /// A read is ready when there are bytes that the last `advance` did not mark as examined, when the writer has
  /// completed cleanly (then again and again), and once after `cancelRead`.
  @inlinable @inline(__always) @_noLocks
  public mutating func read() -> ReadResult {
    if readerDone { return ReadResult(.misused) }
    if case .open = reading { return ReadResult(.misused) }
    if writerError != 0 { return ReadResult(.failed, error: writerError, isCompleted: true) }
    offeredCount = visibleCount
    if readCanceled {
      readCanceled = false
      reading = .optional
      return ReadResult(.ready, count: visibleCount, isCompleted: writerDone, isCanceled: true)
    }
    guard visibleCount > examinedCount || writerDone else {
      offeredCount = 0
      reading = .optional
      return ReadResult(.empty)
    }
    reading = .open
    return ReadResult(.ready, count: visibleCount, isCompleted: writerDone)
  }

  /// Answers a read. Both counts are from the front of the bytes that it showed.
  ///
  /// - Parameters:
  ///   - consumed: bytes to drop; blocks that are read to their end are released.
  ///   - examined: bytes the reader has looked at, from `consumed` to the read's `count`. With all of them, the next
  ///     read waits for more. It cannot fall behind what an earlier read has examined; only 0, with nothing consumed,
  ///     leaves everything as it was.
  ///   - cache: where blocks go.
  @inlinable @inline(__always) @_noLocks
  public mutating func advance(consumed: Int, examined: Int, to cache: BlockCache) -> AdvanceResult {
    if case .closed = reading { return .misused }
    guard consumed >= 0, consumed <= examined, examined <= offeredCount else { return .misused }
    guard examined >= examinedCount || examined == 0 else { return .misused }
    reading = .closed
    guard examined > 0 else { return .done }
    examinedCount = examined
    return drop(consumed, to: cache)
  }

  /// Reads and answers in one: drops bytes from the front, as a transport does with those it has sent (`gather`).
  ///
  /// - Parameter count: bytes, 0 to `self.count`.
  /// - Returns: `misused`, and nothing changes, for another count, while a read is open, or when the reader has
  ///   completed.
  @inlinable @inline(__always) @_noLocks
  public mutating func consume(_ count: Int, to cache: BlockCache) -> AdvanceResult {
    if case .open = reading { return .misused }
    guard !readerDone, count >= 0, count <= visibleCount else { return .misused }
    reading = .closed
    examinedCount = max(examinedCount, count)
    return drop(count, to: cache)
  }

  /// Describes flushed bytes for `writev`, from the front: as `SegmentChain.gather`.
  @inlinable @inline(__always) @_noLocks
  public func gather(_ vectors: UnsafeMutablePointer<iovec>, _ capacity: Int) -> Int {
    segments.gather(vectors, capacity, limit: visibleCount)
  }

  /// The flushed bytes of the first block that has some; empty when there are none.
  @inlinable
  public var first: UnsafeRawBufferPointer {
    @inline(__always) @_noLocks get {
      let bytes = segments.first
      return UnsafeRawBufferPointer(start: bytes.baseAddress, count: min(bytes.count, visibleCount))
    }
  }

  /// The block that holds the first bytes, for who wants to pin it (`BlockCache.retain`); nil when there are none.
  @inlinable
  public var firstBlock: BlockPointer? {
    @inline(__always) @_noLocks get { visibleCount > 0 ? segments.firstBlock : nil }
  }

  /// Makes the first flushed bytes lie side by side in one block: as `SegmentChain.coalesce`. It may be called while a
  /// read is open.
  ///
  /// - Returns: false, and the bytes stay where they are, when `count` exceeds `self.count`, while the writer has
  ///   reserved room, at the pool's limit, or when memory is exhausted.
  @inlinable @inline(__always) @_noLocks
  public mutating func coalesce(_ count: Int, room: Int, from cache: BlockCache) -> Bool {
    guard count <= visibleCount, segments.reservedCount == 0 else { return false }
    return segments.coalesce(count, room: room, from: cache)
  }

  /// Makes the next read ready with `isCanceled`, once. It is how a waiting reader is called back.
  @inlinable @inline(__always) @_noLocks
  public mutating func cancelRead() {
    readCanceled = true
  }

  /// Ends the reader's side; a read that is open needs no answer any more. The first completion counts; a later one
  /// does nothing.
  ///
  /// - Parameters:
  ///   - error: 0 for a clean end; anything else tells the writer why (`readerError`).
  ///   - cache: where blocks go if the writer is done; otherwise they go when it is.
  @_noLocks
  public mutating func completeReader(error: Int32 = 0, to cache: BlockCache) {
    guard !readerDone else { return }
    readerDone = true
    readerError = error
    reading = .closed
    paused = false
    if writerDone { releaseAll(to: cache) }
  }

  /// Drops examined bytes and lets a paused writer go on when there is little left.
  @inlinable @inline(__always) @_noLocks
  mutating func drop(_ consumed: Int, to cache: BlockCache) -> AdvanceResult {
    segments.consume(consumed, to: cache)
    visibleCount &-= consumed
    examinedCount &-= consumed
    guard paused, unexamined < resume else { return .done }
    paused = false
    return .writerResumed
  }
}
