/// Decides how many threads a pool of workers may add for counted packets: a burst at once, then one every 2 ms. So a
/// moment in which all handlers wait for one thing does not fill the process with threads, while handlers that go on
/// sleeping have theirs within a fraction of a second. What is not used is saved up, to a burst again.
///
/// It knows no clock: times are nanoseconds of the caller's.
struct WorkerGrowth {
  private let burst: Int
  private var saved: Int
  /// Up to when saving has been counted.
  private var countedTime: Int64?

  /// How long it takes to save up one thread.
  static var interval: Int64 { 2_000_000 }

  /// - Parameter burst: how many may be added at once.
  init(burst: Int) {
    self.burst = max(1, burst)
    saved = self.burst
  }

  /// Returns how many of the `wanted` threads may be added now.
  mutating func grant(_ wanted: Int, now: Int64) -> Int {
    let last = countedTime ?? now
    let earned = max(0, now &- last) / Self.interval
    saved = min(burst, saved &+ Int(clamping: min(earned, Int64(burst))))
    countedTime = saved == burst ? now : last &+ earned &* Self.interval
    let granted = min(max(0, wanted), saved)
    saved &-= granted
    return granted
  }
}
