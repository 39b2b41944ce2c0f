import CMewsShims
import Foundation

/// A clock that stands still for the threads that are put under it, unless it is moved or they wait until some time:
/// then it is that time.
final class TestClock: @unchecked Sendable {
  /// Nanoseconds.
  private(set) var now: Int64
  private let schedule = UnsafeMutablePointer<shim_schedule>.allocate(capacity: 1)

  init(now: Int64) {
    self.now = now
    schedule.initialize(
      to: shim_schedule(
        context: Unmanaged.passUnretained(self).toOpaque(), reach: { _, _ in },
        futex_wait: { TestClock.from($0).wait($1, $2, $3) }, futex_wake: { shim_futex_wake_one($1) },
        nanoseconds: { TestClock.from($0).now }, await_readable: { TestClock.from($0).awaitReadable($1, $2) }))
  }

  deinit { schedule.deallocate() }

  /// Runs the body on the calling thread, under the clock.
  func run<Value>(_ body: () throws -> Value) rethrows -> Value {
    shim_set_schedule(schedule)
    defer { shim_set_schedule(nil) }
    return try body()
  }

  func advance(milliseconds: Int64) { now += milliseconds * 1_000_000 }

  private func wait(_ word: UnsafeRawPointer, _ expected: UInt32, _ deadline: Int64) -> Int32 {
    guard deadline >= 0 else { return shim_futex_wait_until(word, expected, -1) }
    now = max(now, deadline)
    return ETIMEDOUT
  }

  private func awaitReadable(_ descriptor: Int32, _ milliseconds: Int32) {
    guard milliseconds != 0, !isReadable(descriptor) else { return }
    guard milliseconds < 0 else { return advance(milliseconds: Int64(milliseconds)) }
    var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    poll(&wanted, 1, -1)
  }

  private static func from(_ context: UnsafeMutableRawPointer?) -> TestClock {
    guard let context else { preconditionFailure("no clock") }
    return Unmanaged<TestClock>.fromOpaque(context).takeUnretainedValue()
  }
}
