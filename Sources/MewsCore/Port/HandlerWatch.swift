import CMewsShims

/// The word by which an I/O thread's handlers are watched, and its work is taken over when one of them does not return.
///
/// While a handler runs, the word holds the run's number; while it gives its response, which touches what belongs to
/// the I/O thread's work, it holds the same number with a bit that says so. Whoever takes the work over replaces the
/// number of a run that lasts too long, which it can only outside of a response. The handler's thread finds that at its
/// next step, and leaves alone what is no longer its own.
///
/// Atomic, and in memory of its own, so that a watcher may read it at any time.
public struct HandlerWatch: @unchecked Sendable {
  private let word: UnsafeMutablePointer<UInt64>

  private static var respondingBit: UInt64 { @_noLocks @inline(__always) get { 1 } }
  private static var numberStep: UInt64 { @_noLocks @inline(__always) get { 2 } }
  /// No handler runs.
  static var idle: UInt64 { @_noLocks @inline(__always) get { 0 } }
  /// The work was taken over during a run.
  static var taken: UInt64 { @_noLocks @inline(__always) get { .max } }

  init(word: UnsafeMutablePointer<UInt64>) { self.word = word }

  /// A run begins, with a number that the caller counts up by 2 from 2.
  @_noLocks @inline(__always)
  func begin(_ number: UInt64) { shim_store_release(word, number) }

  /// The run is over. False: the work was taken over meanwhile.
  @_noLocks @inline(__always)
  func end(_ number: UInt64) -> Bool {
    var expected = number
    return shim_compare_exchange(word, &expected, Self.idle)
  }

  /// The handler is about to touch what belongs to the I/O thread's work. False: it was taken over.
  @_noLocks @inline(__always)
  func beginResponse(_ number: UInt64) -> Bool {
    var expected = number
    return shim_compare_exchange(word, &expected, number | Self.respondingBit)
  }

  @_noLocks @inline(__always)
  func endResponse(_ number: UInt64) { shim_store_release(word, number) }

  /// The run that goes on at this moment, or `idle`.
  func current() -> UInt64 { shim_load_acquire(word) & ~Self.respondingBit }

  /// Takes the work over from a run. False: it is over, or just giving its response.
  func take(_ number: UInt64) -> Bool {
    var expected = number
    return shim_compare_exchange(word, &expected, Self.taken)
  }
}
