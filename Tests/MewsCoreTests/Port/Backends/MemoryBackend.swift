import CMewsShims
import Glibc

@testable import MewsCore

/// A backend without a system below it: streams are arrays, the time is a test's, and what one thread does completes
/// the operations of others at once. The completion port above it is the real one; what was pending reaches it by way
/// of the thread that leads.
///
/// It says in a simple way what operations mean, and so is what others are compared with.
final class MemoryBackend: OperationBackend, @unchecked Sendable {
  let port: CompletionPort
  let driver = MemoryDriver()
  private let lock = FutexLock(spins: false)
  private var network = MemoryNetwork()
  private var timers: [MemoryTimer] = []
  private var isShut = false

  private init(concurrency: Int, capacity: Int) {
    port = .scheduled(concurrency: concurrency, spins: false, driver: driver)
    network.capacity = capacity
    driver.passTime = { [unowned self] in fireTimers($0, &$1) }
    driver.nextDeadline = { [unowned self] in nextTimer() }
  }

  static func create(concurrency: Int) -> MemoryBackend { MemoryBackend(concurrency: concurrency, capacity: .max) }

  /// - Parameter capacity: how many bytes a stream holds before sends have to wait.
  static func create(concurrency: Int, capacity: Int) -> MemoryBackend {
    MemoryBackend(concurrency: concurrency, capacity: capacity)
  }

  // MARK: Ends

  func connectedPair(_ firstKey: UInt, _ secondKey: UInt) -> (Handle, Handle)? {
    change { _ in
      guard !isShut else { return nil }
      let (first, second) = MemoryEnd.pair()
      return (network.associate(first, firstKey), network.associate(second, secondKey))
    }
  }

  func listener(key: UInt) -> (handle: Handle, address: [UInt8])? {
    change { _ in
      guard !isShut else { return nil }
      let end = MemoryEnd()
      let address = network.bind(end)
      return (network.associate(end, key), address)
    }
  }

  func unconnectedEnd(key: UInt) -> Handle? {
    change { _ in isShut ? nil : network.associate(MemoryEnd(), key) }
  }

  func acceptedEnd(_ operation: OperationPointer, key: UInt) -> Handle? {
    change { changes in
      let end = network.takeAccepted(operation.pointee.descriptor)
      guard isShut else { return network.associate(end, key) }
      end.close(&changes)
      return nil
    }
  }

  func descriptor(_ handle: Handle) -> Int32? {
    change { _ in network.end(handle).map { _ in network.descriptor(handle) } }
  }

  // MARK: Operations

  func accept(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    start(handle, operation, OperationKind.accept) { end, changes in
      end.accepts = { [unowned self] in network.keepAccepted($0) }
      return end.read(MemoryOperation(operation, OperationBuffer()), &changes)
    }
  }

  func connect(_ handle: Handle, _ operation: OperationPointer, to address: [UInt8]) -> OperationResult {
    start(handle, operation, OperationKind.connect) { end, changes in
      guard let listener = network.listener(address) else { return ECONNREFUSED }
      let (near, far) = MemoryEnd.pair()
      end.adopt(near)
      listener.backlog.append(far)
      listener.run(&changes)
      return 0
    }
  }

  func receive(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult {
    let kind = buffer.iov_len > 0 ? OperationKind.receive : OperationKind.awaitReadable
    return start(handle, operation, kind) { $0.read(MemoryOperation(operation, buffer), &$1) }
  }

  func send(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult {
    start(handle, operation, OperationKind.send) { $0.write(MemoryOperation(operation, buffer), &$1) }
  }

  func disconnect(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    start(handle, operation, OperationKind.disconnect) {
      $0.write(MemoryOperation(operation, OperationBuffer()), &$1)
    }
  }

  func cancel(_ handle: Handle, _ operation: OperationPointer?) -> OperationResult {
    change { changes in
      guard let end = network.end(handle) else { return .gone }
      return end.cancel(operation, &changes) ? .done : .notFound
    }
  }

  func close(_ handle: Handle) -> OperationResult {
    change { changes in
      guard let end = network.remove(handle) else { return .gone }
      end.close(&changes)
      return .done
    }
  }

  func timer(_ operation: OperationPointer, delay: UInt64, key: UInt) -> OperationResult {
    guard Operation.claim(operation, kind: OperationKind.timer) else { return .busy }
    let now = (MonotonicClock.nanoseconds() + 999_999) / 1_000_000
    let result: OperationResult = change { _ in
      guard !isShut else { return .gone }
      operation.pointee.packet.key = key
      timers.append(MemoryTimer(operation: operation, deadline: (now + Int64(delay)) * 1_000_000))
      return .pending
    }
    if result == .pending { driver.wakeLeader() } else { Operation.release(operation) }
    return result
  }

  func cancelTimer(_ operation: OperationPointer) -> OperationResult {
    change { changes in
      guard let index = timers.firstIndex(where: { $0.operation == operation }) else { return .notFound }
      timers.remove(at: index)
      changes.cancel(operation, operation.pointee.packet.key)
      return .done
    }
  }

  // MARK: Packets

  func post(key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?) -> OperationResult {
    switch port.post(key: key, bytes: bytes, operation: operation) {
    case .posted: return .done
    case .closed: return .gone
    case .noMemory: return .noMemory
    }
  }

  func get(
    into packets: UnsafeMutablePointer<PortPacket>, capacity: Int, timeoutNanoseconds: Int64, count: inout Int
  ) -> WaitResult {
    count = 0
    switch port.get(timeoutNanoseconds: timeoutNanoseconds) {
    case .packet(let packet): packets.pointee = OperationPort.receive(packet)
    case .timedOut: return .timedOut
    case .abandoned: return .abandoned
    case .closed: return .closed
    case .noMemory: return .noMemory
    }
    count = capacity > 1 ? 1 + port.takeMore(into: packets + 1, capacity: capacity - 1) : 1
    return .packets
  }

  func shutdown(_ sink: (PortPacket) -> Void) {
    port.abandon()
    change { changes in
      isShut = true
      for end in network.removeAll() { end.close(&changes) }
      for timer in timers { changes.cancel(timer.operation, timer.operation.pointee.packet.key) }
      timers = []
    }
    port.waitForLeader()
    port.wake(port.complete(driver.takeArrived()))
    while let packet = port.removeFirst() { sink(packet) }
  }

  func close() { port.destroy() }

  // MARK: What changes hands

  /// Does something with the lock held, and hands over afterwards what it completed.
  private func change<Value>(_ body: (inout MemoryChanges) -> Value) -> Value {
    var changes = MemoryChanges()
    lock.lock()
    let value = body(&changes)
    // With the lock held: a shutdown that comes later finds these.
    let claimed = port.complete(changes.completed)
    driver.arrive(changes.arrived)
    lock.unlock()
    port.wake(claimed)
    return value
  }

  /// Starts an operation.
  ///
  /// - Parameter attempt: does what can be done; 0 when that is all, EAGAIN when the operation waits, or an errno.
  private func start(
    _ handle: Handle, _ operation: OperationPointer, _ kind: UInt8,
    _ attempt: (MemoryEnd, inout MemoryChanges) -> Int32
  ) -> OperationResult {
    guard Operation.claim(operation, kind: kind) else { return .busy }
    return change { changes in
      guard let end = network.end(handle) else {
        Operation.release(operation)
        return .gone
      }
      let error = attempt(end, &changes)
      switch error {
      case 0:
        changes.completed.append(Operation.settle(operation, status: OperationStatus.done, key: end.key))
        return .done
      case EAGAIN: return .pending
      default:
        Operation.release(operation)
        shim_set_errno(error)
        return .system
      }
    }
  }

  private func fireTimers(_ now: Int64, _ completed: inout shim_packet_chain) {
    lock.lock()
    for timer in timers where timer.deadline <= now {
      let key = timer.operation.pointee.packet.key
      completed.append(Operation.settle(timer.operation, status: OperationStatus.done, key: key))
    }
    timers.removeAll { $0.deadline <= now }
    lock.unlock()
  }

  private func nextTimer() -> Int64 {
    lock.lock()
    defer { lock.unlock() }
    return timers.map(\.deadline).min() ?? -1
  }
}

private struct MemoryTimer {
  var operation: OperationPointer
  /// Nanoseconds.
  var deadline: Int64
}
