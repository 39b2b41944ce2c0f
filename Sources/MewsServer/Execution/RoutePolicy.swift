/// Decides by what its runs were like where the handler of a route is run.
///
/// A learned route starts on workers. It becomes inline after many measured runs of which every single one was short:
/// the tail decides, not the mean. It becomes blocking when most of its last runs slept. An inline run that waits or
/// does not return sends it back to the workers at once, as do two that are long; and from then on it takes twice as
/// many short runs to become inline again, so that a handler that waits once in a thousand runs is tried less and less
/// often, and settles. Where a class is left again, the line is drawn elsewhere than where it is entered.
///
/// A value that knows no clock and no thread: it is fed with samples, and tests feed it with made-up ones.
public struct RoutePolicy: Sendable {
  /// What a sample has led to.
  public enum Outcome: Equatable, Sendable {
    case unchanged
    /// The class is another one now.
    case changed
    /// A route that is inline because somebody said so was seen to wait.
    case waitedInline
  }

  public private(set) var execution: ExecutionClass
  /// Why that is its class.
  public private(set) var reason: RouteReason
  /// How often the class has changed.
  public private(set) var changes = 0
  /// How many short runs in a row make the route inline.
  public private(set) var shortRunsNeeded = Self.fewestShortRuns
  /// How often a route that stays inline was seen to wait.
  public private(set) var inlineWaits = 0
  /// What was seen the last time.
  public private(set) var lastComplaint: RouteReason?
  /// Whether the class is learned.
  public let isLearned: Bool

  /// Runs of the class that have called a function that may wait.
  private var blockingCalls = 0
  private var shortRuns = 0
  private var longestShortRun: Int64 = 0
  private var history = RunHistory()
  private var inlineRecord = InlineRecord()
  /// Samples from workers since the class was entered.
  private var samplesInClass = 0

  /// Short runs in a row before the first promotion, and the most that are ever asked for.
  static let fewestShortRuns = 256
  static let mostShortRuns = 65_536
  /// Of a full history, what makes a route blocking, and what keeps it so.
  static let sleepsToEnter = 24
  static let sleepsToStay = 9
  /// Of a full history, the runs with much CPU time that make a route counted again.
  static let burnsToLeave = 4
  /// After so many samples in a class without a change, a part of the runs is enough.
  static let samplesToSettle = 1_024
  static let samplesToSettleAgain = 64

  /// A route whose class is learned.
  public init() {
    execution = .worker
    reason = .initial
    isLearned = true
  }

  /// A route whose class stays.
  public init(fixed execution: ExecutionClass, because reason: RouteReason) {
    self.execution = execution
    self.reason = reason
    isLearned = false
  }

  /// The policy for a route of a server.
  ///
  /// - Parameter declared: the class that the route was registered with; nil for none.
  public init(declared: ExecutionClass?, options: ServerOptions) {
    switch declared {
    case .inline where options.forcesWorkers: self.init(fixed: .worker, because: .ordered)
    case .some(let execution): self.init(fixed: execution, because: .declared)
    case .none where options.forcesWorkers || !options.learnsExecution: self.init(fixed: .worker, because: .ordered)
    case .none: self.init()
    }
  }

  /// Whether each run on workers is to be measured, or every eighth is enough.
  public var needsEveryRun: Bool {
    isLearned && samplesInClass < (changes == 0 ? Self.samplesToSettle : Self.samplesToSettleAgain)
  }

  /// Why the route has its class, with what is known of its last runs.
  ///
  /// - Parameter mayPromote: whether a route may become inline now.
  public func explanation(mayPromote: Bool) -> String {
    if let lastComplaint { return "\(reason), although \(lastComplaint); seen \(inlineWaits) times" }
    guard isLearned, execution == .worker, history.count > 0 else { return reason.description }
    let now = lastRuns(mayPromote)
    return reason == .initial ? now : "\(reason); \(now)"
  }

  private func lastRuns(_ mayPromote: Bool) -> String {
    if blockingCalls > 0 { return "\(blockingCalls) runs called mews_blocking_begin" }
    if history.waitCount > 0 {
      return "\(history.waitCount) of the last \(history.count) measured runs waited, "
        + "longest \(duration(history.longestWait))"
    }
    let longest = "longest \(duration(history.longestBurn))"
    return mayPromote
      ? "\(shortRuns) of \(shortRunsNeeded) short runs in a row, \(longest)"
      : "\(shortRuns) short runs in a row, \(longest), but nothing becomes inline here"
  }

  /// Takes a measured run into account.
  ///
  /// - Parameter mayPromote: whether a route may become inline now.
  public mutating func observe(_ sample: RunSample, mayPromote: Bool) -> Outcome {
    if sample.place == .inline { return observeInline(sample) }
    // A run that began on a worker before the route became inline says nothing new.
    guard isLearned, execution != .inline else { return .unchanged }
    samplesInClass &+= 1
    history.add(sample)
    countShortRun(sample)
    return execution == .blocking ? observeBlocking() : observeOnWorker(mayPromote)
  }

  /// An inline run has not returned for so long that its I/O thread had to be looked after.
  public mutating func didBlockInline(_ time: Int64) -> Outcome {
    leaveInline(because: .stuckInline(time: time))
  }

  /// A run has called a function that may wait.
  ///
  /// - Parameter place: where it runs.
  public mutating func didCallBlocking(in place: ExecutionClass) -> Outcome {
    shortRuns = 0
    if place == .worker { blockingCalls &+= 1 }
    return place == .inline ? leaveInline(because: .calledBlocking) : .unchanged
  }
}

// MARK: On workers

extension RoutePolicy {
  private mutating func countShortRun(_ sample: RunSample) {
    guard sample.isShort else {
      shortRuns = 0
      longestShortRun = 0
      return
    }
    shortRuns &+= 1
    longestShortRun = max(longestShortRun, sample.cpuTime)
  }

  private mutating func observeOnWorker(_ mayPromote: Bool) -> Outcome {
    if history.isFull, history.sleepCount >= Self.sleepsToEnter {
      let reason = RouteReason.sleeps(
        count: history.sleepCount, of: history.count, longest: history.longestWait)
      return change(to: .blocking, because: reason)
    }
    guard shortRuns >= shortRunsNeeded, mayPromote else { return .unchanged }
    return change(to: .inline, because: .shortRuns(count: shortRuns, longest: longestShortRun))
  }

  private mutating func observeBlocking() -> Outcome {
    guard history.isFull else { return .unchanged }
    if history.burnCount >= Self.burnsToLeave {
      let reason = RouteReason.burns(count: history.burnCount, of: history.count, longest: history.longestBurn)
      return change(to: .worker, because: reason)
    }
    guard history.sleepCount < Self.sleepsToStay else { return .unchanged }
    return change(to: .worker, because: .seldomSleeps(count: history.sleepCount, of: history.count))
  }

  private mutating func change(to execution: ExecutionClass, because reason: RouteReason) -> Outcome {
    self.execution = execution
    self.reason = reason
    changes &+= 1
    blockingCalls = 0
    shortRuns = 0
    longestShortRun = 0
    history = RunHistory()
    inlineRecord = InlineRecord()
    samplesInClass = 0
    return .changed
  }
}

// MARK: Inline

/// What the measured inline runs since a promotion were like.
private struct InlineRecord: Sendable {
  var count = 0
  var waits = 0
  var longRuns = 0
  var longestWait: Int64 = 0
  var longestRun: Int64 = 0
  /// Grows with each run that counts against the route, and shrinks a little with each other.
  var strikes = 0
  /// Runs in a row that did not count against it.
  var goodRuns = 0

  static let strike = 16
  /// A second strike before the first is forgotten.
  static let mostStrikes = 16
  /// After so many good runs, promotion is made easier again.
  static let goodRunsToForgive = 256

  /// True: the run counts against the route.
  mutating func add(_ sample: RunSample) -> Bool {
    count &+= 1
    if sample.hasWaited {
      waits &+= 1
      longestWait = max(longestWait, sample.waitTime)
    } else if sample.cpuTime > RouteLimits.longRun {
      longRuns &+= 1
      longestRun = max(longestRun, sample.cpuTime)
    } else {
      strikes = max(0, strikes &- 1)
      goodRuns &+= 1
      return false
    }
    strikes &+= Self.strike
    goodRuns = 0
    return true
  }

  var reason: RouteReason {
    waits > 0
      ? .waitedInline(count: waits, of: count, longest: longestWait)
      : .longInline(count: longRuns, of: count, longest: longestRun)
  }
}

extension RoutePolicy {
  private mutating func observeInline(_ sample: RunSample) -> Outcome {
    // A run that began before the route left the I/O threads says nothing new.
    guard execution == .inline else { return .unchanged }
    guard inlineRecord.add(sample) else {
      forgive()
      return .unchanged
    }
    // One long wait is enough: it cannot be anybody else's doing. A short one can, and so can a long run: a contended
    // lock of the allocator, a machine that others use, too.
    let isOver = sample.waitTime >= RouteLimits.longWait || inlineRecord.strikes > InlineRecord.mostStrikes
    // Those who said that their route never waits are not told that it is long.
    guard isOver, isLearned || sample.hasWaited else { return .unchanged }
    return leaveInline(because: inlineRecord.reason)
  }

  /// Makes the next promotion easier when inline has been right for long.
  private mutating func forgive() {
    guard inlineRecord.goodRuns >= InlineRecord.goodRunsToForgive else { return }
    inlineRecord.goodRuns = 0
    shortRunsNeeded = max(Self.fewestShortRuns, shortRunsNeeded / 2)
  }

  /// Sends the route back to the workers, or, where its class stays, notes that it should not.
  private mutating func leaveInline(because reason: RouteReason) -> Outcome {
    guard execution == .inline else { return .unchanged }
    guard isLearned else {
      inlineWaits &+= 1
      lastComplaint = reason
      return .waitedInline
    }
    shortRunsNeeded = min(shortRunsNeeded &* 2, Self.mostShortRuns)
    return change(to: .worker, because: reason)
  }
}
