import CMews
import Synchronization

/// A timer that was started and can be cancelled.
public struct Timer: Sendable {
  let host: Host
  let handle: mews_timer
  let work: TimerWork

  /// Cancels the timer. True: its closure will not run. False: it ran, is running, or was cancelled before.
  @discardableResult
  public func cancel() -> Bool {
    guard mews_timer_cancel(host.plugin, handle) == .ok else { return false }
    host.forget(work)
    return true
  }
}

/// What the host calls back with: a closure and where it is kept.
final class TimerWork: Sendable {
  let host: Host
  let run: @Sendable () -> Void

  init(host: Host, run: @escaping @Sendable () -> Void) {
    self.host = host
    self.run = run
  }
}

/// The timers whose closures the host may still call. The host holds plain pointers to what is kept alive here, and
/// never says that it dropped a timer because it stops: then all of them go together.
struct PendingTimers {
  private struct Entry {
    let work: TimerWork
    var handle: mews_timer
  }

  private var entries: [ObjectIdentifier: Entry] = [:]

  /// The handles of the timers that were started and have not run.
  var handles: [mews_timer] { entries.values.map(\.handle) }

  mutating func insert(_ work: TimerWork) {
    entries[ObjectIdentifier(work)] = Entry(work: work, handle: 0)
  }

  /// Notes the handle, unless the timer was so fast that its closure ran before the handle was known.
  mutating func set(_ handle: mews_timer, of work: TimerWork) {
    entries[ObjectIdentifier(work)]?.handle = handle
  }

  mutating func remove(_ work: TimerWork) {
    entries[ObjectIdentifier(work)] = nil
  }

  mutating func removeAll() {
    entries.removeAll()
  }
}

extension Host {
  /// Runs a closure once, on a worker, after a delay. Called while the plugin starts, the delay begins when the host
  /// serves.
  ///
  /// - Parameter delay: at least this long, in steps of a millisecond; at most 2^31 milliseconds.
  /// - Throws: ``MewsError`` when the delay is too long, there are 65,536 timers, or the host stops.
  @discardableResult
  public func schedule(after delay: Duration, _ run: @escaping @Sendable () -> Void) throws -> Timer {
    let work = TimerWork(host: self, run: run)
    timers.withLock { $0.insert(work) }
    var handle: mews_timer = 0
    let result = mews_timer_start(
      plugin, delay.wholeMilliseconds,
      { _, context in
        guard let context else { return }
        let work = Unmanaged<TimerWork>.fromOpaque(context).takeUnretainedValue()
        work.host.forget(work)
        work.run()
      }, Unmanaged.passUnretained(work).toOpaque(), &handle)
    guard result == .ok else {
      forget(work)
      throw MewsError(result, "timer")
    }
    timers.withLock { $0.set(handle, of: work) }
    return Timer(host: self, handle: handle, work: work)
  }

  func forget(_ work: TimerWork) {
    timers.withLock { $0.remove(work) }
  }

  /// After the last callback: the host has stopped.
  func forgetTimers() {
    timers.withLock { $0.removeAll() }
  }

  /// For a start that fails: no timer runs before the start is over, so each of them can still be cancelled.
  func cancelTimers() {
    for handle in timers.withLock({ $0.handles }) {
      _ = mews_timer_cancel(plugin, handle)
    }
    forgetTimers()
  }
}

extension Duration {
  /// Milliseconds, rounded up; 0 for what is negative, and the largest value for what does not fit.
  var wholeMilliseconds: UInt64 {
    guard self > .zero else { return 0 }
    let attosecondsPerMillisecond: Int64 = 1_000_000_000_000_000
    let fraction = (components.attoseconds + attosecondsPerMillisecond - 1) / attosecondsPerMillisecond
    let (whole, overflow) = UInt64(components.seconds).multipliedReportingOverflow(by: 1000)
    let (total, carry) = whole.addingReportingOverflow(UInt64(fraction))
    return overflow || carry ? UInt64.max : total
  }
}
