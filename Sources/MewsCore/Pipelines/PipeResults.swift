/// What a flush tells the writer.
@frozen
public enum FlushResult: Sendable {
  /// The reader keeps up: go on.
  case flowing
  /// The pause threshold is reached: stop writing until an `AdvanceResult.writerResumed`.
  case paused
  /// The reader is done: what is written from now on is dropped. `Pipe.readerError` says why.
  case readerCompleted
  /// `cancelFlush` was called. The bytes are visible to the reader; the next flush answers as usual.
  case canceled
  /// The writer had completed. Nothing changed.
  case misused
}

/// What became of appended bytes.
@frozen
public enum WriteResult: Sendable {
  /// They are in the pipe.
  case accepted
  /// The reader is done: they were dropped.
  case dropped
  /// The pool's limit is reached or memory is exhausted: nothing was appended.
  case noMemory
  /// The writer had completed, or the count is negative: nothing was appended.
  case misused
}

/// What a read shows.
public struct ReadResult: Sendable {
  /// What kind of answer it is.
  @frozen
  public enum Status: Sendable {
    /// There is something to see; answer it with `Pipe.advance`.
    case ready
    /// Nothing that the reader has not examined already: wait. No `advance` is due.
    case empty
    /// The writer completed with an error, in `error`. Bytes that are left are not shown.
    case failed
    /// The last read is not answered yet, or the reader had completed. Nothing changed.
    case misused
  }

  /// What kind of answer it is.
  public let status: Status
  /// Bytes to see, from the front of the pipe.
  public let count: Int
  /// What the writer gave to `completeWriter`, with `failed`; otherwise 0.
  public let error: Int32
  /// The writer is done: these are the last bytes.
  public let isCompleted: Bool
  /// `cancelRead` was called. The next read answers as usual, whether this one was answered or not.
  public let isCanceled: Bool

  @usableFromInline @inline(__always) @_noLocks
  init(_ status: Status, count: Int = 0, error: Int32 = 0, isCompleted: Bool = false, isCanceled: Bool = false) {
    self.status = status
    self.count = count
    self.error = error
    self.isCompleted = isCompleted
    self.isCanceled = isCanceled
  }
}

/// What answering a read did.
@frozen
public enum AdvanceResult: Sendable {
  /// The read is answered.
  case done
  /// The read is answered, and a paused writer may go on: tell it.
  case writerResumed
  /// No read was open, or the counts are out of order or out of range. Nothing changed: an open read stays open.
  case misused
}
