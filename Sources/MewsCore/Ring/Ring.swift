import CMewsShims
import Glibc
import Synchronization

/// An io_uring of one thread: the one that creates it, which is the only one to use it, unless a function says
/// otherwise. That thread may not end before the ring is destroyed: operations end with the thread that submitted them.
///
/// A ring knows nothing of operations; a `Proactor` tells them of their completions.
public struct Ring: Equatable, @unchecked Sendable {
  /// Zeroed memory would be no ring; this is always one.
  struct State: ~Copyable {
    let ring: OpaquePointer
    let features: RingFeatures
    var buffers: RingBuffers?
    /// How many of the completions that the kernel has lost have been dealt with.
    var knownLosses: UInt32 = 0
    /// 1 once another thread, which has adopted what is armed here, needs the ring no more.
    let isReleased = Atomic<UInt32>(0)

    init(ring: OpaquePointer, features: RingFeatures) {
      self.ring = ring
      self.features = features
    }
  }

  let state: UnsafeMutablePointer<State>

  /// How many operations are submitted in one go, at most.
  public static let submissionCapacity: UInt32 = 512
  /// How many completions may lie unread. Beyond that the kernel keeps them elsewhere, slowly, and ends operations that
  /// would complete repeatedly: so it is much more than one pass submits.
  public static let completionCapacity: UInt32 = 8192
  /// The number of a ring's only group of buffers.
  public static var bufferGroup: UInt16 { @_noLocks get { 1 } }

  /// Makes a ring.
  ///
  /// - Parameters:
  ///   - features: what to use of what the probe has found.
  ///   - submissions: how many operations are submitted in one go; a power of two.
  ///   - completions: how many completions may lie unread; a power of two.
  /// - Returns: a ring, to be released with `destroy`.
  /// - Throws: `ENOMEM` when memory, locked memory or descriptors are short; with half the room it may be possible.
  public static func create(
    _ features: RingFeatures, submissions: UInt32 = submissionCapacity, completions: UInt32 = completionCapacity
  ) throws(SystemError) -> Ring {
    var flags: UInt32 = 0
    if features.contains(.singleIssuer) { flags |= SHIM_RING_SINGLE_ISSUER }
    if features.contains(.deferredTaskrun) { flags |= SHIM_RING_DEFER_TASKRUN }
    if features.contains(.taskrunFlag) { flags |= SHIM_RING_TASKRUN_FLAG }
    if features.contains(.submitAll) { flags |= SHIM_RING_SUBMIT_ALL }
    var error: Int32 = 0
    guard let ring = shim_ring_create(submissions, completions, flags, &error) else {
      throw SystemError(call: "io_uring_setup", code: -error)
    }
    guard let memory = malloc(MemoryLayout<State>.size) else {
      shim_ring_destroy(ring)
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    var used = features
    // Without a place in the thread's table, the ring is entered by its descriptor.
    if features.contains(.registeredRing), shim_ring_register(ring) != 0 { used.remove(.registeredRing) }
    if features.contains(.noIOWait) { shim_ring_count_iowait(ring, false) }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(to: State(ring: ring, features: used))
    return Ring(state: state)
  }

  /// Makes a ring, a smaller one where memory is too short for the usual size.
  public static func createFitting(_ features: RingFeatures) throws(SystemError) -> Ring {
    var submissions = submissionCapacity
    while true {
      do throws(SystemError) {
        return try create(
          features, submissions: submissions, completions: submissions * (completionCapacity / submissionCapacity))
      } catch {
        guard error.code == ENOMEM, submissions > 64 else { throw error }
        submissions /= 2
      }
    }
  }

  /// Closes the ring, which ends what is in flight without a word, and gives the buffers back.
  public func destroy() {
    shim_ring_destroy(state.pointee.ring)
    state.pointee.buffers?.destroy()
    state.deinitialize(count: 1)
    free(state)
  }

  /// Readable while the ring's thread has something to do in it.
  var descriptor: Int32 {
    @_noLocks get { shim_ring_descriptor(state.pointee.ring) }
  }

  /// What the ring uses.
  public var features: RingFeatures { state.pointee.features }

  /// Has the kernel receive into blocks, each of which belongs to the operation that received into it.
  ///
  /// - Parameters:
  ///   - count: how many blocks the kernel has at a time; a power of two, 32,768 at most.
  ///   - cache: where they come from; the thread's.
  /// - Returns: 0 or an errno.
  public func provideBuffers(_ count: Int, from cache: BlockCache) -> Int32 {
    guard state.pointee.buffers == nil else { return EBUSY }
    let error = shim_ring_add_buffers(state.pointee.ring, UInt32(count), Self.bufferGroup)
    guard error == 0 else { return -error }
    guard let buffers = RingBuffers.create(count: count, cache: cache) else { return ENOMEM }
    state.pointee.buffers = buffers
    return refillBuffers() ? 0 : ENOMEM
  }
}

// MARK: Submitting and waiting

extension Ring {
  /// The next entry to fill. Where there is none, those that are filled are submitted; nil when the kernel does not
  /// take them either.
  @_noLocks @inline(__always)
  func nextEntry() -> OpaquePointer? {
    if let entry = shim_ring_next_entry(state.pointee.ring) { return entry }
    if hasLost { return nil }
    _ = shim_ring_submit(state.pointee.ring)
    return shim_ring_next_entry(state.pointee.ring)
  }

  /// A scratch pad for an entry that is being filled with several pieces; nil when it has to do with one.
  @_noLocks
  func nextMessage() -> OpaquePointer? { shim_ring_next_message(state.pointee.ring) }

  /// Submits what was filled, and takes what is complete. Whatever the result, completions may be there.
  ///
  /// - Parameter timeoutNanoseconds: how long to wait when there is nothing; 0 does not wait, negative is for ever.
  /// - Returns: 0, or an errno: `ETIME` when the time is over, `EINTR` after a signal, `EBADR` when completions are
  ///   lost (nothing is submitted then), or one that says that the kernel is short of memory.
  @_noLocks
  func enter(timeoutNanoseconds: Int64) -> Int32 {
    if hasLost { return EBADR }
    let mayWait = timeoutNanoseconds != 0 && shim_ring_unread(state.pointee.ring) == 0
    return 0 &- shim_ring_enter(state.pointee.ring, mayWait ? 1 : 0, timeoutNanoseconds)
  }

  /// Takes the oldest completion; false when there is none. Any thread, one at a time.
  @_noLocks @inline(__always)
  func nextEvent(_ event: inout shim_ring_event) -> Bool {
    shim_ring_next_event(state.pointee.ring, &event)
  }

  /// How many completions are unread. Any thread.
  var unread: UInt32 {
    @_noLocks get { shim_ring_unread(state.pointee.ring) }
  }

  /// Whether the kernel holds completions for which there was no room. They come when the ring's thread enters it.
  public var hasOverflown: Bool { shim_ring_has_overflown(state.pointee.ring) }
}

// MARK: Losses

extension Ring {
  /// Whether the kernel has lost completions: it had neither room for them nor memory to keep them. From then on the
  /// ring is only good for being emptied. Any thread may ask.
  ///
  /// The kernel counts losses as they happen, and so before it tells what came later. By `EBADR` it would say so once,
  /// and not before a wait finds nothing to submit and nothing complete.
  public var hasLost: Bool {
    @_noLocks @inline(__always) get { shim_ring_losses(state.pointee.ring) != state.pointee.knownLosses }
  }

  /// How long the kernel may take to end what it is at, in nanoseconds.
  private static var cancelPatience: Int64 { 100_000_000 }

  /// Ends all that is in flight, and forgets what was not submitted.
  ///
  /// - Returns: whether all of it has completed, or has lost its completion, once `reap` finds nothing more.
  func cancelAll() -> Bool { shim_ring_cancel_all(state.pointee.ring, Self.cancelPatience) == 0 }

  /// Takes completions that are there, and submits nothing.
  ///
  /// - Returns: whether there may be more.
  func reap() -> Bool {
    _ = shim_ring_reap(state.pointee.ring)
    return shim_ring_has_work(state.pointee.ring)
  }

  /// Takes the ring into use again. Nothing is in flight, and no completion unread.
  ///
  /// - Returns: false when the kernel has no memory to receive with.
  func renew() -> Bool {
    let losses = shim_ring_losses(state.pointee.ring)
    if let buffers = state.pointee.buffers {
      guard shim_ring_renew_buffers(state.pointee.ring, Self.bufferGroup) == 0 else { return false }
      buffers.forEach { number, block in
        shim_ring_provide_buffer(state.pointee.ring, block.pointee.bytes, block.pointee.capacity, number)
      }
      shim_ring_publish_buffers(state.pointee.ring)
    }
    state.pointee.knownLosses = losses
    return true
  }
}

// MARK: Buffers

extension Ring {
  /// Puts a block in the place of each that was taken, as far as there are blocks. False: the kernel has none left.
  @_noLocks
  @discardableResult
  func refillBuffers() -> Bool {
    guard state.pointee.buffers != nil else { return false }
    guard state.pointee.buffers?.vacantCount != 0 else { return true }
    return _unsafePerformance { refillVacantBuffers() }
  }

  @_noLocks
  private func refillVacantBuffers() -> Bool {
    var published = 0
    while let (number, block) = state.pointee.buffers?.fill() {
      shim_ring_provide_buffer(state.pointee.ring, block.pointee.bytes, block.pointee.capacity, number)
      published &+= 1
    }
    if published > 0 { shim_ring_publish_buffers(state.pointee.ring) }
    return (state.pointee.buffers?.providedCount ?? 0) > 0
  }

  /// How many blocks the kernel has.
  var providedBlocks: Int { state.pointee.buffers?.providedCount ?? 0 }

  /// Takes the block that an operation received into out of the ring; nil when the event has none. Any thread that may
  /// read the events.
  @_noLocks @inline(__always)
  func takeBuffer(of event: shim_ring_event) -> BlockPointer? {
    guard event.flags & SHIM_RING_BUFFER != 0 else { return nil }
    let number = UInt16(truncatingIfNeeded: event.flags >> SHIM_RING_BUFFER_SHIFT)
    guard let block = state.pointee.buffers?.take(number) else { return nil }
    block.pointee.end = UInt32(truncatingIfNeeded: max(event.result, 0))
    return block
  }

  /// Releases a block that was taken for nobody.
  @_noLocks
  func giveBack(_ block: BlockPointer) {
    state.pointee.buffers?.release(block)
  }
}
