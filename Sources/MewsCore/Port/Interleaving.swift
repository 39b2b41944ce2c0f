import CMewsShims

/// The moments at which threads that share a port meet.
///
/// In debug builds a test may run threads under a schedule of its own, which decides at each of these who goes on. Such
/// a thread sleeps, wakes others and reads the time by the schedule. Release builds go straight to the system.
enum Interleaving {
  /// About to take a lock.
  static var lock: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_LOCK.rawValue } }
  /// About to look whether a lock that was taken is free again.
  static var spin: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_SPIN.rawValue } }
  /// About to leave a lock.
  static var unlock: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_UNLOCK.rawValue } }
  /// About to read a word that other threads change without a lock.
  static var load: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_LOAD.rawValue } }
  /// About to change such a word.
  static var store: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_STORE.rawValue } }
  /// About to end another thread's wait for input and output.
  static var interrupt: UInt32 { @_noLocks @inline(__always) get { SHIM_POINT_INTERRUPT.rawValue } }

  /// Has the calling thread's schedule, if there is one, decide who goes on.
  @_noLocks @inline(__always)
  static func reach(_ point: UInt32) {
    #if DEBUG
      shim_schedule_reach(point)
    #endif
  }
}

/// Sleeping on a word, and waking who sleeps.
enum Futex {
  /// Waits while the word holds `expected`. It may also end for no reason.
  ///
  /// - Parameter deadline: nanoseconds of `MonotonicClock`; negative for ever.
  /// - Returns: 0 or an errno, `ETIMEDOUT` when the time is over.
  @_noLocks @inline(__always)
  static func wait(on word: UnsafeRawPointer, while expected: UInt32, until deadline: Int64) -> Int32 {
    #if DEBUG
      if shim_is_scheduled() { return shim_schedule_futex_wait(word, expected, deadline) }
    #endif
    return shim_futex_wait_until(word, expected, deadline)
  }

  /// Wakes one thread that waits. The address is only a name here: the memory behind it may be gone already.
  @_noLocks @inline(__always)
  static func wakeOne(_ word: UnsafeRawPointer) {
    #if DEBUG
      if shim_is_scheduled() { return shim_schedule_futex_wake(word) }
    #endif
    shim_futex_wake_one(word)
  }
}

/// The clock of deadlines and timers.
enum MonotonicClock {
  @_noLocks @inline(__always)
  static func nanoseconds() -> Int64 {
    #if DEBUG
      if shim_is_scheduled() { return shim_schedule_nanoseconds() }
    #endif
    return shim_monotonic_nanoseconds()
  }
}
