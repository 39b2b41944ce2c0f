/// Decides how many threads a pool of workers may add for counted packets: a burst at once, then one at a time with
/// pauses that grow, so that handlers which all wait for one thing do not fill the process with threads. After a second
/// without need it starts over.
///
/// It knows no clock: times are nanoseconds of the caller's.
struct WorkerGrowth {
  private let burst: Int
  private var added = 0
  private var nextTime = Int64.min
  private var lastNeed = Int64.min

  /// The pause after the burst, and by how much it is longer after as many additions as the burst again.
  static var pauseStep: Int64 { 25_000_000 }
  static var longestPause: Int64 { 250_000_000 }
  static var forgetAfter: Int64 { 1_000_000_000 }

  /// - Parameter burst: how many may be added at once.
  init(burst: Int) {
    self.burst = max(1, burst)
  }

  /// Returns how many of the `wanted` threads may be added now.
  mutating func grant(_ wanted: Int, now: Int64) -> Int {
    guard wanted > 0 else { return 0 }
    if now &- Self.forgetAfter > lastNeed { added = 0 }
    lastNeed = now
    var granted = 0
    while granted < wanted, added < burst || now >= nextTime {
      added &+= 1
      granted &+= 1
      nextTime = now &+ pause
    }
    return granted
  }

  private var pause: Int64 {
    let steps = Int64(max(0, added &- burst) / burst &+ 1)
    return min(Self.longestPause, steps &* Self.pauseStep)
  }
}
