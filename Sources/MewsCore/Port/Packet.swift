import CMewsShims

/// A completion packet: `key`, `bytes`, `operation` and `status` travel from the poster to exactly one receiver,
/// untouched.
///
/// An uncounted packet, one that its receiver is known to sleep over, is handed out however many threads are active,
/// and its receiver is not one of them.
///
/// A packet is intrusive: whoever embeds it owns its memory, lends it to the port or mailbox it is posted to, and has
/// it back when it is delivered. It may be in one queue at a time. `next` belongs to the queue meanwhile. `action`,
/// where there is one, is what the receiving worker or I/O thread runs with the packet.
public typealias Packet = shim_packet
public typealias PacketPointer = UnsafeMutablePointer<Packet>

extension shim_packet {
  /// A packet that no queue holds.
  @_noLocks
  public init(
    key: UInt = 0, bytes: UInt = 0, operation: UnsafeMutableRawPointer? = nil, status: Int32 = 0,
    isUncounted: Bool = false, action: (@convention(c) (PacketPointer) -> Void)? = nil
  ) {
    self.init(
      next: nil, key: key, bytes: bytes, operation: operation, status: status, isPooled: 0,
      isUncounted: isUncounted ? 1 : 0, action: action)
  }
}

/// Runs a packet's action. Returns false when it has none.
@_noLocks @inline(__always)
func run(_ packet: PacketPointer) -> Bool {
  guard let action = packet.pointee.action else { return false }
  _unsafePerformance { action(packet) }
  return true
}
