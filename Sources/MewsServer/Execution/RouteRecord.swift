import CMews
import CMewsShims
import Glibc
import MewsCore
import Synchronization

/// What the server knows of how a route's handler runs: its class, counts, and what was learned.
///
/// It lives as long as the route, in memory of its own. What I/O threads read for every request is written when the
/// class changes; what is written for every request has cache lines of its own for each I/O thread (`RunCell`).
public struct RouteRecord: ~Copyable {
  // Read for every request.
  /// The raw value of the `ExecutionClass`.
  private let execution: Atomic<UInt64>
  /// How many runs on workers make one that is measured, less one: a mask.
  private let workerMask: Atomic<UInt64>
  private let cells: UnsafeMutablePointer<UInt64>
  let learning: Unmanaged<RouteLearning>
  private let padding = InlineArray<12, UInt64>(repeating: 0)

  // Written by workers.
  private let workerTick = Atomic<UInt64>(0)
  private let morePadding = InlineArray<15, UInt64>(repeating: 0)

  let lock = FutexLock(spins: false)
  let guarded: UnsafeMutablePointer<Guarded>
  let names: Unmanaged<RouteNames>

  /// What is behind the lock. Memory of its own, since a change in place claims, for the thread sanitizer, the
  /// beginning of what it is in: that of the record is read without the lock.
  struct Guarded {
    var policy: RoutePolicy
    var logLimit = ChangeLogLimit()
  }

  private init(
    guarded: UnsafeMutablePointer<Guarded>, cells: UnsafeMutablePointer<UInt64>, names: RouteNames,
    learning: RouteLearning
  ) {
    let policy = guarded.pointee.policy
    execution = Atomic(policy.execution.rawValue)
    workerMask = Atomic(Self.workerMask(policy))
    self.cells = cells
    self.learning = Unmanaged.passRetained(learning)
    self.guarded = guarded
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
    let cellWords = RunCell.wordCount * learning.ioThreads
    let cellBytes = cellWords * MemoryLayout<UInt64>.stride
    let size = (MemoryLayout<RouteRecord>.size + alignment - 1) & ~(alignment - 1)
    let allocations = (
      record: aligned_alloc(alignment, size), cells: aligned_alloc(alignment, cellBytes),
      guarded: malloc(MemoryLayout<Guarded>.size)
    )
    guard let memory = allocations.record, let cells = allocations.cells, let guardedMemory = allocations.guarded else {
      free(allocations.record)
      free(allocations.cells)
      free(allocations.guarded)
      return nil
    }
    memset(cells, 0, cellBytes)
    let guarded = guardedMemory.bindMemory(to: Guarded.self, capacity: 1)
    guarded.initialize(to: Guarded(policy: policy))
    let record = memory.bindMemory(to: RouteRecord.self, capacity: 1)
    record.initialize(
      to: RouteRecord(
        guarded: guarded, cells: cells.bindMemory(to: UInt64.self, capacity: cellWords), names: names,
        learning: learning))
    return record
  }

  /// Frees the record. No thread may run the route any more.
  public static func destroy(_ record: RouteRecordPointer) {
    free(record.pointee.cells)
    record.pointee.guarded.deinitialize(count: 1)
    free(record.pointee.guarded)
    record.pointee.names.release()
    record.pointee.learning.release()
    record.deinitialize(count: 1)
    free(record)
  }

  private static let alignment = 128
  /// Of the runs on workers of a route that has settled, every eighth is measured.
  private static let settledMask: UInt64 = 7

  private static func workerMask(_ policy: RoutePolicy) -> UInt64 { policy.needsEveryRun ? 0 : settledMask }
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
    record.pointee.execution.load(ordering: .relaxed)
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
    let tick = record.pointee.workerTick.load(ordering: .relaxed) &+ 1
    record.pointee.workerTick.store(tick, ordering: .relaxed)
    let mask = record.pointee.workerMask.load(ordering: .relaxed)
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
    let guarded = record.pointee.guarded
    let outcome = body(&guarded.pointee.policy)
    let policy = guarded.pointee.policy
    record.pointee.execution.store(policy.execution.rawValue, ordering: .relaxed)
    record.pointee.workerMask.store(workerMask(policy), ordering: .relaxed)
    guard outcome != .unchanged else { return record.pointee.lock.unlock() }
    let line = guarded.pointee.logLimit.admit(at: shim_monotonic_nanoseconds())
    record.pointee.lock.unlock()
    tell(record, outcome, policy, line)
  }
}
