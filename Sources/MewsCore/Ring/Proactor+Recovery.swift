import Glibc

/// Going on when the kernel has lost completions (`Ring.hasLost`).
///
/// Nobody can say whose they were. An operation that is armed may never be heard of again, and of one that completes
/// repeatedly something may be missing before what comes next. So everything in flight is ended, in the ring's own
/// thread, and the kernel is done with all memory and descriptors then; only what was lost has not been told, and ends
/// with `EBADR`. Nothing is submitted meanwhile. What is armed waits for the ring to be in use again.
///
/// The ring stays: another one would need the memory that has just been short. A connection that a lost completion told
/// of keeps its descriptor, whose number nobody knows. An operation that takes connections ends with the first
/// completion that finds no room; so that is one for each listening socket at most.
extension Proactor {
  /// Marks what is armed as not to be gone on with. Between this and `finishRecovery`, which tells the completions that
  /// are left, those are to be prepared for whom it matters that something may be missing.
  public func beginRecovery() {
    forEachOperation { operation in
      if operation.pointee.isArmed { operation.pointee.state |= RingOperation.Bits.inherited }
    }
  }

  /// Ends what is in flight, and tells each operation how: with what it had come to, with `ECANCELED`, or with `EBADR`
  /// where that is lost.
  ///
  /// - Returns: false when the kernel cannot do it now: then both are to be called again, after a moment.
  public func finishRecovery() -> Bool {
    let ring = state.pointee.ring
    let isEnding = ring.cancelAll()
    // Each takes the kernel a few operations further, or makes room for completions.
    var attempts = Int(state.pointee.slotCount) + Self.reapAttempts
    var mayHaveMore = true
    while mayHaveMore && attempts > 0 {
      mayHaveMore = ring.reap()
      mayHaveMore = tellCompletions(of: ring) > 0 || mayHaveMore
      attempts -= 1
    }
    guard isEnding, !mayHaveMore, ring.renew() else { return false }
    forEachInherited { complete($0, RingCompletion(buffer: nil, result: -EBADR, flags: 0)) }
    return true
  }

  private static var reapAttempts: Int { 64 }
}
