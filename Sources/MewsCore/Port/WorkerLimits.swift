/// How many threads a pool of workers has. How many of them run at once is the port's concurrency value, not theirs.
public struct WorkerLimits: Sendable {
  /// Threads that are there from the start and stay.
  public var minimum: Int
  /// There are never more threads than that, those included that sleep inside of a handler.
  public var maximum: Int
  /// How many may be added at once, before additions are spread over time.
  public var burst: Int
  /// How long a thread above the minimum waits for a packet before it ends, in nanoseconds.
  public var idleNanoseconds: Int64 = 10_000_000_000

  /// The maximum where nobody asked for another: memory and scheduling of so many threads are no burden yet, and
  /// handlers that sleep for 10 ms are run more than 50,000 times a second.
  public static let defaultMaximum = 512

  /// The limits that suit a port: a thread in reserve for each that may run, so that there is one to take the place of
  /// each that blocks.
  ///
  /// - Parameter maximum: 0 for the default. Less than the concurrency value is raised to that.
  public init(concurrency: Int, maximum: Int = 0) {
    let twice = concurrency.addingReportingOverflow(concurrency)
    let reserve = twice.overflow ? Int.max : twice.partialValue
    self.maximum = maximum > 0 ? max(maximum, concurrency) : max(Self.defaultMaximum, reserve)
    minimum = min(reserve, self.maximum)
    burst = concurrency
  }

  /// The most threads that any pool can have.
  static let largestMaximum = 65_536

  var areValid: Bool {
    minimum > 0 && minimum <= maximum && maximum <= Self.largestMaximum && burst > 0 && idleNanoseconds > 0
  }
}
