import CMewsShims
import Synchronization

/// What a thread is to the completion port it waits on. It lives in the thread's own static storage, so it needs no
/// allocation and cannot fail; zeroed memory is a thread that has never waited.
///
/// Fields are the thread's own unless their comment says that the port's lock guards them.
struct PortThread: ~Copyable {
  /// `parked` while the thread sleeps until a hand-off, `leading` while it waits in the port's driver instead,
  /// `released` once its outcome is written.
  let word = Atomic<UInt32>(Self.parked)
  /// Guarded by the port's lock: whether the thread is on the stack of waiters.
  var isWaiting = false
  /// Guarded by the port's lock: whether the thread counts as one of the port's active threads.
  var holdsSlot = false
  /// Guarded by the port's lock: whether the thread drives the port's input and output while it waits.
  var isLeading = false
  /// Whether the thread's exit is being watched.
  var isExitWatched = false
  /// How many blocking scopes the thread is inside of.
  var blockingDepth: UInt32 = 0
  /// Guarded by the port's lock: the stack of waiters; afterwards the poster's chain of waiters to wake.
  var next: PortThreadPointer?
  var previous: PortThreadPointer?
  /// Written by the poster that claims the thread, before `word` says `released`. Nil then means: abandoned.
  var packet: PacketPointer?
  /// The address of the port that the thread is associated with; 0 for none. Only the thread changes it, and the port's
  /// lock guards nothing of a thread that is not associated with the port.
  private let portAddress = Atomic<UInt>(0)
  /// The port's own packets that this thread received last; they go back at its next call.
  var lent: PacketPointer?

  static var parked: UInt32 { @_noLocks get { 0 } }
  static var released: UInt32 { @_noLocks get { 1 } }
  static var leading: UInt32 { @_noLocks get { 2 } }

  /// The calling thread's record.
  static var current: PortThreadPointer {
    @_noLocks @inline(__always) get { shim_port_thread().assumingMemoryBound(to: PortThread.self) }
  }

  /// The port that the thread is associated with. Any thread may ask.
  var port: UnsafeMutablePointer<PortState>? {
    @_noLocks @inline(__always) get { UnsafeMutablePointer(bitPattern: portAddress.load(ordering: .relaxed)) }
    @_noLocks @inline(__always) nonmutating set {
      portAddress.store(UInt(bitPattern: newValue), ordering: .relaxed)
    }
  }

  var wordAddress: UnsafeRawPointer {
    @_noLocks @inline(__always) get { withUnsafePointer(to: word) { UnsafeRawPointer($0) } }
  }

  /// Remembers a packet that has to go back to the port, if it is one of the port's own.
  @_noLocks @inline(__always)
  mutating func borrow(_ packet: PacketPointer) {
    guard packet.pointee.isPooled != 0 else { return }
    packet.pointee.next = lent
    lent = packet
  }
}

typealias PortThreadPointer = UnsafeMutablePointer<PortThread>
