import Glibc

/// A chain of blocks with a writer's side and a reader's side.
///
/// Bytes become visible to the reader with a flush. The reader says with `advance` how far it has consumed (drop it)
/// and how far it has examined (wake me when there is more). The writer is paused while the bytes that the reader has
/// not examined reach the pause threshold, and goes on when they fall below the resume threshold.
///
/// A pipe never waits and wakes nobody: the results say who has to wait and who may go on, and the owner sees to it.
/// Misuse is answered with a result and changes nothing.
///
/// Thread: one at a time, both sides together. It passes from thread to thread with the exchange that owns it, and what
/// passes it on must order memory. A pipe is a plain value: it does not free itself (complete both sides), and only one
/// copy may be used.
public struct Pipe {
  /// The default threshold for pausing a writer, in bytes.
  public static let defaultPause = 65_536
  /// The default threshold for resuming a writer, in bytes.
  public static let defaultResume = 32_768

  @usableFromInline var segments = SegmentChain()
  /// Bytes that the reader may see: the front part of `segments`.
  @usableFromInline var visibleCount = 0
  /// Bytes that the reader has examined and not consumed: the front part of the visible ones.
  @usableFromInline var examinedCount = 0
  /// Bytes that the open read has shown.
  @usableFromInline var offeredCount = 0
  @usableFromInline let pause: Int
  @usableFromInline let resume: Int

  @usableFromInline var reading = Reading.closed
  @usableFromInline var paused = false
  @usableFromInline var flushCanceled = false
  @usableFromInline var readCanceled = false
  @usableFromInline var writerDone = false
  @usableFromInline var readerDone = false

  /// What the writer gave to `completeWriter`; 0 before, and after a clean completion.
  public internal(set) var writerError: Int32 = 0
  /// What the reader gave to `completeReader`; 0 before, and after a clean completion.
  public internal(set) var readerError: Int32 = 0

  /// Where the reader stands between `read` and `advance`.
  @usableFromInline @frozen
  enum Reading {
    /// No read to answer.
    case closed
    /// A read that may be answered or not: it was empty or canceled.
    case optional
    /// A read that must be answered before the next.
    case open
  }

  /// An empty pipe.
  ///
  /// - Parameters:
  ///   - pause: bytes not examined at which the writer is paused; 0 or below: never.
  ///   - resume: bytes not examined below which it goes on; brought into the range from 1 to `pause`. Refuse a
  ///     configuration that breaks `areThresholdsValid` before it comes here.
  @inlinable @inline(__always) @_noLocks
  public init(pause: Int, resume: Int) {
    self.pause = max(pause, 0)
    self.resume = max(min(resume, pause), 1)
  }

  /// Whether thresholds make sense: neither is negative, and the one for resuming is not above the one for pausing,
  /// unless that is 0 (never pause).
  public static func areThresholdsValid(pause: Int, resume: Int) -> Bool {
    pause >= 0 && resume >= 0 && (pause == 0 || resume <= pause)
  }

  /// Whether the writer has completed.
  @inlinable
  public var isWriterCompleted: Bool { @inline(__always) @_noLocks get { writerDone } }

  /// Whether the reader has completed.
  @inlinable
  public var isReaderCompleted: Bool { @inline(__always) @_noLocks get { readerDone } }

  /// Whether the writer has to wait.
  @inlinable
  public var isPaused: Bool { @inline(__always) @_noLocks get { paused } }

  /// Whether a read would show something now: whoever changes the pipe wakes a waiting reader when this has become
  /// true.
  @inlinable
  public var isReadable: Bool {
    @inline(__always) @_noLocks get { visibleCount > examinedCount || writerDone || readCanceled }
  }

  /// Bytes that were written and not flushed.
  @inlinable
  public var unflushed: Int { @inline(__always) @_noLocks get { segments.unreadCount &- visibleCount } }

  /// Flushed bytes that the reader has not consumed.
  @inlinable
  public var count: Int { @inline(__always) @_noLocks get { visibleCount } }

  /// Flushed bytes that the reader has not examined: what the thresholds are compared with.
  @inlinable
  public var unexamined: Int { @inline(__always) @_noLocks get { visibleCount &- examinedCount } }

  /// Whether the pipe holds neither bytes nor a block.
  @inlinable
  public var holdsNoBlock: Bool { @inline(__always) @_noLocks get { segments.holdsNoBlock } }
}
