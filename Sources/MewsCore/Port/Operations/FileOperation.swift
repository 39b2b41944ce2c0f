import CMewsShims

/// Operations on files. Each is in one of its handle's lists, for cancellation, and in the ring or with the file
/// threads; several of one handle run side by side.
extension OperationPort {
  /// Reads from an offset into the buffer until it is full or the file ends. What the page cache has is read at once.
  public func read(
    _ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer, offset: UInt64
  ) -> OperationResult {
    start(handle, operation, OperationKind.read, buffer, offset)
  }

  /// Writes all of the buffer to an offset.
  public func write(
    _ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer, offset: UInt64
  ) -> OperationResult {
    start(handle, operation, OperationKind.write, buffer, offset)
  }

  /// Makes durable what was written: what has completed before, that is.
  public func sync(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    start(handle, operation, OperationKind.sync, OperationBuffer(), 0)
  }

  private func start(
    _ handle: Handle, _ operation: OperationPointer, _ kind: UInt8, _ buffer: OperationBuffer, _ offset: UInt64
  ) -> OperationResult {
    var piece = buffer
    guard let length = OperationPort.total(&piece, 1), offset <= UInt64(Int64.max),
      UInt64(length) <= UInt64(Int64.max) - offset
    else { return .invalidArgument }
    if let refusal = claim(operation, kind) { return refusal }
    operation.pointee.chunk = buffer
    operation.pointee.offset = offset
    guard let slot = lock(handle) else { return refuse(operation, .gone) }
    guard slot.pointee.entry.isFile else {
      slot.pointee.lock.unlock()
      return refuse(operation, .unsupported)
    }
    var error = FileOperation.runCached(operation, slot.pointee.entry.descriptor)
    let ring = error == EAGAIN ? ringForFile(slot) : nil
    // A first thread that cannot be created is the operation's error.
    if error == EAGAIN && ring == nil {
      let failure = state.pointee.parts.files.prepare()
      if failure != 0 { error = failure == EAGAIN ? ENOMEM : failure }
    }
    if error != EAGAIN { return finish(slot, operation, error) }
    Operation.setOwner(operation, UnsafeMutableRawPointer(slot))
    if kind == OperationKind.read {
      slot.pointee.entry.reads.append(operation)
    } else {
      slot.pointee.entry.writes.append(operation)
    }
    slot.pointee.entry.heldOperations += 1
    hand(operation, over: slot, to: ring)
    return .pending
  }

  /// Hands an operation to the ring, or to a file thread. The slot is locked, and is not any more afterwards.
  private func hand(_ operation: OperationPointer, over slot: HandleSlotPointer, to ring: RingThread?) {
    if let ring {
      let isToSignal = ring.submitFile(operation)
      slot.pointee.lock.unlock()
      if isToSignal { ring.signal() }
    } else {
      let files = state.pointee.parts.files
      operation.pointee.packet.key = UInt(bitPattern: state)
      files.expect()
      slot.pointee.lock.unlock()
      files.submit(operation)
    }
  }

  /// The ring, ready for operations on a file; nil when the port has none, or the machine. The slot is locked.
  private func ringForFile(_ slot: HandleSlotPointer) -> RingThread? {
    guard let ring = state.pointee.parts.ring else { return nil }
    if !ring.isRunning {
      do throws(SystemError) { try ring.start(state, for: .files) } catch { return nil }
    }
    return ring.doesFiles && ring.makeLanes(slot) ? ring : nil
  }
}

enum FileOperation {
  /// Does what does not wait: reads from the page cache, and nothing of nothing.
  ///
  /// - Returns: 0 when that is all, EAGAIN when a thread has to go on, or an errno.
  static func runCached(_ operation: OperationPointer, _ descriptor: Int32) -> Int32 {
    guard operation.pointee.kind != OperationKind.sync else { return EAGAIN }
    while operation.pointee.chunk.iov_len > 0 {
      guard operation.pointee.kind == OperationKind.read else { return EAGAIN }
      let result = shim_read_cached(
        descriptor, operation.pointee.chunk.iov_base, operation.pointee.chunk.iov_len, operation.pointee.offset)
      if result == 0 { return 0 }
      guard result > 0 else { return Int32(truncatingIfNeeded: -result) }
      advance(operation, by: result)
    }
    return 0
  }

  /// Runs an operation on a file thread, and completes it.
  static func perform(_ operation: OperationPointer) {
    guard let slot = Operation.owner(operation)?.assumingMemoryBound(to: HandleSlot.self),
      let state = UnsafeMutablePointer<OperationPortState>(bitPattern: operation.pointee.packet.key)
    else { return }
    slot.pointee.lock.lock()
    let descriptor = slot.pointee.entry.descriptor
    let isCanceled = operation.pointee.flags & OperationFlags.isCanceled != 0
    slot.pointee.lock.unlock()
    let error = isCanceled ? 0 : run(operation, descriptor)
    operation.pointee.system_error = error
    let status =
      isCanceled ? OperationStatus.canceled : error == 0 ? OperationStatus.done : OperationStatus.system

    slot.pointee.lock.lock()
    remove(operation, slot)
    let packet = Operation.settle(operation, status: status, key: slot.pointee.entry.key)
    let isClosed = OperationPort.closeDescriptor(slot)
    slot.pointee.lock.unlock()
    if isClosed { state.pointee.parts.table.giveBack(slot) }
    let port = state.pointee.port
    port.wake(port.complete(packet))
    // A shutdown waits for this, and may free the state behind it.
    state.pointee.parts.files.complete()
  }

  /// Takes an operation out of its handle's list. The slot is locked.
  @_noLocks
  static func remove(_ operation: OperationPointer, _ slot: HandleSlotPointer) {
    if operation.pointee.kind == OperationKind.read {
      slot.pointee.entry.reads.remove(operation)
    } else {
      slot.pointee.entry.writes.remove(operation)
    }
    slot.pointee.entry.heldOperations &-= 1
    Operation.setOwner(operation, nil)
  }

  /// Does all of an operation.
  ///
  /// - Returns: 0 or the errno that ended it.
  private static func run(_ operation: OperationPointer, _ descriptor: Int32) -> Int32 {
    if operation.pointee.kind == OperationKind.sync { return Int32(truncatingIfNeeded: -shim_sync(descriptor)) }
    while operation.pointee.chunk.iov_len > 0 {
      let bytes = operation.pointee.chunk.iov_base
      let count = operation.pointee.chunk.iov_len
      let isRead = operation.pointee.kind == OperationKind.read
      let result =
        isRead
        ? shim_read_at(descriptor, bytes, count, operation.pointee.offset)
        : shim_write_at(descriptor, bytes, count, operation.pointee.offset)
      guard result >= 0 else { return Int32(truncatingIfNeeded: -result) }
      if result == 0 { return isRead ? 0 : EIO }
      advance(operation, by: result)
    }
    return 0
  }

  /// Moves past bytes that were read or written.
  @_noLocks
  static func advance(_ operation: OperationPointer, by count: Int) {
    operation.pointee.transferred &+= UInt64(truncatingIfNeeded: count)
    operation.pointee.offset &+= UInt64(truncatingIfNeeded: count)
    operation.pointee.chunk.iov_base = operation.pointee.chunk.iov_base?.advanced(by: count)
    operation.pointee.chunk.iov_len &-= count
  }
}
