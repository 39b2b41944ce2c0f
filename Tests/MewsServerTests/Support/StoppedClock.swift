import CMewsShims
import Glibc

/// The monotonic clock of a test: it stands still for what runs under it, unless it is moved. Whoever would sleep under
/// it does not.
final class StoppedClock: @unchecked Sendable {
  private var nanoseconds = shim_monotonic_nanoseconds()
  private let schedule = UnsafeMutablePointer<shim_schedule>.allocate(capacity: 1)

  init() {
    schedule.initialize(
      to: shim_schedule(
        context: Unmanaged.passUnretained(self).toOpaque(), reach: { _, _ in },
        futex_wait: { _, word, expected, deadline in shim_futex_wait_until(word, expected, deadline) },
        futex_wake: { _, word in shim_futex_wake_one(word) },
        nanoseconds: { context in
          guard let context else { return 0 }
          return Unmanaged<StoppedClock>.fromOpaque(context).takeUnretainedValue().nanoseconds
        }, await_readable: { _, _, _ in }))
  }

  deinit { schedule.deallocate() }

  func advance(milliseconds: Int64) { nanoseconds += milliseconds * 1_000_000 }

  /// Runs the body on the calling thread, under the clock. It may do so again inside.
  func run<Value>(_ body: () throws -> Value) rethrows -> Value {
    let isInside = shim_is_scheduled()
    shim_set_schedule(schedule)
    defer { if !isInside { shim_set_schedule(nil) } }
    return try body()
  }
}
