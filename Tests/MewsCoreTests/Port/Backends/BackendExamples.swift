import CMewsShims

@testable import MewsCore

/// Two threads start a timer each while a third is about to wait for them, whatever time it takes.
final class TimerExample<Backend: ScheduledBackend>: ScheduledScenario {
  private let backend: Backend
  private let ledger = OperationLedger()
  private let delays: [UInt64]

  init(random: RandomSource, scheduler: Scheduler) {
    var random = random
    backend = Backend.create(&random)
    delays = [UInt64(1 + random.below(3)), UInt64(1 + random.below(3))]
  }

  var bodies: [() -> Void] {
    let starts = delays.map { delay in
      { [self] in ledger.start(key: 5) { backend.timer($0.pointer, delay: delay, key: 5) } }
    }
    return starts + [
      { [self] in
        for _ in delays { if let packet = backend.next(timeoutNanoseconds: -1) { _ = ledger.receive(packet) } }
        backend.port.leave()
      }
    ]
  }

  func finish() -> String? {
    defer { ledger.release() }
    let unfinished = ledger.unfinished
    backend.shutdown { _ in }
    backend.close()
    return ledger.finding ?? unfinished
  }
}

/// Handles are made, and operations and timers started, while the port is shut down.
final class ShutdownExample<Backend: ScheduledBackend>: ScheduledScenario {
  private let backend: Backend
  private let ledger = OperationLedger()
  private var handles: [Handle] = []

  init(random: RandomSource, scheduler: Scheduler) {
    var random = random
    backend = Backend.create(&random)
  }

  var bodies: [() -> Void] {
    [
      { [self] in
        guard let (first, second) = backend.connectedPair(1, 2) else { return }
        handles += [first, second]
        ledger.start(key: 1) { backend.receive(first, $0.pointer, $0.buffer(1)) }
        ledger.start(key: 2) { backend.send(second, $0.pointer, $0.buffer(1)) }
      },
      { [self] in ledger.start(key: 5) { backend.timer($0.pointer, delay: 1, key: 5) } },
      { [self] in backend.shutdown { _ = ledger.receive($0) } },
      { [self] in
        while let packet = backend.next(timeoutNanoseconds: -1) { _ = ledger.receive(packet) }
        backend.port.leave()
      },
    ] + backend.helpers
  }

  func finish() -> String? {
    defer { ledger.release() }
    let open = handles.filter { backend.descriptor($0) != nil }
    backend.close()
    if !open.isEmpty { return "\(open.count) handles are open after the shutdown" }
    return ledger.finding ?? ledger.unfinished
  }
}
