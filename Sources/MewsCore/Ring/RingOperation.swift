import CMewsShims

/// Something that a ring does, embedded in what it concerns. It belongs to one `Proactor` from `attach` to `detach`,
/// and stays at its address meanwhile.
///
/// `prepare` fills a submission entry, and may be asked to again whenever the operation is still armed: where it goes
/// on with another ring. `complete` is told each completion. The block of a completion that has one is the operation's
/// then, with the received bytes in it.
public typealias RingOperation = shim_ring_operation
public typealias RingOperationPointer = UnsafeMutablePointer<RingOperation>
/// What an operation is told: a result or an errno negated, and the block that was received into.
public typealias RingCompletion = shim_ring_completion
/// An entry of a ring's queue of submissions, for the functions `shim_entry_...`.
public typealias RingEntry = OpaquePointer

extension shim_ring_operation {
  /// Bits of `state`.
  enum Bits {
    /// It is in a ring, or waits to be; a completion will come.
    static var armed: UInt32 { @_noLocks get { 1 << 0 } }
    /// It waits for a submission entry: to be armed or to be canceled.
    static var deferred: UInt32 { @_noLocks get { 1 << 1 } }
    /// It was submitted to the present ring.
    static var submitted: UInt32 { @_noLocks get { 1 << 2 } }
    /// It was asked to end.
    static var canceling: UInt32 { @_noLocks get { 1 << 3 } }
    /// It was armed on the ring before the present one, or before the present one lost completions: it is not to be
    /// found in the ring any more.
    static var inherited: UInt32 { @_noLocks get { 1 << 4 } }
  }

  /// An operation that is attached to nothing.
  public init(
    prepare: (@convention(c) (RingOperationPointer, RingEntry) -> Void)?,
    complete: (@convention(c) (RingOperationPointer, RingCompletion) -> Void)?
  ) {
    self.init(prepare: prepare, complete: complete, next: nil, slot: 0, state: 0)
  }

  /// Whether the operation is one of a proactor's.
  public var isAttached: Bool {
    @_noLocks @inline(__always) get { slot != 0 }
  }

  /// Whether a completion will come.
  public var isArmed: Bool {
    @_noLocks @inline(__always) get { state & Bits.armed != 0 }
  }

  /// Whether the operation was asked to end, and has not.
  public var isCanceling: Bool {
    @_noLocks @inline(__always) get { state & Bits.canceling != 0 }
  }
}

extension shim_ring_completion {
  /// Whether this is the operation's last completion: it is not armed any more.
  public var isLast: Bool {
    @_noLocks @inline(__always) get { flags & SHIM_RING_MORE == 0 }
  }

  /// The block that was received into.
  public var block: BlockPointer? {
    @_noLocks @inline(__always) get { buffer?.assumingMemoryBound(to: Block.self) }
  }
}
