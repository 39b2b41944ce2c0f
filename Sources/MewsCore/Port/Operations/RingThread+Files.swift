import CMewsShims
import Glibc

/// Operations on files. The ring's kernel threads do what would block, so that several of one handle run side by side.
extension RingThread {
  /// Hands an operation over. The slot is locked, has lanes, and holds the operation in one of its lists.
  ///
  /// - Returns: whether the caller has to `signal`, when it has unlocked the slot.
  @_noLocks
  func submitFile(_ operation: OperationPointer) -> Bool {
    operation.pointee.flags = operation.pointee.flags | OperationFlags.isHeld
    operation.pointee.packet.key = UInt(bitPattern: state)
    operation.pointee.packet.action = Self.takeFile
    return state.pointee.mailbox.push(Operation.packet(operation))
  }

  /// Makes the places for operations on files. Before the first pass.
  func createFiles() -> Bool {
    let count = state.pointee.options.files
    guard let proactor = state.pointee.proactor, let memory = calloc(count, MemoryLayout<shim_ring_file>.stride)
    else { return false }
    let files = memory.bindMemory(to: shim_ring_file.self, capacity: count)
    state.pointee.files = files
    for index in 0..<count {
      let file = files + index
      file.initialize(
        to: shim_ring_file(
          node: RingOperation(prepare: Self.prepareFile, complete: Self.completeFile), operation: nil,
          thread: UnsafeMutableRawPointer(state), descriptor: -1, next_free: state.pointee.freeFiles))
      guard proactor.attach(shim_ring_file_node(file)) == 0 else { return false }
      state.pointee.freeFiles = file
    }
    return true
  }

  private static let takeFile: @convention(c) (PacketPointer) -> Void = { packet in
    guard let state = UnsafeMutablePointer<State>(bitPattern: packet.pointee.key) else { return }
    packet.pointee.action = nil
    RingThread(state: state).begin(shim_operation_of_packet(packet))
  }

  /// Puts an operation into the ring, or where it waits for a place.
  @_noLocks
  private func begin(_ operation: OperationPointer) {
    guard let slot = RingThread.slot(operation) else { return }
    slot.pointee.lock.lock()
    guard !operation.pointee.isCanceled else { return end(operation, slot, ECANCELED) }
    let descriptor = slot.pointee.entry.descriptor
    slot.pointee.lock.unlock()
    guard let file = state.pointee.freeFiles else {
      return state.pointee.waitingFiles.append(Operation.packet(operation))
    }
    state.pointee.freeFiles = file.pointee.next_free
    file.pointee.operation = operation
    file.pointee.descriptor = descriptor
    state.pointee.armed &+= 1
    state.pointee.proactor?.arm(shim_ring_file_node(file))
  }

  private static let prepareFile: @convention(c) (RingOperationPointer, RingEntry) -> Void = { node, entry in
    let file = shim_ring_file_of(node)
    guard let operation = file.pointee.operation else { return shim_entry_nop(entry) }
    let count = UInt32(truncatingIfNeeded: min(operation.pointee.chunk.iov_len, 1 << 30))
    guard operation.pointee.kind != OperationKind.sync, let bytes = operation.pointee.chunk.iov_base else {
      return shim_entry_sync(entry, file.pointee.descriptor, false)
    }
    if operation.pointee.kind == OperationKind.read {
      shim_entry_read(entry, file.pointee.descriptor, bytes, count, operation.pointee.offset)
    } else {
      shim_entry_write(entry, file.pointee.descriptor, bytes, count, operation.pointee.offset)
    }
  }

  private static let completeFile: @convention(c) (RingOperationPointer, RingCompletion) -> Void = { node, completion in
    let file = shim_ring_file_of(node)
    guard completion.isLast, let operation = file.pointee.operation, let slot = slot(operation) else { return }
    let thread = RingThread(state: file.pointee.thread.assumingMemoryBound(to: State.self))
    let error = outcome(operation, completion.result)
    slot.pointee.lock.lock()
    let isCanceled = operation.pointee.isCanceled
    if error == EAGAIN && !isCanceled {
      slot.pointee.lock.unlock()
      thread.state.pointee.proactor?.arm(node)
      return
    }
    file.pointee.operation = nil
    file.pointee.next_free = thread.state.pointee.freeFiles
    thread.state.pointee.freeFiles = file
    thread.state.pointee.armed &-= 1
    thread.end(operation, slot, error == EAGAIN ? ECANCELED : error)
    thread.beginWaiting()
  }

  /// Gives the place that has become free to the operation that has waited longest.
  @_noLocks
  private func beginWaiting() {
    while state.pointee.freeFiles != nil, let packet = state.pointee.waitingFiles.removeFirst() {
      begin(shim_operation_of_packet(packet))
    }
  }

  /// - Returns: 0 when the operation is done, `EAGAIN` when there is more to do, or the errno that ended it.
  @_noLocks
  private static func outcome(_ operation: OperationPointer, _ result: Int32) -> Int32 {
    // Nothing has come of it; without having been asked to, operations end together, when completions are lost.
    if result == -EINTR || result == -EAGAIN || result == -ECANCELED { return EAGAIN }
    guard result >= 0 else { return 0 &- result }
    guard operation.pointee.kind != OperationKind.sync else { return 0 }
    if result == 0 { return operation.pointee.kind == OperationKind.read ? 0 : EIO }
    FileOperation.advance(operation, by: Int(result))
    return operation.pointee.chunk.iov_len > 0 ? EAGAIN : 0
  }

  /// Ends an operation. The slot is locked, and is not any more afterwards.
  @_noLocks
  private func end(_ operation: OperationPointer, _ slot: HandleSlotPointer, _ error: Int32) {
    FileOperation.remove(operation, slot)
    append(operation, error, key: slot.pointee.entry.key)
    closeIfOver(slot)
  }

  /// Asks those operations of a handle to end that are to. One that a kernel thread is at work on goes on. The slot is
  /// locked.
  @_noLocks
  func cancelFiles(_ slot: HandleSlotPointer) {
    guard let files = state.pointee.files else { return }
    for index in 0..<state.pointee.options.files {
      guard let operation = (files + index).pointee.operation, operation.pointee.isCanceled,
        RingThread.slot(operation) == slot
      else { continue }
      state.pointee.proactor?.cancel(shim_ring_file_node(files + index))
    }
  }

  /// The slot of an operation that this thread has.
  @_noLocks
  private static func slot(_ operation: OperationPointer) -> HandleSlotPointer? {
    Operation.owner(operation)?.assumingMemoryBound(to: HandleSlot.self)
  }
}
