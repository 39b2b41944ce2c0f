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
  /// What threads that wait do meanwhile; nil for a port without input and output.
  let driver: PortDriver?
  /// Changes when a thread ends to lead a port that is closed: for who waits for that.
  let leaderChanges = Atomic<UInt32>(0)

  init(concurrency: Int, spins: Bool, driver: PortDriver?) {
    queue = PortQueue(concurrency: concurrency)
    lock = FutexLock(spins: spins)
    self.driver = driver
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

  /// Waiting threads, latest first. The leader, while it can be claimed, is one of them.
  var waiters: PortThreadPointer?
  var oldestWaiter: PortThreadPointer?
  var waiterCount = 0

  /// Who wants to be woken as soon as packets are left over that no thread could be handed.
  var watcher: PortThreadPointer?

  /// The thread that drives the port's input and output. While any thread waits on a port with a driver, there is one.
  var leader: PortThreadPointer?
  /// How many packets were taken since input and output were last looked at.
  var takenSinceLook = 0

  /// Takes no posts and lets nobody wait. Completions of operations in flight still come.
  var isClosed = false
  /// Whether the owner is done with the port. The last associated thread then frees it.
  var isDestroyed = false
  var associatedThreads = 0

  /// Readable while a packet can be taken or the port is closed; negative until it is asked for.
  var descriptor: Int32 = -1
  var isDescriptorReadable = false

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
    if let waiters { waiters.pointee.previous = waiter } else { oldestWaiter = waiter }
    waiters = waiter
    waiterCount &+= 1
  }

  @_noLocks @inline(__always)
  mutating func remove(_ waiter: PortThreadPointer) {
    let next = waiter.pointee.next
    let previous = waiter.pointee.previous
    if let previous { previous.pointee.next = next } else { waiters = next }
    if let next { next.pointee.previous = previous } else { oldestWaiter = previous }
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
    takenSinceLook &+= 1
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

  /// Whether a thread that asks now would have a packet. At the limit it would not: a loop around the descriptor would
  /// spin until a busy thread comes back.
  private var hasPacketToTake: Bool {
    @_noLocks @inline(__always) get {
      guard let first else { return false }
      return active < concurrency || first.pointee.isUncounted != 0
    }
  }

  /// Makes the port's descriptor readable, or no longer so. Threads that wait have had their packets by now.
  @_noLocks @inline(__always)
  mutating func updateDescriptor() {
    guard descriptor >= 0, isDescriptorReadable != (hasPacketToTake || isClosed) else { return }
    isDescriptorReadable.toggle()
    if isDescriptorReadable { shim_eventfd_signal(descriptor) } else { shim_eventfd_clear(descriptor) }
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

extension PortState {
  /// Releases threads that were claimed. The lock must be free: a woken thread may want it at once.
  @_noLocks
  static func wake(_ claimed: PortThreadPointer?, of state: UnsafeMutablePointer<PortState>) {
    var next = claimed
    while let waiter = next {
      // Once the word is stored the thread runs: its record is its own again, and the port may be gone with it.
      next = waiter.pointee.next
      let address = waiter.pointee.wordAddress
      if waiter.pointee.isLeading { state.pointee.driver?.interrupt() }
      Interleaving.reach(Interleaving.store)
      let before = waiter.pointee.word.exchange(PortThread.released, ordering: .acquiringAndReleasing)
      if before == PortThread.parked { Futex.wakeOne(address) }
    }
  }

  /// Leaves the lock, after it made the port's descriptor, if it has been asked for, tell what there is now.
  @_noLocks @inline(__always)
  static func unlock(_ state: UnsafeMutablePointer<PortState>) {
    state.pointee.queue.updateDescriptor()
    state.pointee.lock.unlock()
  }
}
