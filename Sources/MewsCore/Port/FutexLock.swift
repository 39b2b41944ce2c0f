import CMewsShims
import Synchronization

/// A mutual exclusion lock of one word that the owner embeds: one atomic instruction to take or to leave it when nobody
/// competes, a futex otherwise. Not recursive, and not fair.
///
/// Where another CPU can be running the holder, a contender spins before it sleeps, about twice as long as spinning
/// took to succeed lately.
public struct FutexLock: ~Copyable {
  private let word = Atomic<UInt32>(Self.free)
  private let usualSpins = Atomic<Int32>(0)
  private let mostSpins: Int32

  private static var free: UInt32 { 0 }
  private static var held: UInt32 { 1 }
  private static var heldAndAwaited: UInt32 { 2 }

  /// - Parameter spins: whether contenders spin; pass false where one CPU runs all threads.
  public init(spins: Bool) {
    mostSpins = spins ? 100 : 0
  }

  @_noLocks @inline(__always)
  public func lock() {
    Interleaving.reach(Interleaving.lock)
    let (taken, _) = word.compareExchange(
      expected: Self.free, desired: Self.held, successOrdering: .acquiring, failureOrdering: .relaxed)
    if !taken { contend() }
  }

  /// Takes the lock if it is free. Returns whether it did.
  @_noLocks @inline(__always)
  func tryLock() -> Bool {
    word.compareExchange(
      expected: Self.free, desired: Self.held, successOrdering: .acquiring, failureOrdering: .relaxed
    ).exchanged
  }

  @_noLocks @inline(__always)
  public func unlock() {
    Interleaving.reach(Interleaving.unlock)
    if word.exchange(Self.free, ordering: .releasing) == Self.heldAndAwaited {
      Futex.wakeOne(address)
    }
  }

  @_noLocks @inline(never)
  private func contend() {
    if spin() { return }
    // From here on the word says that somebody may sleep, even if this thread turns out to be the last contender: one
    // wake too many is cheap, one too few is a deadlock.
    while true {
      Interleaving.reach(Interleaving.lock)
      if word.exchange(Self.heldAndAwaited, ordering: .acquiring) == Self.free { return }
      _ = Futex.wait(on: address, while: Self.heldAndAwaited, until: -1)
    }
  }

  @_noLocks
  private func spin() -> Bool {
    guard mostSpins > 0 else { return false }
    Interleaving.reach(Interleaving.spin)
    let usual = usualSpins.load(ordering: .relaxed)
    let limit = min(mostSpins, 2 &* usual &+ 10)
    var spins: Int32 = 0
    var isTaken = false
    while spins < limit && !isTaken {
      shim_cpu_relax()
      spins &+= 1
      guard word.load(ordering: .relaxed) == Self.free else { continue }
      (isTaken, _) = word.compareExchange(
        expected: Self.free, desired: Self.held, successOrdering: .acquiring, failureOrdering: .relaxed)
    }
    usualSpins.store(usual &+ (spins &- usual) / 8, ordering: .relaxed)
    return isTaken
  }

  private var address: UnsafeRawPointer {
    @_noLocks @inline(__always) get { withUnsafePointer(to: word) { UnsafeRawPointer($0) } }
  }
}
