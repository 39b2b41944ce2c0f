import CMewsShims
import MewsCore

/// One run of a route's handler, from before the call to behind it, on one thread: counted, and now and then measured.
struct RouteRun {
  private let record: RouteRecordPointer?
  private let measure: RunMeasure
  private let place: ExecutionClass
  private let cell: RunCell?
  private var startTime: Int64 = 0
  private var cpuTime: Int64 = 0
  private var waits: Int64 = 0

  @_noLocks @inline(__always)
  private init(_ record: RouteRecordPointer?, _ measure: RunMeasure, _ place: ExecutionClass, _ cell: RunCell?) {
    self.record = record
    self.measure = measure
    self.place = place
    self.cell = cell
    if case .none = measure { return }
    begin()
  }

  /// Begins a run on an I/O thread, measured as `RouteRecord.countInline` says.
  @_noLocks @inline(__always)
  static func inline(_ route: UnsafePointer<Route>, _ context: IOContextPointer, _ measure: RunMeasure) -> RouteRun {
    guard case .none = measure else {
      guard let record = route.pointee.record else { return RouteRun(nil, .none, .inline, nil) }
      return RouteRun(record, measure, .inline, RouteRecord.cell(record, context.pointee.number))
    }
    return RouteRun(nil, .none, .inline, nil)
  }

  /// Begins a run on a worker.
  @_noLocks @inline(__always)
  static func beginOnWorker(_ route: UnsafePointer<Route>, isUncounted: Bool) -> RouteRun {
    guard let record = route.pointee.record else { return RouteRun(nil, .none, .worker, nil) }
    return RouteRun(record, RouteRecord.measureOnWorker(record), isUncounted ? .blocking : .worker, nil)
  }

  /// Whether `sample` and `observe` are to follow.
  var isMeasured: Bool {
    @_noLocks @inline(__always) get {
      if case .none = measure { return false }
      return true
    }
  }

  private var measuresUsage: Bool {
    @_noLocks get {
      if case .usage = measure { return true }
      return false
    }
  }

  @_noLocks @inline(never)
  private mutating func begin() {
    if measuresUsage {
      let usage = shim_thread_usage_now()
      cpuTime = usage.cpu_time
      waits = usage.waits
    }
    startTime = shim_monotonic_nanoseconds()
  }

  /// What the run was like. Behind the call, on the thread that has made it.
  @_noLocks @inline(never)
  func sample() -> RunSample {
    let wallTime = shim_monotonic_nanoseconds() &- startTime
    guard measuresUsage else { return RunSample(place: place, wallTime: wallTime, cpuTime: 0, waits: 0) }
    let usage = shim_thread_usage_now()
    return RunSample(
      place: place, wallTime: wallTime, cpuTime: usage.cpu_time &- cpuTime,
      waits: Int(truncatingIfNeeded: usage.waits &- waits))
  }

  /// Takes it into account.
  @_noLocks @inline(never)
  func observe(_ sample: RunSample) {
    guard let record else { return }
    if measuresUsage {
      _unsafePerformance { RouteRecord.observe(record, sample) }
    } else if sample.wallTime > RouteLimits.longRun {
      // Why it took so long is not known: perhaps others had the processor.
      cell?.suspect()
    }
  }
}

extension Route {
  /// The class that a route has now, as a raw value of `ExecutionClass`; 0 for one that is nowhere declared or learned,
  /// which is run on workers.
  @_noLocks @inline(__always)
  static func execution(_ route: UnsafePointer<Route>) -> UInt64 {
    guard let record = route.pointee.record else { return UInt64(route.pointee.execution) }
    return RouteRecord.execution(record)
  }
}
