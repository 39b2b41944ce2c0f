import CMews
import CMewsShims
import Glibc
import MewsCore

/// What the server knows of how a route's handler runs: its class, counts, and what was learned.
///
/// It lives as long as the route, in memory of its own. What I/O threads read for every request is written when the
/// class changes; what is written for every request has cache lines of its own for each I/O thread (`RunCell`).
public struct RouteRecord: ~Copyable {
  // Read for every request.
  /// The raw value of the `ExecutionClass`. Atomic.
  private var execution: UInt64
  /// How many runs on workers make one that is measured, less one: a mask. Atomic.
  private var workerMask: UInt64 = 0
  private let cells: UnsafeMutablePointer<UInt64>
  let learning: Unmanaged<RouteLearning>
  private let padding = InlineArray<12, UInt64>(repeating: 0)

  // Written by workers.
  private var workerTick: UInt64 = 0
  private let morePadding = InlineArray<15, UInt64>(repeating: 0)

  // Behind the lock.
  let lock: FutexLock
  var policy: RoutePolicy
  var logLimit = ChangeLogLimit()
  let names: Unmanaged<RouteNames>

  private init(
    policy: RoutePolicy, cells: UnsafeMutablePointer<UInt64>, names: RouteNames, learning: RouteLearning
  ) {
    execution = policy.execution.rawValue
    workerMask = policy.needsEveryRun ? 0 : Self.settledMask
    self.cells = cells
    self.learning = Unmanaged.passRetained(learning)
    lock = FutexLock(spins: false)
    self.policy = policy
    self.names = Unmanaged.passRetained(names)
  }

  /// Makes the record of a route. Any thread.
  ///
  /// - Parameters:
  ///   - names: how the route is named in the log.
  ///   - policy: how its class is found.
  ///   - learning: that of the server whose I/O threads will run it.
  /// - Returns: the record, to be released with `destroy`; nil when memory is exhausted.
  public static func create(_ names: RouteNames, policy: RoutePolicy, learning: RouteLearning) -> RouteRecordPointer? {
    let cellBytes = RunCell.wordCount * MemoryLayout<UInt64>.stride * learning.ioThreads
    guard let cells = aligned_alloc(alignment, cellBytes) else { return nil }
    let size = (MemoryLayout<RouteRecord>.size + alignment - 1) & ~(alignment - 1)
    guard let memory = aligned_alloc(alignment, size) else {
      free(cells)
      return nil
    }
    memset(cells, 0, cellBytes)
    let record = memory.bindMemory(to: RouteRecord.self, capacity: 1)
    record.initialize(
      to: RouteRecord(
        policy: policy,
        cells: cells.bindMemory(to: UInt64.self, capacity: RunCell.wordCount * learning.ioThreads), names: names,
        learning: learning))
    return record
  }

  /// Frees the record. No thread may run the route any more.
  public static func destroy(_ record: RouteRecordPointer) {
    free(record.pointee.cells)
    record.pointee.names.release()
    record.pointee.learning.release()
    record.deinitialize(count: 1)
    free(record)
  }

  private static let alignment = 128
  /// Of the runs on workers of a route that has settled, every eighth is measured.
  private static let settledMask: UInt64 = 7
}

public typealias RouteRecordPointer = UnsafeMutablePointer<RouteRecord>

// MARK: For every request

extension RouteRecord {
  @_noLocks @inline(__always)
  static func cell(_ record: RouteRecordPointer, _ ioThread: Int) -> RunCell {
    RunCell(words: record.pointee.cells + ioThread &* RunCell.wordCount)
  }

  /// The class, as a raw value. Any thread.
  @_noLocks @inline(__always)
  static func execution(_ record: RouteRecordPointer) -> UInt64 {
    shim_load_relaxed(withUnsafeMutablePointer(to: &record.pointee.execution) { $0 })
  }

  /// Counts an inline run, and says how it is measured.
  @_noLocks @inline(__always)
  static func countInline(_ route: UnsafePointer<Route>, _ context: IOContextPointer) -> RunMeasure {
    guard let record = route.pointee.record else { return .none }
    return cell(record, context.pointee.number).countInlineRun()
  }

  /// How the next run on a worker is measured. Workers may overwrite each other's counts: they are only there to choose
  /// by.
  @_noLocks
  static func measureOnWorker(_ record: RouteRecordPointer) -> RunMeasure {
    let word = withUnsafeMutablePointer(to: &record.pointee.workerTick) { $0 }
    let tick = shim_load_relaxed(word) &+ 1
    shim_store_relaxed(word, tick)
    let mask = shim_load_relaxed(withUnsafeMutablePointer(to: &record.pointee.workerMask) { $0 })
    // Scattered, since requests may follow a pattern.
    return ((tick &* 0x9E37_79B9_7F4A_7C15) &>> 32) & mask == 0 ? .usage : .none
  }
}

// MARK: What was seen

extension RouteRecord {
  /// Takes a measured run into account.
  static func observe(_ record: RouteRecordPointer, _ sample: RunSample) {
    let mayPromote = record.pointee.learning._withUnsafeGuaranteedRef { $0.mayPromote }
    update(record) { $0.observe(sample, mayPromote: mayPromote) }
  }

  /// An inline run has not returned for so long that its I/O thread's work was taken over, or should have been. Any
  /// thread, at most once a run.
  public static func didBlockInline(_ record: RouteRecordPointer, nanoseconds: Int64) {
    update(record) { $0.didBlockInline(nanoseconds) }
  }

  /// The handler that the calling thread runs is about to wait: it has called a function that may.
  ///
  /// - Parameter isInline: whether the thread is an I/O thread.
  static func willBlock(_ record: RouteRecordPointer, isInline: Bool) {
    // What is known to block may do so as often as it likes.
    if !isInline && execution(record) == ExecutionClass.blocking.rawValue { return }
    update(record) { $0.didCallBlocking(in: isInline ? .inline : .worker) }
  }

  private static func update(_ record: RouteRecordPointer, _ body: (inout RoutePolicy) -> RoutePolicy.Outcome) {
    record.pointee.lock.lock()
    let outcome = body(&record.pointee.policy)
    shim_store_relaxed(
      withUnsafeMutablePointer(to: &record.pointee.execution) { $0 }, record.pointee.policy.execution.rawValue)
    shim_store_relaxed(
      withUnsafeMutablePointer(to: &record.pointee.workerMask) { $0 },
      record.pointee.policy.needsEveryRun ? 0 : settledMask)
    guard outcome != .unchanged else { return record.pointee.lock.unlock() }
    let policy = record.pointee.policy
    let line = record.pointee.logLimit.admit(at: shim_monotonic_nanoseconds())
    record.pointee.lock.unlock()
    tell(record, outcome, policy, line)
  }
}
