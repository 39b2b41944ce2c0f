/// A queue of packets for one thread, first in, first out.
struct PacketList {
  private var first: PacketPointer?
  private var last: PacketPointer?

  var isEmpty: Bool {
    @_noLocks get { first == nil }
  }

  /// Queues a packet that is in no list.
  @_noLocks @inline(__always)
  mutating func append(_ packet: PacketPointer) {
    packet.pointee.next = nil
    if let last { last.pointee.next = packet } else { first = packet }
    last = packet
  }

  @_noLocks @inline(__always)
  mutating func removeFirst() -> PacketPointer? {
    guard let packet = first else { return nil }
    first = packet.pointee.next
    if first == nil { last = nil }
    return packet
  }
}
