import CMewsShims

/// How often one I/O thread has dispatched one route, and which of its inline runs are measured next.
///
/// A pointer in a struct, to words on cache lines of their own, since one of them is written for every request. Whoever
/// does the I/O thread's work writes them; others read the counts, and a run that took long may end on another thread,
/// so all of them are atomic.
struct RunCell {
  private let words: UnsafeMutablePointer<UInt64>

  /// 128 bytes: processors fetch cache lines in pairs.
  static var wordCount: Int { @_noLocks get { 16 } }

  @_noLocks @inline(__always)
  init(words: UnsafeMutablePointer<UInt64>) { self.words = words }

  private var inlineCount: UnsafeMutablePointer<UInt64> { @_noLocks @inline(__always) get { words } }
  private var workerCount: UnsafeMutablePointer<UInt64> { @_noLocks @inline(__always) get { words + 1 } }
  /// The number of the next inline run that is not just counted.
  private var nextSample: UnsafeMutablePointer<UInt64> { @_noLocks @inline(__always) get { words + 2 } }
  /// The number of the inline run of which more than the time is measured, or the next sample behind it.
  private var nextUsage: UnsafeMutablePointer<UInt64> { @_noLocks @inline(__always) get { words + 3 } }
  /// How many runs in a row are still to be measured, because one took long.
  private var suspicion: UnsafeMutablePointer<UInt64> { @_noLocks @inline(__always) get { words + 4 } }

  /// One inline run in so many, on average, has its time taken, and one in so many is measured.
  static var timeInterval: UInt64 { @_noLocks get { 64 } }
  static var usageInterval: UInt64 { @_noLocks get { 1_024 } }
  /// So many runs are measured behind one that took long, which may have been the machine's doing.
  static var suspiciousRuns: UInt64 { @_noLocks get { 8 } }

  /// Runs so far. Any thread.
  var inlineRuns: UInt64 { shim_load_relaxed(inlineCount) }
  var workerRuns: UInt64 { shim_load_relaxed(workerCount) }

  /// Counts a run on a worker.
  @_noLocks @inline(__always)
  func countWorkerRun() { shim_store_relaxed(workerCount, shim_load_relaxed(workerCount) &+ 1) }

  /// Counts an inline run, and says how it is measured.
  @_noLocks @inline(__always)
  func countInlineRun() -> RunMeasure {
    let run = shim_load_relaxed(inlineCount) &+ 1
    shim_store_relaxed(inlineCount, run)
    return run < shim_load_relaxed(nextSample) ? .none : sample(run)
  }

  /// Has the next runs measured.
  @_noLocks
  func suspect() {
    shim_store_relaxed(suspicion, Self.suspiciousRuns)
    shim_store_relaxed(nextSample, 0)
  }

  @_noLocks @inline(never)
  private func sample(_ run: UInt64) -> RunMeasure {
    let suspected = shim_load_relaxed(suspicion)
    guard suspected == 0 else {
      shim_store_relaxed(suspicion, suspected &- 1)
      return .usage
    }
    // At intervals that follow no pattern, since requests may: half the interval to one and a half of it.
    let scattered = (run &* 0x9E37_79B9_7F4A_7C15) &>> 32
    shim_store_relaxed(nextSample, run &+ Self.timeInterval / 2 &+ scattered % Self.timeInterval)
    guard run >= shim_load_relaxed(nextUsage) else { return .time }
    shim_store_relaxed(nextUsage, run &+ Self.usageInterval / 2 &+ scattered % Self.usageInterval)
    return .usage
  }
}

/// How a run is measured.
enum RunMeasure: UInt8 {
  case none
  /// Two readings of the clock.
  case time
  /// CPU time and waits, too: two system calls before the run and two behind it.
  case usage
}
