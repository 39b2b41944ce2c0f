import CMewsShims

/// A packet as it is handed out: a copy, which needs neither the port nor the operation. `status` is one of
/// `OperationStatus`, and `system_error` the errno behind a failure.
public typealias PortPacket = shim_port_packet

/// What a wait for packets ended with. The numbers are those of mews/base.h.
public enum WaitResult: Int32, Sendable {
  case packets = 0
  case invalidArgument = -2
  case noMemory = -3
  /// The port had been shut down before.
  case closed = -4
  /// This is a child process of the port's.
  case unsupported = -10
  case timedOut = -12
  /// The port was shut down during the wait.
  case abandoned = -13
}

extension OperationPort {
  /// Gives back what this thread had from the port, and waits for packets; the first comes as from
  /// `CompletionPort.get`, and with it come those that are there and fit.
  ///
  /// - Parameters:
  ///   - packets: receives the packets, oldest first.
  ///   - capacity: how many fit, at least 1.
  ///   - timeoutNanoseconds: how long to wait; 0 not at all, negative for ever.
  ///   - count: receives how many came; 0 unless the result is `packets`.
  @_noLocks
  public func get(
    into packets: UnsafeMutablePointer<PortPacket>, capacity: Int, timeoutNanoseconds: Int64, count: inout Int
  ) -> WaitResult {
    count = 0
    guard capacity > 0 else { return .invalidArgument }
    guard !isInChild else { return .unsupported }
    switch port.get(timeoutNanoseconds: timeoutNanoseconds) {
    case .packet(let packet): packets.pointee = OperationPort.receive(packet)
    case .timedOut: return .timedOut
    case .abandoned: return .abandoned
    case .closed: return .closed
    case .noMemory: return .noMemory
    }
    count = capacity > 1 ? 1 &+ port.takeMore(into: packets + 1, capacity: capacity &- 1) : 1
    return .packets
  }

  /// Queues a packet of the caller's. What is passed arrives bit for bit, zeros and nil included.
  public func post(key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?) -> OperationResult {
    guard !isInChild else { return .unsupported }
    switch port.post(key: key, bytes: bytes, operation: operation) {
    case .posted: return .done
    case .closed: return .gone
    case .noMemory: return .noMemory
    }
  }

  /// Takes a packet out of the hands of the port: a packet of an operation gives the operation back to its owner.
  @_noLocks @inline(__always)
  static func receive(_ packet: PacketPointer) -> PortPacket {
    var received = PortPacket(
      key: UInt64(packet.pointee.key), bytes: UInt64(packet.pointee.bytes), operation: packet.pointee.operation,
      status: packet.pointee.status, system_error: 0)
    if packet.pointee.isPooled == 0 {
      let operation = shim_operation_of_packet(packet)
      received.system_error = operation.pointee.system_error
      Operation.release(operation)
    }
    return received
  }
}

extension CompletionPort {
  /// Takes packets for a thread that has its first already.
  @_noLocks
  func takeMore(into packets: UnsafeMutablePointer<PortPacket>, capacity: Int) -> Int {
    var taken = 0
    state.pointee.lock.lock()
    while taken < capacity, let packet = state.pointee.queue.removeFirst() {
      let isPooled = packet.pointee.isPooled != 0
      packets[taken] = OperationPort.receive(packet)
      if isPooled { state.pointee.queue.recycle(packet) }
      taken &+= 1
    }
    state.pointee.queue.takenSinceLook &+= taken
    // What was behind these may need no slot.
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    wake(claimed)
    return taken
  }

  /// Takes the first packet of a port that is shut down.
  func removeFirst() -> PortPacket? {
    var packet = PortPacket()
    return takeMore(into: &packet, capacity: 1) == 1 ? packet : nil
  }
}
