import CMewsShims
import Glibc
import Synchronization

/// The slots of a port's handles: found by index without a lock, made in chunks, and never moved or freed before the
/// port is.
struct HandleTable {
  static var slotsPerChunk: Int { @_noLocks get { 256 } }
  static var chunkLimit: Int { @_noLocks get { 4096 } }

  private struct State: ~Copyable {
    var free: HandleSlotPointer?
    var chunkCount = 0
    /// How many slots were ever in use: those that a shutdown has to look at.
    var usedCount = 0
    let isShut = Atomic<Bool>(false)
    let lock: FutexLock
    let spins: Bool

    init(spins: Bool) {
      lock = FutexLock(spins: spins)
      self.spins = spins
    }
  }

  private let chunks: UnsafeMutablePointer<UInt64>
  private let state: UnsafeMutablePointer<State>

  /// Creates a table; nil when memory is out.
  static func create(spins: Bool) -> HandleTable? {
    guard let chunks = calloc(chunkLimit, MemoryLayout<UInt64>.size) else { return nil }
    guard let memory = malloc(MemoryLayout<State>.size) else {
      free(chunks)
      return nil
    }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(to: State(spins: spins))
    return HandleTable(chunks: chunks.bindMemory(to: UInt64.self, capacity: chunkLimit), state: state)
  }

  func destroy() {
    for index in 0..<state.pointee.chunkCount {
      guard let slots = chunk(index) else { continue }
      for offset in 0..<Self.slotsPerChunk { free(slots[offset].lanes) }
      free(slots)
    }
    state.deinitialize(count: 1)
    free(state)
    free(chunks)
  }

  /// The slot that a handle names, whatever its generation; nil for what was never a handle.
  @_noLocks @inline(__always)
  func slot(_ index: Int) -> HandleSlotPointer? {
    guard index >= 0, index < Self.slotsPerChunk &* Self.chunkLimit else { return nil }
    return chunk(index / Self.slotsPerChunk).map { $0 + index % Self.slotsPerChunk }
  }

  /// Takes a free slot.
  func take(_ result: inout OperationResult) -> HandleSlotPointer? {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    if isShut {
      result = .gone
    } else {
      result = state.pointee.free == nil ? addChunk() : .done
    }
    guard result == .done, let slot = state.pointee.free else { return nil }
    state.pointee.free = slot.pointee.entry.nextFree
    state.pointee.usedCount = max(state.pointee.usedCount, slot.pointee.entry.index + 1)
    return slot
  }

  /// Gives back a slot whose descriptor is closed.
  func giveBack(_ slot: HandleSlotPointer) {
    // A slot whose generations are used up is not used again: no handle ever comes back.
    guard slot.pointee.entry.generation != UInt32.max else { return }
    state.pointee.lock.lock()
    slot.pointee.entry.nextFree = state.pointee.free
    state.pointee.free = slot
    state.pointee.lock.unlock()
  }

  /// Gives out no more slots.
  ///
  /// - Returns: the end of the slots that were ever in use; nil the second time.
  func shut() -> Int? {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    guard !state.pointee.isShut.exchange(true, ordering: .acquiringAndReleasing) else { return nil }
    return state.pointee.usedCount
  }

  var isShut: Bool { state.pointee.isShut.load(ordering: .acquiring) }

  @_noLocks @inline(__always)
  private func chunk(_ index: Int) -> HandleSlotPointer? {
    HandleSlotPointer(bitPattern: UInt(shim_load_acquire(chunks + index)))
  }

  private func addChunk() -> OperationResult {
    let number = state.pointee.chunkCount
    guard number < Self.chunkLimit else { return .limit }
    guard let memory = malloc(Self.slotsPerChunk * MemoryLayout<HandleSlot>.stride) else { return .noMemory }
    let slots = memory.bindMemory(to: HandleSlot.self, capacity: Self.slotsPerChunk)
    for offset in (0..<Self.slotsPerChunk).reversed() {
      let slot = slots + offset
      slot.initialize(to: HandleSlot(index: number * Self.slotsPerChunk + offset, spins: state.pointee.spins))
      slot.pointee.entry.nextFree = state.pointee.free
      state.pointee.free = slot
    }
    shim_store_release(chunks + number, UInt64(UInt(bitPattern: slots)))
    state.pointee.chunkCount = number + 1
    return .done
  }
}
