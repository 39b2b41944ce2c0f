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
    result = watch(&entry, slot, candidate)
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
    var cancellation = Cancellation(slot)
    if let operation { cancellation.cancel(operation) } else { cancellation.cancelAll() }
    let claimed = port.complete(cancellation.completed)
    let isToSignal = ask(slot, cancellation)
    slot.pointee.lock.unlock()
    port.wake(claimed)
    if isToSignal { state.pointee.parts.ring?.signal() }
    return cancellation.found ? .done : .notFound
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
    guard !slot.pointee.entry.isOpen, slot.pointee.entry.heldOperations == 0 else { return false }
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
    if slot.pointee.entry.isWatched { state.pointee.poll.delete(slot.pointee.entry.descriptor) }
    var cancellation = Cancellation(slot)
    cancellation.cancelAll()
    let claimed = port.complete(cancellation.completed)
    let isToSignal = ask(slot, cancellation)
    let isClosed = OperationPort.closeDescriptor(slot)
    slot.pointee.lock.unlock()
    if isClosed { state.pointee.parts.table.giveBack(slot) }
    port.wake(claimed)
    if isToSignal { state.pointee.parts.ring?.signal() }
  }

  /// Has the ring look at the lanes in which it has something to cancel. The slot is locked.
  ///
  /// - Returns: whether the caller has to signal the ring, when it has unlocked the slot.
  private func ask(_ slot: HandleSlotPointer, _ cancellation: Cancellation) -> Bool {
    guard let ring = state.pointee.parts.ring, let lanes = slot.pointee.lanes else { return false }
    let isReadToSignal = cancellation.asksToRead && ring.request(lanes)
    let isWriteToSignal = cancellation.asksToWrite && ring.request(lanes + 1)
    return isReadToSignal || isWriteToSignal
  }

  /// Puts a descriptor under the eyes of epoll, or leaves it to the ring. What epoll does not take is a file.
  private func watch(_ entry: inout HandleEntry, _ slot: HandleSlotPointer, _ handle: Handle) -> OperationResult {
    // Under the slot's lock: a shutdown that came before is seen here, one that comes later finds the handle.
    guard !state.pointee.parts.table.isShut else { return .gone }
    guard !entry.isFile else { return .done }
    let isForRing = state.pointee.backend == .ring
    if !(isForRing && entry.isSocket) {
      let error = state.pointee.poll.add(entry.descriptor, data: handle.rawValue, extra: ReadyEvents.urgent)
      if error == EPERM && !entry.isSocket {
        entry.kind = SHIM_DESCRIPTOR_FILE
        return .done
      }
      guard error == 0 else {
        shim_set_errno(error)
        return error == EEXIST ? .conflict : error == ENOMEM ? .noMemory : .system
      }
      // For the ring, epoll was only asked whether it takes the descriptor. The leader may have heard of it already.
      if isForRing { state.pointee.poll.delete(entry.descriptor) } else { entry.isWatched = true }
    }
    if isForRing {
      guard let ring = state.pointee.parts.ring, ring.makeLanes(slot) else { return .noMemory }
      entry.usesRing = true
    }
    let failure = shim_descriptor_set_nonblocking(entry.descriptor)
    guard failure < 0 else { return .done }
    if entry.isWatched { state.pointee.poll.delete(entry.descriptor) }
    shim_set_errno(0 &- failure)
    return .system
  }
}
