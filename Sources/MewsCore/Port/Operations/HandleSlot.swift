import CMewsShims

/// A descriptor associated with an operation port: slot and generation. 0 is never a handle; a closed one never comes
/// back.
public struct Handle: Equatable, Sendable {
  public let rawValue: UInt64

  @_noLocks @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @_noLocks @inline(__always)
  init(index: Int, generation: UInt32) {
    rawValue = UInt64(generation) << 32 | UInt64(truncatingIfNeeded: index &+ 1)
  }

  /// Negative for what is no handle.
  var index: Int { @_noLocks @inline(__always) get { Int(rawValue & 0xffff_ffff) &- 1 } }
  var generation: UInt32 { @_noLocks @inline(__always) get { UInt32(truncatingIfNeeded: rawValue >> 32) } }
}

/// The place of a handle. It stays where it is as long as the port; descriptors come and go. The lock and what it
/// guards are fields apart, as in `PortState`.
struct HandleSlot: ~Copyable {
  var entry: HandleEntry
  let lock: FutexLock
  /// What reads and what writes on the port's ring: two, made when they are first needed, and kept. Nil while there are
  /// none. Guarded by the lock.
  var lanes: RingLanePointer?

  init(index: Int, spins: Bool) {
    entry = HandleEntry(index: index)
    lock = FutexLock(spins: spins)
  }
}

typealias HandleSlotPointer = UnsafeMutablePointer<HandleSlot>

/// What is known of a handle's descriptor. The slot's lock guards it.
///
/// A flag of readiness that is off says: the kernel has answered that there is nothing, and will report the change.
/// Then an operation waits its turn without trying.
struct HandleEntry {
  let index: Int
  var generation: UInt32 = 1
  var isOpen = false
  var descriptor: Int32 = -1
  /// One of `SHIM_DESCRIPTOR_...`.
  var kind: Int32 = 0
  var key: UInt = 0
  var skipsSuccess = false
  /// Whether sends keep their bounds, so that one of no bytes is one, too.
  var hasMessages = false

  var mayRead = false
  var mayWrite = false
  /// Receiving may stop short although there is more: the end, an error or an urgent mark.
  var readsStopShort = false

  /// Whether epoll watches the descriptor.
  var isWatched = false
  /// Whether the operations that wait are the ring's to do, and nobody tells of readiness.
  var usesRing = false

  /// Operations in flight, in the order of their calls. Those on files are with file threads, or in the ring, as well.
  var reads = OperationQueue()
  var writes = OperationQueue()
  /// How many operations of this handle file threads or the ring have. While there are any, the descriptor stays open.
  var heldOperations = 0

  /// The next slot that is free.
  var nextFree: HandleSlotPointer?

  init(index: Int) { self.index = index }

  var isSocket: Bool {
    @_noLocks @inline(__always) get { kind == SHIM_DESCRIPTOR_SOCKET || kind == SHIM_DESCRIPTOR_TCP }
  }
  var isFile: Bool { @_noLocks @inline(__always) get { kind == SHIM_DESCRIPTOR_FILE } }

  /// Takes in what the kernel reports.
  @_noLocks @inline(__always)
  mutating func note(_ ready: UInt32) {
    let ends = ReadyEvents.peerClosed | ReadyEvents.hangup | ReadyEvents.error
    if ready & (ReadyEvents.readable | ReadyEvents.urgent | ends) != 0 { mayRead = true }
    if ready & (ReadyEvents.writable | ReadyEvents.hangup | ReadyEvents.error) != 0 { mayWrite = true }
    if ready & (ReadyEvents.urgent | ends) != 0 { readsStopShort = true }
  }
}
