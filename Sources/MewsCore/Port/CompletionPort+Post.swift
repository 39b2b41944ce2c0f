import CMewsShims
import Glibc

/// What became of a user's post.
public enum PostResult {
  case posted
  /// The port is closed.
  case closed
  case noMemory
}

extension CompletionPort {
  /// Queues a packet, and releases a waiting thread if the concurrency value allows one more. Costs one lock, and one
  /// system call if a thread is released.
  ///
  /// - Parameter packet: the owner's memory, lent until the packet is delivered. It must not be in a queue.
  /// - Returns: false when the port is closed; the packet then stays with the caller.
  @_noLocks
  @discardableResult
  public func post(_ packet: PacketPointer) -> Bool {
    post(first: packet, last: packet, count: 1)
  }

  /// Queues packets in one go: one lock, and one wake for each thread that the concurrency value allows to be released.
  ///
  /// - Parameters:
  ///   - first: the first packet of a chain through `next`, lent until each is delivered.
  ///   - last: the last packet of the chain.
  ///   - count: the number of packets in the chain.
  /// - Returns: false when the port is closed; the packets then stay with the caller.
  @_noLocks
  @discardableResult
  public func post(first: PacketPointer, last: PacketPointer, count: Int) -> Bool {
    state.pointee.lock.lock()
    guard !state.pointee.queue.isClosed else {
      state.pointee.lock.unlock()
      return false
    }
    state.pointee.queue.append(first: first, last: last, count: count)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    PortState.wake(claimed, of: state)
    return true
  }

  /// Queues a packet of the port's own memory. What is passed arrives bit for bit, zeros and nil included.
  public func post(
    key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?, status: Int32 = 0,
    action: (@convention(c) (PacketPointer) -> Void)? = nil
  ) -> PostResult {
    state.pointee.lock.lock()
    while state.pointee.queue.freePackets == nil && !state.pointee.queue.isClosed {
      state.pointee.lock.unlock()
      guard let slab = CompletionPort.makeSlab() else { return .noMemory }
      state.pointee.lock.lock()
      state.pointee.queue.adopt(slab: slab)
    }
    guard !state.pointee.queue.isClosed, let packet = state.pointee.queue.freePackets else {
      state.pointee.lock.unlock()
      return .closed
    }
    state.pointee.queue.freePackets = packet.pointee.next
    packet.pointee.key = key
    packet.pointee.bytes = bytes
    packet.pointee.operation = operation
    packet.pointee.status = status
    packet.pointee.action = action
    state.pointee.queue.append(first: packet, last: packet, count: 1)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    PortState.wake(claimed, of: state)
    return .posted
  }

  /// Queues the completion of an operation, also when the port is closed: every operation completes.
  ///
  /// - Returns: threads to be released with `wake`, when the caller holds no lock that they could want.
  @_noLocks
  func complete(_ packet: PacketPointer) -> PortThreadPointer? {
    state.pointee.lock.lock()
    state.pointee.queue.append(first: packet, last: packet, count: 1)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    return claimed
  }

  /// Queues completions, as `complete(_:)` does for one.
  @_noLocks
  func complete(_ completed: shim_packet_chain) -> PortThreadPointer? {
    guard completed.first != nil else { return nil }
    state.pointee.lock.lock()
    state.pointee.queue.append(completed)
    let claimed = state.pointee.queue.claimWaiters()
    PortState.unlock(state)
    return claimed
  }

  /// Releases threads that a completion was handed to.
  @_noLocks @inline(__always)
  func wake(_ claimed: PortThreadPointer?) {
    if claimed != nil { PortState.wake(claimed, of: state) }
  }

  private static func makeSlab() -> PacketPointer? {
    let memory = malloc(PortQueue.packetsPerSlab * MemoryLayout<Packet>.stride)
    return memory?.bindMemory(to: Packet.self, capacity: PortQueue.packetsPerSlab)
  }
}
