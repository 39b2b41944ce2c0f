import CMewsShims

/// The cancellation of operations of one handle, whose slot is locked.
///
/// What nobody else has ends at once. What the ring or a file thread has is marked, and ends when they say so: with
/// what they did, if that came first. Operations behind one that the ring has wait for it, so that packets keep the
/// order of the calls.
struct Cancellation {
  private let slot: HandleSlotPointer
  /// Packets of what has ended.
  private(set) var completed = shim_packet_chain()
  /// Whether there was something to cancel.
  private(set) var found = false
  /// Whether the ring has to be asked about what it reads, and what it writes.
  private(set) var asksToRead = false
  private(set) var asksToWrite = false

  init(_ slot: HandleSlotPointer) { self.slot = slot }

  /// Cancels an operation, if it is one of the handle's. Otherwise it is not touched: it may be gone.
  mutating func cancel(_ operation: OperationPointer) {
    if slot.pointee.entry.reads.contains(operation) {
      cancelRead(operation, isBehindHeld: false)
    } else if slot.pointee.entry.writes.contains(operation) {
      cancelWrite(operation, isBehindHeld: false)
    }
  }

  mutating func cancelAll() {
    var operation = slot.pointee.entry.reads.first
    var isBehindHeld = false
    while let current = operation {
      operation = current.pointee.next
      isBehindHeld = isBehindHeld || current.pointee.isHeld
      cancelRead(current, isBehindHeld: isBehindHeld)
    }
    operation = slot.pointee.entry.writes.first
    isBehindHeld = false
    while let current = operation {
      operation = current.pointee.next
      isBehindHeld = isBehindHeld || current.pointee.isHeld
      cancelWrite(current, isBehindHeld: isBehindHeld)
    }
  }

  private mutating func cancelRead(_ operation: OperationPointer, isBehindHeld: Bool) {
    found = true
    guard !mark(operation, isBehindHeld) else {
      asksToRead = asksToRead || operation.pointee.isHeld
      return
    }
    slot.pointee.entry.reads.remove(operation)
    end(operation)
  }

  private mutating func cancelWrite(_ operation: OperationPointer, isBehindHeld: Bool) {
    found = true
    guard !mark(operation, isBehindHeld) else {
      asksToWrite = asksToWrite || operation.pointee.isHeld
      return
    }
    slot.pointee.entry.writes.remove(operation)
    end(operation)
  }

  /// Marks an operation that is in somebody else's hands, or has to wait for one. False: it is in nobody's.
  private func mark(_ operation: OperationPointer, _ isBehindHeld: Bool) -> Bool {
    guard slot.pointee.entry.isFile || operation.pointee.isHeld || isBehindHeld else { return false }
    // Written as an assignment: the thread sanitizer takes a change in place for one at the address of the operation,
    // where the packet is, which is on its way to others.
    operation.pointee.flags = operation.pointee.flags | OperationFlags.isCanceled
    return true
  }

  private mutating func end(_ operation: OperationPointer) {
    completed.append(Operation.settle(operation, status: OperationStatus.canceled, key: slot.pointee.entry.key))
  }
}
