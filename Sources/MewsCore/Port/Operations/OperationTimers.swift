import CMewsShims
import Glibc
import Synchronization

/// The timers of an operation port: a timer wheel that any thread may use, and that the leader turns.
struct OperationTimers {
  private struct State: ~Copyable {
    let wheel: TimerWheel
    let lock: FutexLock
    /// When the leader has to turn the wheel: milliseconds, `UInt64.max` for never. Changed under the lock.
    let next = Atomic<UInt64>(UInt64.max)
    /// The operations of the timers that are started.
    var operations = OperationQueue()
    var due = shim_packet_chain()
    var isShut = false
    /// A descriptor that turns readable with `next`; negative until it is asked for.
    var descriptor: Int32 = -1

    init(wheel: TimerWheel, spins: Bool) {
      self.wheel = wheel
      lock = FutexLock(spins: spins)
    }
  }

  private let state: UnsafeMutablePointer<State>

  static func create(spins: Bool) -> OperationTimers? {
    guard let wheel = TimerWheel.create(now: monotonicMilliseconds()) else { return nil }
    guard let memory = malloc(MemoryLayout<State>.size) else {
      wheel.destroy()
      return nil
    }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(to: State(wheel: wheel, spins: spins))
    return OperationTimers(state: state)
  }

  func destroy() {
    state.pointee.wheel.destroy()
    state.deinitialize(count: 1)
    free(state)
  }

  /// When the leader has to call `advance`, in milliseconds; `UInt64.max` for never.
  var nextDeadline: UInt64 {
    @_noLocks @inline(__always) get {
      Interleaving.reach(Interleaving.load)
      return state.pointee.next.load(ordering: .sequentiallyConsistent)
    }
  }

  /// Starts the timer of an operation, at least so many milliseconds from now.
  ///
  /// - Parameter isNext: receives whether the leader has to be back earlier than it knew.
  /// - Returns: false when the timers are shut.
  func start(_ operation: OperationPointer, delay: UInt64, isNext: inout Bool) -> Bool {
    // The clock of the wheel ticks in whole milliseconds; what is begun of one does not count.
    let now = UInt64(truncatingIfNeeded: (MonotonicClock.nanoseconds() &+ 999_999) / 1_000_000)
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    guard !state.pointee.isShut else { return false }
    let timer = shim_operation_timer(operation)
    timer.pointee = Timer(action: Self.complete, context: UnsafeMutableRawPointer(state))
    Operation.setOwner(operation, UnsafeMutableRawPointer(state))
    state.pointee.operations.append(operation)
    state.pointee.wheel.start(timer, deadline: now &+ delay)
    let before = state.pointee.next.load(ordering: .relaxed)
    updateNext()
    isNext = state.pointee.next.load(ordering: .relaxed) < before
    return true
  }

  /// Cancels the timer of an operation. Returns what to release, and whether there was such a timer.
  func cancel(_ operation: OperationPointer, port: CompletionPort) -> (found: Bool, claimed: PortThreadPointer?) {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    // Of an operation that these timers do not hold, nothing else may be read: it may be anybody's.
    guard Operation.owner(operation) == UnsafeMutableRawPointer(state) else { return (false, nil) }
    return (true, port.complete(remove(operation)))
  }

  /// Appends the packets of timers that are due.
  @_noLocks
  func advance(_ completed: inout shim_packet_chain) {
    state.pointee.lock.lock()
    state.pointee.wheel.advance(to: monotonicMilliseconds())
    var packet = state.pointee.due.first
    state.pointee.due = shim_packet_chain()
    updateNext()
    state.pointee.lock.unlock()
    while let current = packet {
      packet = current.pointee.next
      completed.append(current)
    }
  }

  /// Cancels every timer and takes no more.
  func shut(port: CompletionPort) {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    state.pointee.isShut = true
    while let operation = state.pointee.operations.first { _ = port.complete(remove(operation)) }
  }

  /// Has a timerfd show from now on when the wheel has to be turned.
  func show(on descriptor: Int32) {
    state.pointee.lock.lock()
    state.pointee.descriptor = descriptor
    showNext()
    state.pointee.lock.unlock()
  }

  private func remove(_ operation: OperationPointer) -> PacketPointer {
    state.pointee.wheel.cancel(shim_operation_timer(operation))
    state.pointee.operations.remove(operation)
    Operation.setOwner(operation, nil)
    updateNext()
    return Operation.settle(operation, status: OperationStatus.canceled, key: operation.pointee.packet.key)
  }

  @_noLocks
  private func updateNext() {
    let next = state.pointee.wheel.nextDeadline ?? UInt64.max
    guard next != state.pointee.next.load(ordering: .relaxed) else { return }
    state.pointee.next.store(next, ordering: .sequentiallyConsistent)
    if state.pointee.descriptor >= 0 { showNext() }
  }

  @_noLocks
  private func showNext() {
    let next = state.pointee.next.load(ordering: .relaxed)
    let (nanoseconds, overflows) = Int64(truncatingIfNeeded: next).multipliedReportingOverflow(by: 1_000_000)
    shim_timerfd_set(state.pointee.descriptor, next == UInt64.max || overflows ? -1 : nanoseconds)
  }

  /// Runs under the lock, from `advance`.
  private static let complete: @convention(c) (TimerPointer) -> Void = { timer in
    guard let state = timer.pointee.context?.assumingMemoryBound(to: State.self) else { return }
    let operation = shim_operation_of_timer(timer)
    state.pointee.operations.remove(operation)
    Operation.setOwner(operation, nil)
    state.pointee.due.append(
      Operation.settle(operation, status: OperationStatus.done, key: operation.pointee.packet.key))
  }
}

extension OperationPort {
  /// Completes after at least so many milliseconds.
  ///
  /// - Parameters:
  ///   - delay: milliseconds, at most 2^31.
  ///   - key: comes back in the packet.
  public func timer(_ operation: OperationPointer, delay: UInt64, key: UInt) -> OperationResult {
    guard delay <= 1 << 31 else { return .invalidArgument }
    if let refusal = claim(operation, OperationKind.timer) { return refusal }
    operation.pointee.packet.key = key
    var isNext = false
    guard state.pointee.parts.timers.start(operation, delay: delay, isNext: &isNext) else {
      return refuse(operation, .gone)
    }
    Interleaving.reach(Interleaving.load)
    if isNext && state.pointee.isWaiting.load(ordering: .sequentiallyConsistent) { state.pointee.driver.interrupt() }
    return .pending
  }

  /// Cancels a timer.
  ///
  /// - Returns: `done` when its packet comes with `canceled`; `notFound` when it is due already, or was never one.
  public func cancelTimer(_ operation: OperationPointer) -> OperationResult {
    guard !isInChild else { return .unsupported }
    let (found, claimed) = state.pointee.parts.timers.cancel(operation, port: port)
    port.wake(claimed)
    return found ? .done : .notFound
  }
}
