import Synchronization

/// A queue of packets from any thread to one, without a lock. The receiver pays for a system call only where it sleeps:
/// a poster is told to wake it when, and only when, it has parked.
///
/// Posters push onto a stack; the receiver takes all of it in one exchange and turns it round, so packets of one poster
/// arrive in their order. A packet pushed onto a stack that is not empty needs no look at the receiver: whoever filled
/// the empty stack took that look.
struct Mailbox: ~Copyable {
  private enum Receiver {
    static var running: UInt32 { 0 }
    static var parking: UInt32 { 1 }
    static var notified: UInt32 { 2 }
  }

  private let latest = Atomic<PacketPointer?>(nil)
  private let receiver = Atomic<UInt32>(Receiver.running)

  /// Queues a packet.
  ///
  /// - Returns: true when the caller has to wake the receiver. Of all posters since the receiver parked, one is told
  ///   so.
  @_noLocks
  func push(_ packet: PacketPointer) -> Bool {
    var previous = latest.load(ordering: .relaxed)
    var isPushed = false
    repeat {
      Interleaving.reach(Interleaving.store)
      packet.pointee.next = previous
      // Sequentially consistent, like the three operations in `prepareToPark` and below: either the receiver sees this
      // packet, or this thread sees the receiver parking.
      (isPushed, previous) = latest.weakCompareExchange(
        expected: previous, desired: packet, ordering: .sequentiallyConsistent)
    } while !isPushed
    Interleaving.reach(Interleaving.load)
    guard previous == nil, receiver.load(ordering: .sequentiallyConsistent) == Receiver.parking else { return false }
    return receiver.compareExchange(
      expected: Receiver.parking, desired: Receiver.notified, ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// Takes all packets, oldest first, chained through `next`. The receiver's alone.
  @_noLocks
  func takeAll() -> PacketPointer? {
    guard latest.load(ordering: .relaxed) != nil else { return nil }
    var packet = latest.exchange(nil, ordering: .acquiring)
    var first: PacketPointer?
    while let current = packet {
      packet = current.pointee.next
      current.pointee.next = first
      first = current
    }
    return first
  }

  /// Says that the receiver is about to sleep. The receiver's alone.
  ///
  /// - Returns: false when packets have come meanwhile: then it must not sleep.
  @_noLocks
  func prepareToPark() -> Bool {
    Interleaving.reach(Interleaving.store)
    receiver.store(Receiver.parking, ordering: .sequentiallyConsistent)
    Interleaving.reach(Interleaving.load)
    if latest.load(ordering: .sequentiallyConsistent) == nil { return true }
    unpark()
    return false
  }

  /// Says that the receiver is awake. The receiver's alone.
  @_noLocks
  func unpark() {
    receiver.store(Receiver.running, ordering: .relaxed)
  }
}
