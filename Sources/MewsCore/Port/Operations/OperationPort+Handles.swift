import CMewsShims

/// Handles: association, cancellation and close.
extension OperationPort {
  /// Associates a descriptor with the port, once and for its life. It becomes non-blocking unless it is a file's.
  ///
  /// - Parameters:
  ///   - descriptor: the port's from a success on, to be closed with `close(_:)`; else it stays the caller's.
  ///   - key: comes back in every packet.
  ///   - skipsSuccess: whether operations that are done at once queue no packet.
  ///   - handle: receives the handle; 0 unless the result is `done`.
  public func associate(
    _ descriptor: Int32, key: UInt, skipsSuccess: Bool, handle: inout Handle
  ) -> OperationResult {
    handle = Handle(rawValue: 0)
    guard !isInChild else { return .unsupported }
    let kind = shim_descriptor_kind(descriptor)
    guard kind >= 0 else { return .invalidArgument }
    guard shim_descriptor_note(descriptor) else { return .conflict }
    var result = OperationResult.done
    guard let slot = state.pointee.parts.table.take(&result) else {
      shim_descriptor_forget(descriptor)
      return result
    }
    slot.pointee.lock.lock()
    var entry = HandleEntry(index: slot.pointee.entry.index)
    entry.generation = slot.pointee.entry.generation
    entry.descriptor = descriptor
    entry.kind = kind
    entry.key = key
    entry.skipsSuccess = skipsSuccess
    entry.hasMessages = entry.isSocket && shim_socket_has_messages(descriptor)
    entry.mayRead = true
    entry.mayWrite = true
    let candidate = Handle(index: entry.index, generation: entry.generation)
    result = watch(&entry, candidate)
    if result == .done {
      handle = candidate
      entry.isOpen = true
      slot.pointee.entry = entry
    }
    slot.pointee.lock.unlock()
    if result != .done {
      shim_descriptor_forget(descriptor)
      state.pointee.parts.table.giveBack(slot)
    }
    return result
  }

  /// The descriptor of a handle, which stays the port's; nil when the handle is closed.
  public func descriptor(_ handle: Handle) -> Int32? {
    guard !isInChild, let slot = lock(handle) else { return nil }
    defer { slot.pointee.lock.unlock() }
    return slot.pointee.entry.descriptor
  }

  /// Closes a handle. Its operations complete, each with one packet; then the descriptor is closed. What a file thread
  /// is at work on comes to its end first.
  public func close(_ handle: Handle) -> OperationResult {
    guard !isInChild else { return .unsupported }
    guard let slot = lock(handle) else { return .gone }
    closeAndUnlock(slot)
    return .done
  }

  /// Asks for the end of an operation of a handle, or of all with nil.
  ///
  /// - Returns: `done` when there was something to cancel.
  public func cancel(_ handle: Handle, _ operation: OperationPointer?) -> OperationResult {
    guard !isInChild else { return .unsupported }
    guard let slot = lock(handle) else { return .gone }
    var completed = shim_packet_chain()
    var found = false
    if let operation {
      if slot.pointee.entry.reads.contains(operation) {
        found = true
        OperationPort.cancelRead(operation, slot, &completed)
      } else if slot.pointee.entry.writes.contains(operation) {
        found = true
        OperationPort.cancelWrite(operation, slot, &completed)
      }
    } else {
      found = OperationPort.cancelAll(slot, &completed)
    }
    let claimed = port.complete(completed)
    slot.pointee.lock.unlock()
    port.wake(claimed)
    return found ? .done : .notFound
  }

  /// Closes what is open at an index of the table.
  func closeSlot(_ index: Int) {
    guard let slot = state.pointee.parts.table.slot(index) else { return }
    slot.pointee.lock.lock()
    if slot.pointee.entry.isOpen { closeAndUnlock(slot) } else { slot.pointee.lock.unlock() }
  }

  /// Closes the descriptor of a handle that is closed and has nothing in flight. The slot is locked.
  ///
  /// - Returns: whether it did; the slot is then to be given back after unlocking.
  static func closeDescriptor(_ slot: HandleSlotPointer) -> Bool {
    guard !slot.pointee.entry.isOpen, slot.pointee.entry.fileOperations == 0 else { return false }
    let descriptor = slot.pointee.entry.descriptor
    slot.pointee.entry.descriptor = -1
    shim_descriptor_forget(descriptor)
    _ = shim_descriptor_close(descriptor)
    return true
  }

  private func closeAndUnlock(_ slot: HandleSlotPointer) {
    slot.pointee.entry.isOpen = false
    // Handles and events of the old generation are nobody's from here on.
    slot.pointee.entry.generation &+= 1
    if !slot.pointee.entry.isFile { state.pointee.poll.delete(slot.pointee.entry.descriptor) }
    var completed = shim_packet_chain()
    _ = OperationPort.cancelAll(slot, &completed)
    let claimed = port.complete(completed)
    let isClosed = OperationPort.closeDescriptor(slot)
    slot.pointee.lock.unlock()
    if isClosed { state.pointee.parts.table.giveBack(slot) }
    port.wake(claimed)
  }

  /// Puts a descriptor under the eyes of epoll. What epoll does not take is a file.
  private func watch(_ entry: inout HandleEntry, _ handle: Handle) -> OperationResult {
    // Under the slot's lock: a shutdown that came before is seen here, one that comes later finds the handle.
    guard !state.pointee.parts.table.isShut else { return .gone }
    guard !entry.isFile else { return .done }
    let error = state.pointee.poll.add(entry.descriptor, data: handle.rawValue, extra: ReadyEvents.urgent)
    if error == EPERM && !entry.isSocket {
      entry.kind = SHIM_DESCRIPTOR_FILE
      return .done
    }
    guard error == 0 else {
      shim_set_errno(error)
      return error == EEXIST ? .conflict : error == ENOMEM ? .noMemory : .system
    }
    let failure = shim_descriptor_set_nonblocking(entry.descriptor)
    guard failure < 0 else { return .done }
    state.pointee.poll.delete(entry.descriptor)
    shim_set_errno(0 &- failure)
    return .system
  }

  private static func cancelAll(_ slot: HandleSlotPointer, _ completed: inout shim_packet_chain) -> Bool {
    var found = false
    var operation = slot.pointee.entry.reads.first
    while let current = operation {
      operation = current.pointee.next
      found = true
      cancelRead(current, slot, &completed)
    }
    operation = slot.pointee.entry.writes.first
    while let current = operation {
      operation = current.pointee.next
      found = true
      cancelWrite(current, slot, &completed)
    }
    return found
  }

  private static func cancelRead(
    _ operation: OperationPointer, _ slot: HandleSlotPointer, _ completed: inout shim_packet_chain
  ) {
    guard !slot.pointee.entry.isFile else { return cancelFileOperation(operation) }
    slot.pointee.entry.reads.remove(operation)
    completed.append(Operation.settle(operation, status: OperationStatus.canceled, key: slot.pointee.entry.key))
  }

  private static func cancelWrite(
    _ operation: OperationPointer, _ slot: HandleSlotPointer, _ completed: inout shim_packet_chain
  ) {
    guard !slot.pointee.entry.isFile else { return cancelFileOperation(operation) }
    slot.pointee.entry.writes.remove(operation)
    completed.append(Operation.settle(operation, status: OperationStatus.canceled, key: slot.pointee.entry.key))
  }

  /// Has a file thread that takes the operation end it at once; one that is at work on it goes on.
  private static func cancelFileOperation(_ operation: OperationPointer) {
    // Written as an assignment: the thread sanitizer takes a change in place for one at the address of the operation,
    // where the packet is, which is on its way to the file threads.
    operation.pointee.flags = operation.pointee.flags | OperationFlags.isCanceled
  }
}
