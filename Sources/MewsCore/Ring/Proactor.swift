import CMewsShims
import Glibc

/// Arms operations on a ring and tells them of their completions. One thread at a time; another one can go on with
/// another ring (`adopt`), while the thread of the first is stuck somewhere.
///
/// What is written into the ring to know an operation again is a slot of a table and its generation, which changes each
/// time the operation is armed: what comes for an earlier time, or for an operation that is gone, finds nobody.
public struct Proactor: @unchecked Sendable {
  /// A slot of the table.
  struct Slot {
    /// Nil while the slot is free.
    var operation: RingOperationPointer?
    var generation: UInt32
    /// While it is free: the next free one; 0 for none.
    var nextFree: UInt32
  }

  struct State: ~Copyable {
    var ring: Ring
    var slots: UnsafeMutablePointer<Slot>
    /// Slot 0 is nobody's, and free for ever.
    var slotCount: UInt32
    var firstFree: UInt32 = 0
    /// Operations that wait for a submission entry, oldest first.
    var firstDeferred: RingOperationPointer?
    var lastDeferred: RingOperationPointer?
    var wasAdopted = false
  }

  let state: UnsafeMutablePointer<State>

  @_noLocks
  init(state: UnsafeMutablePointer<State>) { self.state = state }

  private static var initialSlots: UInt32 { 64 }
  /// More than there can be descriptors.
  private static var slotLimit: UInt32 { 1 << 26 }

  /// - Parameter ring: the calling thread's; it is not the proactor's to destroy.
  /// - Returns: nil when memory is exhausted; to be released with `destroy`.
  public static func create(ring: Ring) -> Proactor? {
    guard let memory = malloc(MemoryLayout<State>.size) else { return nil }
    guard let slots = malloc(MemoryLayout<Slot>.stride * Int(initialSlots)) else {
      free(memory)
      return nil
    }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(
      to: State(ring: ring, slots: slots.bindMemory(to: Slot.self, capacity: Int(initialSlots)), slotCount: 0))
    let proactor = Proactor(state: state)
    proactor.addFreeSlots(upTo: initialSlots)
    return proactor
  }

  /// Frees the proactor. Operations that are still attached are told nothing any more.
  public func destroy() {
    free(state.pointee.slots)
    state.deinitialize(count: 1)
    free(state)
  }

  /// The ring that operations are armed on.
  public var ring: Ring {
    @_noLocks @inline(__always) get { state.pointee.ring }
  }

  /// Whether the ring is not the first one, and the ones before may still hold descriptors.
  public var wasAdopted: Bool {
    @_noLocks @inline(__always) get { state.pointee.wasAdopted }
  }
}

// MARK: The table

extension Proactor {
  /// Makes the operation one of this proactor's. It cannot fail for want of memory later.
  ///
  /// - Returns: 0 or `ENOMEM`.
  @_noLocks
  public func attach(_ operation: RingOperationPointer) -> Int32 {
    if state.pointee.firstFree == 0 {
      guard _unsafePerformance({ grow() }) else { return ENOMEM }
    }
    let index = state.pointee.firstFree
    let slot = slot(index)
    state.pointee.firstFree = slot.pointee.nextFree
    slot.pointee.operation = operation
    operation.pointee.slot = index
    operation.pointee.state = 0
    return 0
  }

  /// Has the operation hear nothing any more, and ends it if it is armed. Its memory is the caller's again; what the
  /// kernel still reads from or writes to is not, before the operation has completed: `cancel` waits for that.
  @_noLocks
  public func detach(_ operation: RingOperationPointer) {
    let index = operation.pointee.slot
    guard index != 0 else { return }
    if operation.pointee.state & RingOperation.Bits.deferred != 0 { removeDeferred(operation) }
    let bits = RingOperation.Bits.submitted | RingOperation.Bits.canceling | RingOperation.Bits.inherited
    if operation.pointee.state & bits == RingOperation.Bits.submitted {
      // Where the kernel takes no entry now, the operation completes some time, for nobody.
      if let entry = state.pointee.ring.nextEntry() { cancel(entry, data(of: operation)) }
    }
    let slot = slot(index)
    slot.pointee.operation = nil
    slot.pointee.generation &+= 1
    slot.pointee.nextFree = state.pointee.firstFree
    state.pointee.firstFree = index
    operation.pointee.slot = 0
    operation.pointee.state = 0
  }

  @_noLocks @inline(__always)
  func slot(_ index: UInt32) -> UnsafeMutablePointer<Slot> {
    state.pointee.slots + Int(index)
  }

  /// What the ring knows the operation by.
  @_noLocks @inline(__always)
  func data(of operation: RingOperationPointer) -> UInt64 {
    let index = operation.pointee.slot
    return UInt64(slot(index).pointee.generation) << 32 | UInt64(index)
  }

  @inline(never)
  private func grow() -> Bool {
    let count = state.pointee.slotCount
    guard count < Self.slotLimit,
      let slots = realloc(state.pointee.slots, MemoryLayout<Slot>.stride * Int(count) * 2)
    else { return false }
    state.pointee.slots = slots.bindMemory(to: Slot.self, capacity: Int(count) * 2)
    addFreeSlots(upTo: count * 2)
    return true
  }

  private func addFreeSlots(upTo count: UInt32) {
    for index in state.pointee.slotCount..<count {
      let nextFree = index + 1 < count ? index + 1 : 0
      (state.pointee.slots + Int(index)).initialize(to: Slot(operation: nil, generation: 0, nextFree: nextFree))
    }
    state.pointee.firstFree = max(state.pointee.slotCount, 1)
    state.pointee.slotCount = count
  }
}

// MARK: Arming and canceling

extension Proactor {
  /// Starts an attached operation that is not armed. It is submitted with the next wait.
  @_noLocks
  public func arm(_ operation: RingOperationPointer) {
    let slot = slot(operation.pointee.slot)
    slot.pointee.generation &+= 1
    guard state.pointee.firstDeferred == nil, let entry = state.pointee.ring.nextEntry() else {
      operation.pointee.state = RingOperation.Bits.armed
      return appendDeferred(operation)
    }
    submit(operation, entry)
  }

  /// Asks an armed operation to end. It completes in any case: as if nothing had happened, if that comes first, or with
  /// `ECANCELED`.
  @_noLocks
  public func cancel(_ operation: RingOperationPointer) {
    let bits = operation.pointee.state
    guard bits & RingOperation.Bits.armed != 0, bits & RingOperation.Bits.canceling == 0 else { return }
    operation.pointee.state = bits | RingOperation.Bits.canceling
    guard bits & (RingOperation.Bits.deferred | RingOperation.Bits.inherited) == 0 else { return }
    guard state.pointee.firstDeferred == nil, let entry = state.pointee.ring.nextEntry() else {
      return appendDeferred(operation)
    }
    cancel(entry, data(of: operation))
  }

  @_noLocks @inline(__always)
  func submit(_ operation: RingOperationPointer, _ entry: RingEntry) {
    operation.pointee.state = RingOperation.Bits.armed | RingOperation.Bits.submitted
    if let prepare = operation.pointee.prepare { _unsafePerformance { prepare(operation, entry) } }
    shim_entry_set_data(entry, data(of: operation))
  }

  @_noLocks @inline(__always)
  private func cancel(_ entry: RingEntry, _ data: UInt64) {
    shim_entry_cancel(entry, data)
    // Nobody's: it completes only when there was nothing to cancel.
    shim_entry_set_data(entry, 0)
  }

  /// Gives operations that wait for it a submission entry. False: there are still some that wait.
  @_noLocks
  func submitDeferred() -> Bool {
    while let operation = state.pointee.firstDeferred {
      let bits = operation.pointee.state
      let isCanceling = bits & RingOperation.Bits.canceling != 0
      if isCanceling && bits & RingOperation.Bits.submitted == 0 {
        // It never was in the ring, so there is nothing to cancel.
        removeDeferred(operation)
        complete(operation, RingCompletion(buffer: nil, result: -ECANCELED, flags: 0))
        continue
      }
      guard let entry = state.pointee.ring.nextEntry() else { return false }
      removeDeferred(operation)
      if isCanceling { cancel(entry, data(of: operation)) } else { submit(operation, entry) }
    }
    return true
  }

  @_noLocks
  func appendDeferred(_ operation: RingOperationPointer) {
    operation.pointee.state |= RingOperation.Bits.deferred
    operation.pointee.next = nil
    if let last = state.pointee.lastDeferred {
      last.pointee.next = operation
    } else {
      state.pointee.firstDeferred = operation
    }
    state.pointee.lastDeferred = operation
  }

  /// Nearly always the first: the list is looked through only for an operation that is given up while it waits.
  @_noLocks
  func removeDeferred(_ operation: RingOperationPointer) {
    var previous: RingOperationPointer?
    var candidate = state.pointee.firstDeferred
    while let current = candidate, current != operation {
      previous = current
      candidate = current.pointee.next
    }
    guard candidate != nil else { return }
    if let previous {
      previous.pointee.next = operation.pointee.next
    } else {
      state.pointee.firstDeferred = operation.pointee.next
    }
    if state.pointee.lastDeferred == operation { state.pointee.lastDeferred = previous }
    operation.pointee.next = nil
    operation.pointee.state &= ~RingOperation.Bits.deferred
  }
}
