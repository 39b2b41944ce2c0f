import CMewsShims
import Glibc

/// Lets threads in, for a moment each, until it is closed; the one who closes it waits for those who are inside.
final class Gate: Sendable {
  /// The closed bit, and below it the number of threads inside. Atomic.
  private nonisolated(unsafe) let word: UnsafeMutablePointer<UInt64>
  private static let closedBit: UInt64 = 1 << 63

  init() {
    word = .allocate(capacity: 1)
    word.initialize(to: 0)
  }

  deinit { word.deallocate() }

  /// Any thread. False: the gate is closed. True: `leave` has to follow, soon.
  func enter() -> Bool {
    if shim_add(word, 1) & Self.closedBit == 0 { return true }
    leave()
    return false
  }

  func leave() { _ = shim_add(word, .max) }

  /// Lets nobody in from now on, and returns when nobody is inside.
  func close() {
    _ = shim_fetch_or(word, Self.closedBit)
    while shim_load_acquire(word) & ~Self.closedBit != 0 { sched_yield() }
  }
}
