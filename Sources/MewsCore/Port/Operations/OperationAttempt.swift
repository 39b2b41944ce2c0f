import CMewsShims

/// The system calls of operations. The handle's slot is locked.
enum OperationAttempt {
  /// Tries an operation that waited. Returns its packet when it is over, nil when it has to go on waiting.
  @_noLocks
  static func complete(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> PacketPointer? {
    let error = run(operation, slot)
    guard error != EAGAIN else { return nil }
    operation.pointee.system_error = error
    return Operation.settle(
      operation, status: error == 0 ? OperationStatus.done : OperationStatus.system, key: slot.pointee.entry.key)
  }

  /// Does as much of an operation as can be done now.
  ///
  /// - Returns: 0 when it is done, EAGAIN when it has to wait for readiness, or the errno that ended it.
  @_noLocks
  static func run(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> Int32 {
    let descriptor = slot.pointee.entry.descriptor
    switch operation.pointee.kind {
    case OperationKind.receive: return receive(operation, slot)
    case OperationKind.send: return send(operation, slot)
    case OperationKind.awaitReadable:
      return shim_is_readable(descriptor) ? 0 : waitToRead(slot)
    case OperationKind.accept:
      return read(operation, slot, Int(shim_accept(descriptor)))
    case OperationKind.receiveFrom:
      var length: UInt32 = 0
      let result = shim_receive_from(
        descriptor, shim_operation_vectors(operation), shim_operation_address(operation), &length)
      operation.pointee.address_length = length
      return read(operation, slot, result)
    case OperationKind.sendTo:
      let result = shim_send_to(
        descriptor, shim_operation_vectors(operation), shim_operation_address(operation),
        operation.pointee.address_length)
      guard result < 0 else {
        operation.pointee.transferred = UInt64(truncatingIfNeeded: result)
        return 0
      }
      return written(slot, result)
    case OperationKind.connect: return connect(operation, slot)
    case OperationKind.sendFile: return sendFile(operation, slot)
    default: return written(slot, shim_shutdown_sending(descriptor))
    }
  }

  @_noLocks @inline(__always)
  private static func receive(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> Int32 {
    let vectors = shim_operation_vectors(operation)
    let count = Int32(operation.pointee.vector_count)
    let result = shim_read_vectors(slot.pointee.entry.descriptor, slot.pointee.entry.isSocket, vectors, count)
    // A TCP stream that gives less than it is asked for is empty, unless it is at its end or at an urgent mark: the
    // next receive need not ask.
    if slot.pointee.entry.kind == SHIM_DESCRIPTOR_TCP && result > 0 && !slot.pointee.entry.readsStopShort {
      if result < Operation.room(operation) { slot.pointee.entry.mayRead = false }
    }
    return read(operation, slot, result)
  }

  /// The outcome of a call that reads.
  @_noLocks @inline(__always)
  private static func read(_ operation: OperationPointer, _ slot: HandleSlotPointer, _ result: Int) -> Int32 {
    if result == 0 &- Int(EAGAIN) { return waitToRead(slot) }
    guard result >= 0 else { return Int32(truncatingIfNeeded: 0 &- result) }
    if operation.pointee.kind == OperationKind.accept {
      operation.pointee.descriptor = Int32(truncatingIfNeeded: result)
    } else {
      operation.pointee.transferred = UInt64(truncatingIfNeeded: result)
    }
    return 0
  }

  @_noLocks @inline(__always)
  private static func waitToRead(_ slot: HandleSlotPointer) -> Int32 {
    slot.pointee.entry.mayRead = false
    return EAGAIN
  }

  /// The outcome of a call that writes, other than how much.
  @_noLocks @inline(__always)
  private static func written(_ slot: HandleSlotPointer, _ result: Int) -> Int32 {
    guard result < 0 else { return 0 }
    if result == 0 &- Int(EAGAIN) { slot.pointee.entry.mayWrite = false }
    return Int32(truncatingIfNeeded: 0 &- result)
  }

  @_noLocks @inline(__always)
  private static func send(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> Int32 {
    let vectors = shim_operation_vectors(operation)
    let isSocket = slot.pointee.entry.isSocket
    let descriptor = slot.pointee.entry.descriptor
    if slot.pointee.entry.hasMessages {
      let result = shim_write_vectors(descriptor, isSocket, vectors, Int32(operation.pointee.vector_count))
      if result >= 0 { operation.pointee.transferred = UInt64(truncatingIfNeeded: result) }
      return written(slot, result)
    }
    // Pieces of no bytes have nothing to be sent.
    Operation.advance(operation, by: 0)
    while operation.pointee.first_vector < operation.pointee.vector_count {
      let first = Int(operation.pointee.first_vector)
      let left = Int32(operation.pointee.vector_count) &- Int32(truncatingIfNeeded: first)
      let result = shim_write_vectors(descriptor, isSocket, vectors + first, left)
      guard result >= 0 else { return written(slot, result) }
      Operation.advance(operation, by: result)
    }
    return 0
  }

  @_noLocks
  private static func sendFile(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> Int32 {
    while operation.pointee.remaining > 0 {
      let result = shim_send_file(
        slot.pointee.entry.descriptor, operation.pointee.descriptor, &operation.pointee.offset,
        operation.pointee.remaining)
      // The file is shorter than was said: its end is the operation's.
      if result == 0 { return 0 }
      guard result > 0 else { return written(slot, result) }
      operation.pointee.transferred &+= UInt64(truncatingIfNeeded: result)
      operation.pointee.remaining &-= UInt64(truncatingIfNeeded: result)
    }
    return 0
  }

  @_noLocks
  private static func connect(_ operation: OperationPointer, _ slot: HandleSlotPointer) -> Int32 {
    let descriptor = slot.pointee.entry.descriptor
    let result: Int
    if operation.pointee.flags & OperationFlags.isUnderWay != 0 {
      result = shim_connect_outcome(descriptor)
    } else {
      result = shim_connect(descriptor, shim_operation_address(operation), operation.pointee.address_length)
      operation.pointee.flags |= OperationFlags.isUnderWay
    }
    if result == 0 &- Int(EINPROGRESS) {
      slot.pointee.entry.mayWrite = false
      return EAGAIN
    }
    if result == 0 {
      // What was said of the socket before it was connected is over.
      slot.pointee.entry.mayRead = true
      slot.pointee.entry.readsStopShort = false
      return 0
    }
    // A local socket whose listener is full will not say when it no longer is.
    return result == 0 &- Int(EAGAIN) ? ECONNREFUSED : Int32(truncatingIfNeeded: 0 &- result)
  }
}
