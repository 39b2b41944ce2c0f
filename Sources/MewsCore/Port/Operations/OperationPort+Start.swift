import CMewsShims

/// Starting operations. The operation, and the memory that it reads into or writes from, belong to the port from a
/// start that answers `pending`, or `done` on a handle that does not skip packets of success, until its packet is
/// received.
extension OperationPort {
  /// Takes a connection from a listening socket: `descriptor` of the operation, non-blocking and closed on exec.
  @_noLocks
  public func accept(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    if let refusal = claim(operation, OperationKind.accept) { return refusal }
    return submitRead(handle, operation)
  }

  /// Receives what is there into the buffers, at most so many bytes as they hold; with no room at all, waits until
  /// there is something.
  ///
  /// - Parameters:
  ///   - buffers: copied; with memory wherever there is a length.
  ///   - count: how many, at most 8.
  @_noLocks
  public func receive(
    _ handle: Handle, _ operation: OperationPointer, _ buffers: UnsafePointer<OperationBuffer>, count: Int
  ) -> OperationResult {
    guard let room = OperationPort.total(buffers, count) else { return .invalidArgument }
    if let refusal = claim(operation, room > 0 ? OperationKind.receive : OperationKind.awaitReadable) { return refusal }
    OperationPort.capture(buffers, count, operation)
    return submitRead(handle, operation)
  }

  /// Receives one datagram and where it came from.
  @_noLocks
  public func receiveFrom(
    _ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer
  ) -> OperationResult {
    var piece = buffer
    guard OperationPort.total(&piece, 1) != nil else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.receiveFrom) { return refusal }
    OperationPort.capture(&piece, 1, operation)
    return submitRead(handle, operation)
  }

  /// Sends all of the buffers.
  ///
  /// - Parameters:
  ///   - buffers: copied; with memory wherever there is a length.
  ///   - count: how many, at most 8.
  @_noLocks
  public func send(
    _ handle: Handle, _ operation: OperationPointer, _ buffers: UnsafePointer<OperationBuffer>, count: Int
  ) -> OperationResult {
    guard OperationPort.total(buffers, count) != nil else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.send) { return refusal }
    OperationPort.capture(buffers, count, operation)
    return submitWrite(handle, operation)
  }

  /// Sends one datagram.
  @_noLocks
  public func sendTo(
    _ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer, address: UnsafeRawPointer,
    length: UInt32
  ) -> OperationResult {
    var piece = buffer
    guard OperationPort.total(&piece, 1) != nil, OperationPort.isAddressLength(length) else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.sendTo) { return refusal }
    OperationPort.capture(&piece, 1, operation)
    shim_operation_address(operation).copyMemory(from: address, byteCount: Int(length))
    operation.pointee.address_length = length
    return submitWrite(handle, operation)
  }

  /// Connects a socket.
  @_noLocks
  public func connect(
    _ handle: Handle, _ operation: OperationPointer, address: UnsafeRawPointer, length: UInt32
  ) -> OperationResult {
    guard OperationPort.isAddressLength(length) else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.connect) { return refusal }
    shim_operation_address(operation).copyMemory(from: address, byteCount: Int(length))
    operation.pointee.address_length = length
    return submitWrite(handle, operation)
  }

  /// Sends a part of a file, or what there is of it, without a copy through the program.
  ///
  /// - Parameter file: a descriptor that stays open until the packet.
  @_noLocks
  public func sendFile(
    _ handle: Handle, _ operation: OperationPointer, file: Int32, offset: UInt64, length: UInt64
  ) -> OperationResult {
    guard file >= 0, offset <= UInt64(Int64.max), length <= UInt64(Int64.max) &- offset else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.sendFile) { return refusal }
    operation.pointee.descriptor = file
    operation.pointee.offset = offset
    operation.pointee.remaining = length
    return submitWrite(handle, operation)
  }

  /// Ends the sending side of a socket, behind what was started before.
  @_noLocks
  public func disconnect(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    if let refusal = claim(operation, OperationKind.disconnect) { return refusal }
    return submitWrite(handle, operation)
  }
}

extension OperationPort {
  /// Takes an operation for a start. Returns what to answer if that cannot be.
  @_noLocks @inline(__always)
  func claim(_ operation: OperationPointer, _ kind: UInt8) -> OperationResult? {
    guard !isInChild else { return .unsupported }
    return Operation.claim(operation, kind: kind) ? nil : .busy
  }

  /// Gives an operation back that was not started.
  @_noLocks
  func refuse(_ operation: OperationPointer, _ result: OperationResult) -> OperationResult {
    Operation.release(operation)
    return result
  }

  /// The locked slot of an open handle; nil, and nothing locked, when it is closed.
  @_noLocks @inline(__always)
  func lock(_ handle: Handle) -> HandleSlotPointer? {
    guard let slot = state.pointee.parts.table.slot(handle.index) else { return nil }
    slot.pointee.lock.lock()
    if slot.pointee.entry.isOpen && slot.pointee.entry.generation == handle.generation { return slot }
    slot.pointee.lock.unlock()
    return nil
  }

  @_noLocks @inline(__always)
  private func submitRead(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    guard let slot = lock(handle) else { return refuse(operation, .gone) }
    guard OperationPort.supports(slot, operation.pointee.kind) else {
      slot.pointee.lock.unlock()
      return refuse(operation, .unsupported)
    }
    let isTurn = slot.pointee.entry.mayRead && slot.pointee.entry.reads.first == nil
    let error = isTurn ? OperationAttempt.run(operation, slot) : EAGAIN
    if error != EAGAIN { return finish(slot, operation, error) }
    slot.pointee.entry.reads.append(operation)
    if slot.pointee.entry.usesRing { return handToRing(slot, slot.pointee.lanes, operation) }
    slot.pointee.lock.unlock()
    return .pending
  }

  @_noLocks @inline(__always)
  private func submitWrite(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    guard let slot = lock(handle) else { return refuse(operation, .gone) }
    guard OperationPort.supports(slot, operation.pointee.kind) else {
      slot.pointee.lock.unlock()
      return refuse(operation, .unsupported)
    }
    let isTurn = slot.pointee.entry.mayWrite && slot.pointee.entry.writes.first == nil
    let error = isTurn ? OperationAttempt.run(operation, slot) : EAGAIN
    if error != EAGAIN { return finish(slot, operation, error) }
    slot.pointee.entry.writes.append(operation)
    if slot.pointee.entry.usesRing { return handToRing(slot, slot.pointee.lanes.map { $0 + 1 }, operation) }
    slot.pointee.lock.unlock()
    return .pending
  }

  /// Has the ring go on with an operation that is in its handle's list. The slot is locked, and is not any more
  /// afterwards.
  @_noLocks
  private func handToRing(
    _ slot: HandleSlotPointer, _ lane: RingLanePointer?, _ operation: OperationPointer
  ) -> OperationResult {
    // Nobody tells when there is something again: the next start asks for itself.
    slot.pointee.entry.mayRead = true
    slot.pointee.entry.mayWrite = true
    // Behind others, it has its turn when they are over.
    let isFirst = operation.pointee.previous == nil
    guard isFirst, let lane, let ring = state.pointee.parts.ring else {
      slot.pointee.lock.unlock()
      return .pending
    }
    let isToSignal = ring.request(lane)
    slot.pointee.lock.unlock()
    if isToSignal { ring.signal() }
    return .pending
  }

  /// Ends an operation in its start. The slot is locked, and is not any more afterwards.
  @_noLocks @inline(__always)
  func finish(_ slot: HandleSlotPointer, _ operation: OperationPointer, _ error: Int32) -> OperationResult {
    if error == 0 && slot.pointee.entry.skipsSuccess {
      slot.pointee.lock.unlock()
      Operation.release(operation)
      return .done
    }
    operation.pointee.system_error = error
    if error != 0 && operation.pointee.transferred == 0 {
      slot.pointee.lock.unlock()
      Operation.release(operation)
      shim_set_errno(error)
      return .system
    }
    // What failed halfway was started: its packet says how far it came.
    let status = error == 0 ? OperationStatus.done : OperationStatus.system
    // While the slot is locked, a shutdown cannot have gone past it: so it finds the packet.
    let claimed = port.complete(Operation.settle(operation, status: status, key: slot.pointee.entry.key))
    slot.pointee.lock.unlock()
    port.wake(claimed)
    return error == 0 ? .done : .pending
  }

  @_noLocks @inline(__always)
  private static func supports(_ slot: HandleSlotPointer, _ kind: UInt8) -> Bool {
    switch kind {
    case OperationKind.receive, OperationKind.awaitReadable, OperationKind.send, OperationKind.sendFile:
      return !slot.pointee.entry.isFile
    default: return slot.pointee.entry.isSocket
    }
  }

  /// The bytes of all buffers; nil when they are not to be had.
  @_noLocks @inline(__always)
  static func total(_ buffers: UnsafePointer<OperationBuffer>, _ count: Int) -> Int? {
    guard count >= 0, count <= Int(SHIM_OPERATION_VECTORS) else { return nil }
    var total = 0
    for index in 0..<count {
      let length = Int(truncatingIfNeeded: buffers[index].iov_len)
      let (sum, overflows) = total.addingReportingOverflow(length)
      guard length >= 0, !overflows, length == 0 || buffers[index].iov_base != nil else { return nil }
      total = sum
    }
    return total
  }

  @_noLocks @inline(__always)
  private static func capture(
    _ buffers: UnsafePointer<OperationBuffer>, _ count: Int, _ operation: OperationPointer
  ) {
    let vectors = shim_operation_vectors(operation)
    for index in 0..<count { vectors[index] = buffers[index] }
    operation.pointee.vector_count = UInt8(truncatingIfNeeded: count)
  }

  @_noLocks
  private static func isAddressLength(_ length: UInt32) -> Bool {
    length > 0 && length <= UInt32(MemoryLayout<sockaddr_storage>.size)
  }
}
