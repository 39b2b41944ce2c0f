/// What was measured of one run of a handler. Times are nanoseconds.
public struct RunSample: Equatable, Sendable {
  /// Where it ran.
  public var place: ExecutionClass
  /// From the call to the return. Other threads and other machines on the same processor make it longer.
  public var wallTime: Int64
  /// What of it the thread had a processor.
  public var cpuTime: Int64
  /// How often the thread went to sleep by its own doing: for a lock, a file, a time.
  public var waits: Int

  @_noLocks
  public init(place: ExecutionClass, wallTime: Int64, cpuTime: Int64, waits: Int) {
    self.place = place
    self.wallTime = wallTime
    self.cpuTime = cpuTime
    self.waits = waits
  }

  /// Whether the run waited at all. The time alone does not say so: a thread that could run may have had no processor.
  var hasWaited: Bool { waits > 0 }

  /// How long it waited at most.
  var waitTime: Int64 { hasWaited ? max(0, wallTime &- cpuTime) : 0 }

  /// Whether an I/O thread could have run it without anybody noticing.
  var isShort: Bool { !hasWaited && cpuTime <= RouteLimits.shortRun }

  /// Whether it was mostly sleep, so that its place among those that run at once was wasted on it.
  var hasSlept: Bool {
    waitTime >= RouteLimits.longWait && cpuTime < RouteLimits.longBurn && cpuTime <= wallTime / 4
  }

  /// Whether it used a processor for so long that the number of such runs at once matters.
  var hasBurned: Bool { cpuTime >= RouteLimits.longBurn }
}

/// Where the lines are drawn between kinds of runs; in nanoseconds.
enum RouteLimits {
  /// The most CPU time of a run that may be inline: three hand-overs to a worker cost about as much.
  static var shortRun: Int64 { @_noLocks get { 50_000 } }
  /// The most that a run which is inline may use before it counts against the route.
  static var longRun: Int64 { @_noLocks get { 200_000 } }
  /// A wait of this length leaves an I/O thread's other connections waiting noticeably.
  static var longWait: Int64 { @_noLocks get { 200_000 } }
  /// A run of more CPU time than this does not belong among those that nobody counts.
  static var longBurn: Int64 { @_noLocks get { 1_000_000 } }
}
