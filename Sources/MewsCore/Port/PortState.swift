import CMewsShims
import Glibc
import Synchronization

/// The memory behind a `CompletionPort`.
///
/// The lock and what it guards are fields apart, so that a thread that changes the queue has exclusive access to the
/// queue alone, while others contend for the lock. The queue comes first because the thread sanitizer takes the change
/// of a field for a change at the address of the whole.
struct PortState: ~Copyable {
  var queue: PortQueue
  let lock: FutexLock

  init(concurrency: Int, spins: Bool) {
    queue = PortQueue(concurrency: concurrency)
    lock = FutexLock(spins: spins)
  }
}

/// Packets, waiting threads and the counts that bring them together. The port's lock guards all of it.
///
/// While the lock is free, one of these holds: no packet is queued, no thread waits, or as many threads are active as
/// the concurrency value allows and the oldest packet is counted. Whoever changes one of these restores it by
/// `claimWaiters` before unlocking.
struct PortQueue: ~Copyable {
  /// How many threads may be active at once.
  let concurrency: Int
  /// Threads that were handed a packet and have not come back, left or begun to block. Ends of blocking scopes may
  /// raise it above `concurrency` for a while.
  var active = 0

  /// Packets, oldest first.
  var first: PacketPointer?
  var last: PacketPointer?
  var depth = 0

  /// Waiting threads, latest first.
  var waiters: PortThreadPointer?
  var waiterCount = 0

  /// Who wants to be woken as soon as packets are left over that no thread could be handed.
  var watcher: PortThreadPointer?

  var isClosed = false
  /// Whether the owner is done with the port. The last associated thread then frees it.
  var isDestroyed = false
  var associatedThreads = 0

  /// Packets for user posts, and the slabs they are cut from. The first packet of a slab links the slabs.
  var freePackets: PacketPointer?
  var slabs: PacketPointer?

  static var packetsPerSlab: Int { 64 }

  init(concurrency: Int) {
    self.concurrency = concurrency
  }

  deinit {
    var slab = slabs
    while let current = slab {
      slab = current.pointee.next
      free(current)
    }
  }
}

extension PortQueue {
  @_noLocks @inline(__always)
  mutating func append(first newFirst: PacketPointer, last newLast: PacketPointer, count: Int) {
    newLast.pointee.next = nil
    if let last { last.pointee.next = newFirst } else { first = newFirst }
    last = newLast
    depth &+= count
  }

  @_noLocks @inline(__always)
  mutating func removeFirst() -> PacketPointer? {
    guard let packet = first else { return nil }
    first = packet.pointee.next
    if first == nil { last = nil }
    depth &-= 1
    return packet
  }

  @_noLocks @inline(__always)
  mutating func push(_ waiter: PortThreadPointer) {
    waiter.pointee.isWaiting = true
    waiter.pointee.previous = nil
    waiter.pointee.next = waiters
    waiters?.pointee.previous = waiter
    waiters = waiter
    waiterCount &+= 1
  }

  @_noLocks @inline(__always)
  mutating func remove(_ waiter: PortThreadPointer) {
    let next = waiter.pointee.next
    let previous = waiter.pointee.previous
    if let previous { previous.pointee.next = next } else { waiters = next }
    next?.pointee.previous = previous
    waiter.pointee.isWaiting = false
    waiterCount &-= 1
  }

  /// Takes the oldest packet for a thread, which counts as active from now on, not from when it runs. Returns nil when
  /// there is none, or when as many threads are active as may be.
  @_noLocks @inline(__always)
  mutating func take(for thread: PortThreadPointer) -> PacketPointer? {
    guard let packet = first else { return nil }
    if packet.pointee.isUncounted == 0 {
      guard active < concurrency else { return nil }
      active &+= 1
      thread.pointee.holdsSlot = true
    }
    return removeFirst()
  }

  /// Hands queued packets to waiting threads, latest waiter first, as far as the concurrency value allows. Wakes the
  /// watcher when packets are left over.
  ///
  /// - Returns: the threads to wake with `wake(_:)` after unlocking, chained through `next`.
  @_noLocks
  mutating func claimWaiters() -> PortThreadPointer? {
    var claimed: PortThreadPointer?
    var lastClaimed: PortThreadPointer?
    while let waiter = waiters, let packet = take(for: waiter) {
      remove(waiter)
      waiter.pointee.packet = packet
      waiter.pointee.next = nil
      if let lastClaimed { lastClaimed.pointee.next = waiter } else { claimed = waiter }
      lastClaimed = waiter
    }
    if first != nil, let watcher {
      self.watcher = nil
      watcher.pointee.next = nil
      if let lastClaimed { lastClaimed.pointee.next = watcher } else { claimed = watcher }
    }
    return claimed
  }

  /// Releases threads that were claimed. The lock must be free: a woken thread may want it at once.
  @_noLocks
  static func wake(_ claimed: PortThreadPointer?) {
    var next = claimed
    while let waiter = next {
      // Once the word is stored the thread runs, and its record is its own again.
      next = waiter.pointee.next
      let address = waiter.pointee.wordAddress
      waiter.pointee.word.store(PortThread.released, ordering: .releasing)
      shim_futex_wake_one(address)
    }
  }

  /// Takes back what the thread had from the port: its slot and the port's own packets.
  @_noLocks @inline(__always)
  mutating func settle(_ thread: PortThreadPointer) {
    if thread.pointee.holdsSlot {
      thread.pointee.holdsSlot = false
      active &-= 1
    }
    thread.pointee.blockingDepth = 0
    while let packet = thread.pointee.lent {
      thread.pointee.lent = packet.pointee.next
      recycle(packet)
    }
  }

  @_noLocks @inline(__always)
  mutating func recycle(_ packet: PacketPointer) {
    packet.pointee.next = freePackets
    freePackets = packet
  }

  /// Cuts a new slab into free packets.
  mutating func adopt(slab: PacketPointer) {
    slab.pointee.next = slabs
    slabs = slab
    for index in 1..<Self.packetsPerSlab {
      let packet = slab + index
      packet.initialize(to: Packet())
      packet.pointee.isPooled = 1
      recycle(packet)
    }
  }
}
