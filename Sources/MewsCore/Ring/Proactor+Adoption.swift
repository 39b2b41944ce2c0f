import CMewsShims
import Glibc

/// Going on with another ring, on another thread, while the thread of the one before is stuck.
///
/// On a ring with deferred task work nothing happens while its thread does not enter it: what it has told can be read,
/// and what it has not told, it has not done. So every operation without a completion is simply armed once more on the
/// other ring. A send that took part of the bytes would have completed; one that did not complete took none.
extension Proactor {
  /// Arms all operations on the ring of the calling thread, which has exclusive use of the proactor from now on. First
  /// tells them the completions that lie unread in the ring before; those that were asked to end, and have not, are
  /// told that they have.
  ///
  /// The thread of the ring before may destroy that then (`Ring.awaitRelease`), and must not enter it before: that
  /// would have it take from sockets what nobody reads.
  public func adopt(_ ring: Ring) {
    let before = state.pointee.ring
    state.pointee.ring = ring
    state.pointee.wasAdopted = true
    forEachOperation { operation in
      if operation.pointee.state & RingOperation.Bits.submitted != 0 {
        operation.pointee.state |= RingOperation.Bits.inherited
      }
    }
    _ = tellCompletions(of: before)
    forEachInherited { operation in
      if operation.pointee.state & RingOperation.Bits.deferred != 0 { removeDeferred(operation) }
      if operation.pointee.isCanceling {
        complete(operation, RingCompletion(buffer: nil, result: -ECANCELED, flags: 0))
      } else {
        arm(operation)
      }
    }
    before.release()
  }

  /// Those that have been inherited and not been told their last completion since, nor been armed anew by what came of
  /// others'.
  func forEachInherited(_ body: (RingOperationPointer) -> Void) {
    forEachOperation { if $0.pointee.state & RingOperation.Bits.inherited != 0 { body($0) } }
  }

  /// By index, because the table may grow meanwhile.
  func forEachOperation(_ body: (RingOperationPointer) -> Void) {
    var index: UInt32 = 1
    while index < state.pointee.slotCount {
      if let operation = slot(index).pointee.operation { body(operation) }
      index += 1
    }
  }
}

extension Ring {
  /// Says that the ring is not read any more. For the thread that has adopted what was armed on it.
  func release() {
    let address = releasedAddress
    state.pointee.isReleased.store(1, ordering: .releasing)
    // The ring may be gone by now: the address is only a name.
    shim_futex_wake_one(address)
  }

  /// Waits until another thread, which has been given what is armed on the ring, has read it. Then it can be destroyed.
  public func awaitRelease() {
    while state.pointee.isReleased.load(ordering: .acquiring) == 0 {
      _ = shim_futex_wait_until(releasedAddress, 0, -1)
    }
  }

  private var releasedAddress: UnsafeRawPointer {
    withUnsafePointer(to: state.pointee.isReleased) { UnsafeRawPointer($0) }
  }
}
