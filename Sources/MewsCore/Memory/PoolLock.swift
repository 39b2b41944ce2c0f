import CMewsShims
import Synchronization

/// The lock of a pool: a word on a cache line of its own, and the kernel only when two threads want it at once.
///
/// What it protects takes some ten instructions, so a thread that finds it taken spins briefly before it sleeps.
struct PoolLock {
  private enum State {
    static let free: UInt32 = 0
    static let taken: UInt32 = 1
    /// Taken, and somebody may be asleep in the kernel.
    static let contended: UInt32 = 2
  }

  private static let spins = 64

  private let word: UnsafeMutablePointer<Atomic<UInt32>>

  /// Makes a free lock. nil when memory is exhausted. Release it with `destroy`.
  static func create() -> PoolLock? {
    guard let memory = allocateAligned(CacheLine.size, alignment: CacheLine.size) else { return nil }
    let word = memory.bindMemory(to: Atomic<UInt32>.self, capacity: 1)
    word.initialize(to: Atomic(State.free))
    return PoolLock(word: word)
  }

  /// Frees the lock. Nobody holds it or waits for it.
  func destroy() {
    word.deinitialize(count: 1)
    freeAligned(word)
  }

  /// Takes the lock, waiting for it if need be.
  func lock() {
    if !take(from: State.free, to: State.taken) { lockContended() }
  }

  /// Gives the lock back and wakes one waiter, if any.
  func unlock() {
    if word.pointee.exchange(State.free, ordering: .releasing) == State.contended {
      shim_futex_wake(word, 1)
    }
  }

  @inline(never)
  private func lockContended() {
    for _ in 0..<PoolLock.spins {
      if word.pointee.load(ordering: .relaxed) == State.free, take(from: State.free, to: State.taken) { return }
      shim_cpu_relax()
    }
    // Whoever has slept cannot know whether it was the only one, so it takes the lock as contended.
    while word.pointee.exchange(State.contended, ordering: .acquiring) != State.free {
      _ = shim_futex_wait(word, State.contended, -1)
    }
  }

  @inline(__always)
  private func take(from expected: UInt32, to desired: UInt32) -> Bool {
    word.pointee.compareExchange(expected: expected, desired: desired, ordering: .acquiring).exchanged
  }
}
