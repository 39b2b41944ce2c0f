import CMewsShims
import Glibc

/// One direction of a handle that is on the ring.
typealias RingLane = shim_ring_lane
typealias RingLanePointer = UnsafeMutablePointer<RingLane>

/// Operations on sockets, pipes and the like. Of those that wait in one direction of a handle, the first is in the
/// ring.
extension RingThread {
  /// Sees to it that a slot has its lanes, which it keeps. The slot is locked.
  ///
  /// - Returns: false when memory is out.
  func makeLanes(_ slot: HandleSlotPointer) -> Bool {
    guard slot.pointee.lanes == nil else { return true }
    guard let memory = calloc(2, MemoryLayout<RingLane>.stride) else { return false }
    let lanes = memory.bindMemory(to: RingLane.self, capacity: 2)
    for index in 0..<2 {
      let lane = lanes + index
      lane.pointee.node = RingOperation(prepare: Self.prepareLane, complete: Self.completeLane)
      lane.pointee.request = Packet(operation: UnsafeMutableRawPointer(state), action: Self.serveRequested)
      lane.pointee.slot = UnsafeMutableRawPointer(slot)
      lane.pointee.is_read = index == 0
    }
    slot.pointee.lanes = lanes
    return true
  }

  /// Has the thread look at a lane. The slot is locked.
  ///
  /// - Returns: whether the caller has to `signal`, when it has unlocked the slot.
  @_noLocks
  func request(_ lane: RingLanePointer) -> Bool {
    guard !lane.pointee.is_requested else { return false }
    lane.pointee.is_requested = true
    return state.pointee.mailbox.push(shim_ring_lane_request(lane))
  }

  private static let serveRequested: @convention(c) (PacketPointer) -> Void = { request in
    guard let state = request.pointee.operation?.assumingMemoryBound(to: State.self) else { return }
    let thread = RingThread(state: state)
    let lane = shim_ring_lane_of_request(request)
    let slot = lane.pointee.slot.assumingMemoryBound(to: HandleSlot.self)
    slot.pointee.lock.lock()
    lane.pointee.is_requested = false
    if slot.pointee.entry.isFile { thread.cancelFiles(slot) } else { thread.serve(lane, slot) }
    thread.closeIfOver(slot)
  }

  /// Puts the first operation of a lane into the ring, unless one is there, and ends those that were cancelled. The
  /// slot is locked.
  @_noLocks
  private func serve(_ lane: RingLanePointer, _ slot: HandleSlotPointer) {
    if let armed = lane.pointee.armed {
      if armed.pointee.isCanceled { state.pointee.proactor?.cancel(shim_ring_lane_node(lane)) }
      return
    }
    while let operation = lane.pointee.is_read ? slot.pointee.entry.reads.first : slot.pointee.entry.writes.first {
      guard !operation.pointee.isCanceled else {
        end(operation, lane, slot, ECANCELED)
        continue
      }
      let error = arm(operation, lane, slot)
      guard error != EINPROGRESS else { return }
      end(operation, lane, slot, error)
    }
  }

  /// Puts an operation into the ring. The slot is locked.
  ///
  /// - Returns: `EINPROGRESS`; or its outcome, if it had no need of the ring: 0 or an errno.
  @_noLocks
  private func arm(_ operation: OperationPointer, _ lane: RingLanePointer, _ slot: HandleSlotPointer) -> Int32 {
    let kind = operation.pointee.kind
    if kind == OperationKind.disconnect { return OperationAttempt.run(operation, slot) }
    if kind == OperationKind.send && !slot.pointee.entry.hasMessages {
      // Pieces of no bytes have nothing to be sent.
      Operation.advance(operation, by: 0)
      if operation.pointee.first_vector == operation.pointee.vector_count { return 0 }
    }
    guard let proactor = state.pointee.proactor else { return ENOMEM }
    if lane.pointee.node.slot == 0 && proactor.attach(shim_ring_lane_node(lane)) != 0 { return ENOMEM }
    lane.pointee.descriptor = slot.pointee.entry.descriptor
    lane.pointee.is_poll =
      lane.pointee.has_refused || !state.pointee.options.doesSockets || !slot.pointee.entry.isSocket || !hasEntry(kind)
    lane.pointee.armed = operation
    operation.pointee.flags = operation.pointee.flags | OperationFlags.isHeld
    slot.pointee.entry.heldOperations &+= 1
    state.pointee.armed &+= 1
    proactor.arm(shim_ring_lane_node(lane))
    return EINPROGRESS
  }

  /// Whether the ring does operations of a kind, rather than say when they can be done.
  @_noLocks
  private func hasEntry(_ kind: UInt8) -> Bool {
    switch kind {
    case OperationKind.accept, OperationKind.receive, OperationKind.receiveFrom: return true
    case OperationKind.send, OperationKind.sendTo: return state.pointee.sends
    default: return false
    }
  }

  private static let prepareLane: @convention(c) (RingOperationPointer, RingEntry) -> Void = { node, entry in
    let lane = shim_ring_lane_of(node)
    guard let operation = lane.pointee.armed else { return shim_entry_nop(entry) }
    guard !lane.pointee.is_poll else {
      let events = lane.pointee.is_read ? ReadyEvents.readable | ReadyEvents.peerClosed : ReadyEvents.writable
      return shim_entry_poll_once(entry, lane.pointee.descriptor, events)
    }
    switch operation.pointee.kind {
    case OperationKind.accept: shim_entry_accept_one(entry, lane.pointee.descriptor)
    case OperationKind.receive: shim_entry_receive_into(entry, lane, operation, false)
    case OperationKind.receiveFrom: shim_entry_receive_into(entry, lane, operation, true)
    default: shim_entry_send_from(entry, lane, operation, operation.pointee.kind == OperationKind.sendTo)
    }
  }

  private static let completeLane: @convention(c) (RingOperationPointer, RingCompletion) -> Void = { node, completion in
    let lane = shim_ring_lane_of(node)
    guard completion.isLast, let operation = lane.pointee.armed,
      let state = lane.pointee.request.operation?.assumingMemoryBound(to: State.self)
    else { return }
    let thread = RingThread(state: state)
    let slot = lane.pointee.slot.assumingMemoryBound(to: HandleSlot.self)
    slot.pointee.lock.lock()
    lane.pointee.armed = nil
    state.pointee.armed &-= 1
    operation.pointee.flags = operation.pointee.flags & ~OperationFlags.isHeld
    slot.pointee.entry.heldOperations &-= 1
    let error = outcome(operation, lane, slot, completion.result)
    // What has to go on waiting stays the first of its lane.
    if error != EAGAIN { thread.end(operation, lane, slot, error) }
    thread.serve(lane, slot)
    thread.closeIfOver(slot)
  }

  /// Takes in what the ring says of an operation. The slot is locked.
  ///
  /// - Returns: 0 when it is done, `EAGAIN` when there is more to do, or the errno that ended it.
  @_noLocks
  private static func outcome(
    _ operation: OperationPointer, _ lane: RingLanePointer, _ slot: HandleSlotPointer, _ result: Int32
  ) -> Int32 {
    // Nothing has come of it; without having been asked to, operations end together, when completions are lost.
    if result == -EINTR || (result == -ECANCELED && !operation.pointee.isCanceled) { return EAGAIN }
    if lane.pointee.is_poll && result == -EBADR { return EAGAIN }
    if lane.pointee.is_poll { return result < 0 ? 0 &- result : OperationAttempt.run(operation, slot) }
    if result == -EAGAIN {
      lane.pointee.has_refused = true
      return EAGAIN
    }
    guard result >= 0 else { return 0 &- result }
    switch operation.pointee.kind {
    case OperationKind.accept: operation.pointee.descriptor = result
    case OperationKind.send where !slot.pointee.entry.hasMessages:
      Operation.advance(operation, by: Int(result))
      return operation.pointee.first_vector < operation.pointee.vector_count ? EAGAIN : 0
    case OperationKind.receiveFrom:
      operation.pointee.address_length = lane.pointee.message.msg_namelen
      operation.pointee.transferred = UInt64(truncatingIfNeeded: result)
    case OperationKind.receive:
      operation.pointee.transferred = UInt64(truncatingIfNeeded: result)
      // As where the port receives itself: a TCP stream that gives less than it is asked for is empty, and the next
      // receive need not ask before it goes to the ring.
      let isEmpty = slot.pointee.entry.kind == SHIM_DESCRIPTOR_TCP && result > 0
      if isEmpty && Int(result) < Operation.room(operation) { slot.pointee.entry.mayRead = false }
    default: operation.pointee.transferred = UInt64(truncatingIfNeeded: result)
    }
    return 0
  }

  /// Takes an operation out of its lane, with what it came to. The slot is locked.
  @_noLocks
  private func end(
    _ operation: OperationPointer, _ lane: RingLanePointer, _ slot: HandleSlotPointer, _ error: Int32
  ) {
    if lane.pointee.is_read {
      slot.pointee.entry.reads.remove(operation)
    } else {
      slot.pointee.entry.writes.remove(operation)
    }
    lane.pointee.has_refused = false
    append(operation, error, key: slot.pointee.entry.key)
  }

  /// Notes the packet of an operation that is over.
  ///
  /// - Parameter error: 0, or an errno; `ECANCELED` of one that was cancelled is no failure.
  @_noLocks
  func append(_ operation: OperationPointer, _ error: Int32, key: UInt) {
    let isCanceled = error == ECANCELED && operation.pointee.isCanceled
    operation.pointee.system_error = isCanceled ? 0 : error
    let status =
      error == 0 ? OperationStatus.done : isCanceled ? OperationStatus.canceled : OperationStatus.system
    state.pointee.completed.append(Operation.settle(operation, status: status, key: key))
  }

  /// Unlocks a slot, and closes its descriptor if that has waited for the last operation.
  @_noLocks
  func closeIfOver(_ slot: HandleSlotPointer) {
    guard !slot.pointee.entry.isOpen, slot.pointee.entry.heldOperations == 0, slot.pointee.entry.descriptor >= 0 else {
      return slot.pointee.lock.unlock()
    }
    _unsafePerformance {
      let isClosed = OperationPort.closeDescriptor(slot)
      slot.pointee.lock.unlock()
      if isClosed { state.pointee.owner?.pointee.parts.table.giveBack(slot) }
    }
  }
}

extension shim_operation {
  /// Whether the ring has the operation, or is about to.
  var isHeld: Bool {
    @_noLocks @inline(__always) get { flags & OperationFlags.isHeld != 0 }
  }

  /// Whether the operation is to end, and has not yet.
  var isCanceled: Bool {
    @_noLocks @inline(__always) get { flags & OperationFlags.isCanceled != 0 }
  }
}
