/// What kinds the last 32 runs of a route were, a bit each.
struct RunHistory: Sendable {
  static let capacity = 32

  private var waited: UInt32 = 0
  private var slept: UInt32 = 0
  private var burned: UInt32 = 0
  /// How many runs there are, up to the capacity.
  private(set) var count = 0
  /// The longest wait and the most CPU time since the history began.
  private(set) var longestWait: Int64 = 0
  private(set) var longestBurn: Int64 = 0

  var isFull: Bool { count == Self.capacity }
  var waitCount: Int { waited.nonzeroBitCount }
  var sleepCount: Int { slept.nonzeroBitCount }
  var burnCount: Int { burned.nonzeroBitCount }

  mutating func add(_ sample: RunSample) {
    waited = waited << 1 | (sample.hasWaited ? 1 : 0)
    slept = slept << 1 | (sample.hasSlept ? 1 : 0)
    burned = burned << 1 | (sample.hasBurned ? 1 : 0)
    count = min(count &+ 1, Self.capacity)
    longestWait = max(longestWait, sample.waitTime)
    longestBurn = max(longestBurn, sample.cpuTime)
  }
}
