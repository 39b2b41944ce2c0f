import CMewsShims
import Glibc

@testable import MewsCore

/// A backend for schedules.
protocol ScheduledBackend: OperationBackend {
  static func create(_ random: inout RandomSource) -> Self
  /// What threads of the backend's own do, until it is shut down.
  var helpers: [() -> Void] { get }
}

extension ScheduledBackend {
  var helpers: [() -> Void] { [] }
}

extension MemoryBackend: ScheduledBackend {
  static func create(_ random: inout RandomSource) -> MemoryBackend {
    create(concurrency: 1 + random.below(3), capacity: random.isOne(in: 2) ? .max : 3)
  }
}

extension EpollBackend: ScheduledBackend {
  static func create(_ random: inout RandomSource) -> EpollBackend {
    guard let backend = try? create(concurrency: 1 + random.below(3)) else { preconditionFailure("no port") }
    return backend
  }
}

/// The port over io_uring, whose thread is one of the schedule's.
struct ScheduledRingBackend: SocketBackend, ScheduledBackend {
  let operations: OperationPort

  static func create(concurrency: Int) throws -> ScheduledRingBackend {
    var options = RingThread.Options.tiny
    options.startsThread = false
    return ScheduledRingBackend(
      operations: try OperationPort.create(concurrency: concurrency, backend: .ring, ring: options))
  }

  static func create(_ random: inout RandomSource) -> ScheduledRingBackend {
    guard let backend = try? create(concurrency: 1 + random.below(3)) else { preconditionFailure("no port") }
    return backend
  }

  var helpers: [() -> Void] { [{ operations.state.pointee.parts.ring?.work() }] }
}

/// Threads that start, cancel, close and wait at random, on handles that they share, until one shuts the port down.
final class BackendScenario<Backend: ScheduledBackend>: ScheduledScenario {
  private enum Action: CaseIterable {
    case receive, receiveMore, awaitReadable, send, sendMore, disconnect, accept, connect
    case timer, cancelTimer, cancel, cancelAll, close, replace, post
    case look, wait, waitBriefly, waitForMany
  }

  private let backend: Backend
  private let scheduler: Scheduler
  private let programs: [[Action]]
  private let endsAtRest: Bool
  private var random: RandomSource
  private var ends: [BackendEnd] = []
  private var listener: (handle: Handle, address: [UInt8])?
  private let ledger = OperationLedger()
  private var participants: [Participant]

  init(random: RandomSource, scheduler: Scheduler) {
    var random = random
    self.scheduler = scheduler
    backend = Backend.create(&random)
    endsAtRest = random.isOne(in: 2)
    let threads = 2 + random.below(scheduler.threadCount - 1 - backend.helpers.count)
    programs = (0..<threads).map { _ in
      (0..<3 + random.below(6)).map { _ in Action.allCases[random.below(Action.allCases.count)] }
    }
    participants = Array(repeating: Participant(), count: threads)
    self.random = random
    connectPair()
    listener = backend.listener(key: OperationLedger.listenerKey)
  }

  var bodies: [() -> Void] {
    programs.indices.map { number in
      { [self] in
        participants[number].record = PortThread.current
        let isLast = number == programs.count - 1
        for action in programs[number] { perform(action, number, mayWaitForEver: !isLast) }
        if isLast {
          if endsAtRest { scheduler.awaitQuiescence(number) }
          backend.shutdown { receive($0) }
        }
        backend.port.leave()
      }
    } + backend.helpers
  }

  func inspect() -> String? { backend.port.inspect(participants, hasDriver: true) }

  func inspectQuiescence() -> String? {
    for (number, participant) in participants.enumerated() where participant.isWaiting {
      if participant.record?.pointee.isWaiting != true { return "thread \(number) sleeps although it was released" }
      // A packet of the timer's may be waiting for a slot.
      let isQueueEmpty = backend.port.state.pointee.queue.first == nil
      if isQueueEmpty && ledger.hasTimer && !scheduler.hasDeadline { return "thread \(number) waits, but for no timer" }
    }
    return nil
  }

  func finish() -> String? {
    let open = ends.filter { backend.descriptor($0.handle) != nil }
    backend.close()
    defer { ledger.release() }
    if !open.isEmpty { return "\(open.count) handles are open after the shutdown" }
    return ledger.finding ?? ledger.unfinished
  }

  private func perform(_ action: Action, _ number: Int, mayWaitForEver: Bool) {
    switch action {
    case .receive: start(number) { backend.receive($0.handle, $1.pointer, $1.buffer(2)) }
    case .receiveMore: start(number) { backend.receive($0.handle, $1.pointer, $1.buffer(8)) }
    case .awaitReadable: start(number) { backend.receive($0.handle, $1.pointer, $1.buffer(0)) }
    case .send: send(number, count: 1)
    case .sendMore: send(number, count: 5)
    case .disconnect: start(number) { backend.disconnect($0.handle, $1.pointer) }
    case .accept: accept()
    case .connect: connect()
    case .timer:
      let delay = UInt64(1 + random.below(4))
      ledger.start(key: 5, isTimer: true) { backend.timer($0.pointer, delay: delay, key: 5) }
    case .cancelTimer: if let operation = ledger.any(&random) { _ = backend.cancelTimer(operation) }
    case .cancel: if let operation = ledger.any(&random) { _ = backend.cancel(anyEnd().handle, operation) }
    case .cancelAll: _ = backend.cancel(anyEnd().handle, nil)
    case .close: _ = backend.close(anyEnd().handle)
    case .replace:
      _ = backend.close(anyEnd().handle)
      connectPair()
    case .post: ledger.post { backend.post(key: $0, bytes: 1, operation: nil) }
    case .look: get(number, timeout: 0)
    case .wait: get(number, timeout: mayWaitForEver ? -1 : 3_000_000)
    case .waitBriefly: get(number, timeout: 2_000_000)
    case .waitForMany: get(number, capacity: 3, timeout: mayWaitForEver ? -1 : 3_000_000)
    }
    if let finding = ledger.finding { scheduler.fail(finding) }
  }

  private func start(_ number: Int, _ body: (BackendEnd, LedgerOperation) -> OperationResult) {
    let end = anyEnd()
    ledger.start(key: end.key, stream: end.receives) { body(end, $0) }
  }

  /// What goes through a stream comes from one thread, so that its order is known.
  private func send(_ number: Int, count: Int) {
    let index = random.below(ends.count)
    guard index % programs.count == number else { return }
    let end = ends[index]
    ledger.send(key: end.key, stream: end.sends, count: count) {
      backend.send(end.handle, $0.pointer, $0.buffer(count))
    }
  }

  private func accept() {
    guard let listener else { return }
    ledger.start(key: OperationLedger.listenerKey) { backend.accept(listener.handle, $0.pointer) }
  }

  private func connect() {
    let end = BackendEnd(number: ends.count, receives: ledger.addStream(), sends: ledger.addStream())
    guard let listener, let handle = backend.unconnectedEnd(key: end.key) else { return }
    ledger.start(key: end.key) { backend.connect(handle, $0.pointer, to: listener.address) }
    _ = backend.close(handle)
  }

  private func connectPair() {
    let (there, back) = (ledger.addStream(), ledger.addStream())
    var first = BackendEnd(number: ends.count, receives: back, sends: there)
    var second = BackendEnd(number: ends.count + 1, receives: there, sends: back)
    ends += [first, second]
    guard let handles = backend.connectedPair(first.key, second.key) else { return }
    (first.handle, second.handle) = handles
    ends[first.number] = first
    ends[second.number] = second
  }

  private func anyEnd() -> BackendEnd { ends[random.below(ends.count)] }

  private func get(_ number: Int, capacity: Int = 1, timeout: Int64) {
    participants[number].isWaiting = true
    withUnsafeTemporaryAllocation(of: PortPacket.self, capacity: capacity) { packets in
      guard let base = packets.baseAddress else { return }
      var count = 0
      _ = backend.get(into: base, capacity: capacity, timeoutNanoseconds: timeout, count: &count)
      participants[number].isWaiting = false
      for index in 0..<count { receive(base[index]) }
    }
  }

  private func receive(_ packet: PortPacket) {
    guard let operation = ledger.receive(packet) else { return }
    guard packet.status == 0, Operation.acceptedDescriptor(operation) >= 0 else { return }
    if let handle = backend.acceptedEnd(operation, key: 3) { _ = backend.close(handle) }
  }
}

/// An end of a stream, with the numbers of the two directions.
private struct BackendEnd {
  var number: Int
  var receives: Int
  var sends: Int
  /// None after the port was shut down.
  var handle = Handle(rawValue: 0)

  init(number: Int, receives: Int, sends: Int) {
    self.number = number
    self.receives = receives
    self.sends = sends
  }

  var key: UInt { 100 + UInt(number) }
}
