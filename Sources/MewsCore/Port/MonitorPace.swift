/// How long the monitor pauses between two looks: briefly where looks find something to do, longer and longer where
/// they do not, and never so briefly that looking takes more than its share of a CPU. What it does not use it saves up
/// for a while, so that the first looks after a quiet time come fast.
///
/// It knows no clock: times are nanoseconds of the caller's.
struct MonitorPace {
  /// A thread that has been in a handler for less is not worth a look.
  static var shortestPause: Int64 { 200_000 }
  static var longestPause: Int64 { 2_000_000 }
  /// The monitor's share of a CPU is at most one of so many parts: 1.45 %.
  static var shareDivisor: Int64 { 69 }
  /// The CPU time that can be saved up.
  static var largestSaving: Int64 { 1_000_000 }

  private var pause = Self.shortestPause
  private var saving: Int64 = 0
  private var lastTime: Int64
  private var lastCPUTime: Int64

  /// - Parameters:
  ///   - time: the time now.
  ///   - cpuTime: the CPU time that the monitor has used so far.
  init(time: Int64, cpuTime: Int64) {
    lastTime = time
    lastCPUTime = cpuTime
  }

  /// After a quiet time: the next pause is the shortest again.
  mutating func restart() { pause = Self.shortestPause }

  /// Returns how long to pause after a look.
  ///
  /// - Parameter found: whether the look found something to do.
  mutating func pause(found: Bool, time: Int64, cpuTime: Int64) -> Int64 {
    let earned = (time &- lastTime) / Self.shareDivisor
    saving = min(Self.largestSaving, saving &+ earned &- (cpuTime &- lastCPUTime))
    lastTime = time
    lastCPUTime = cpuTime
    let current = found ? Self.shortestPause : pause
    pause = min(Self.longestPause, 2 &* current)
    return max(current, 0 &- saving &* Self.shareDivisor)
  }
}
