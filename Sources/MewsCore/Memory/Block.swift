/// Called once when the bytes of an external block are no longer needed: the Swift shape of the header's
/// `mews_release`.
public typealias BlockRelease = @convention(c) (UnsafeMutableRawPointer?) -> Void

/// A view of memory with a position.
///
/// A pooled block owns 4 KiB of its slab for ever; a large one owns memory of its own; an external one shows bytes that
/// somebody else owns and calls back when the last reference goes. The bytes from `start` to `end` are written and
/// unread; those from `end` to `capacity` are room.
///
/// Thread: a block belongs to one thread at a time. Nothing here is atomic; what hands a block from thread to thread
/// (the completion port, a mailbox) must order memory.
public struct Block {
  /// Where the memory of a block comes from, and so where it goes.
  @frozen
  public enum Kind {
    /// A slab of the pool.
    case pooled
    /// A slab of a pool in debug mode: poisoned when returned, checked when rented again.
    case guarded
    /// One allocation a rent, in place of a slab, so that a sanitizer sees every block.
    case separate
    /// One allocation of the size asked for.
    case large
    /// Bytes that somebody else owns. They are never written to.
    case external
  }

  /// The first byte of the storage.
  public var bytes: UnsafeMutablePointer<UInt8>
  /// The next block of whichever list the block is in.
  public var next: UnsafeMutablePointer<Block>?
  /// Bytes of storage.
  public var capacity: UInt32
  /// Index of the first unread byte.
  public var start: UInt32
  /// Index one past the last written byte.
  public var end: UInt32
  /// How many owners the block has; 0 while it lies in the pool.
  public var references: UInt32
  /// External blocks: what to call when the last reference goes.
  @usableFromInline var release: BlockRelease?
  /// External blocks: the argument of `release`. Free blocks at the head of a batch: the next batch.
  @usableFromInline var context: UnsafeMutableRawPointer?
  /// Where the memory comes from.
  @usableFromInline var origin: Kind
  /// Guarded blocks: whether the storage was filled with the poison when the block was returned.
  var isPoisoned: Bool

  /// Where the memory of the block comes from.
  @inlinable
  public var kind: Kind { @inline(__always) @_noLocks get { origin } }

  /// Bytes written and not read: `end - start`.
  @inlinable
  public var unread: Int { @inline(__always) @_noLocks get { Int(truncatingIfNeeded: end &- start) } }

  /// Bytes that can be written behind `end`. An external block has none, whatever its capacity.
  @inlinable
  public var room: Int {
    @inline(__always) @_noLocks get {
      if case .external = origin { return 0 }
      return Int(truncatingIfNeeded: capacity &- end)
    }
  }

  init(bytes: UnsafeMutablePointer<UInt8>, capacity: UInt32, kind: Kind) {
    self.bytes = bytes
    self.next = nil
    self.capacity = capacity
    self.start = 0
    self.end = 0
    self.references = 0
    self.release = nil
    self.context = nil
    self.origin = kind
    self.isPoisoned = false
  }

  /// Makes a free block one that was just rented: one reference, no bytes, in no list.
  @usableFromInline @inline(__always) @_noLocks
  mutating func beginRent() {
    next = nil
    start = 0
    end = 0
    references = 1
  }
}

/// A block is always handled by its address: its header never moves.
public typealias BlockPointer = UnsafeMutablePointer<Block>

extension Block {
  /// Bytes from one header to the next: a cache line each, so that two threads never share one.
  static let headerStride = 64
}
