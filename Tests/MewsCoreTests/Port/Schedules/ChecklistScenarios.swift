import Synchronization

@testable import MewsCore

/// What threads of a schedule wait at until it is opened.
final class ScheduleGate: @unchecked Sendable {
  private let word = Atomic<UInt32>(0)

  func open() {
    word.store(1, ordering: .releasing)
    // The thread that is woken wakes the next.
    Futex.wakeOne(address)
  }

  func pass() {
    while word.load(ordering: .acquiring) == 0 { _ = Futex.wait(on: address, while: 0, until: -1) }
    Futex.wakeOne(address)
  }

  private var address: UnsafeRawPointer { withUnsafePointer(to: word) { UnsafeRawPointer($0) } }
}

/// A port on which threads do the same under every schedule.
class PortExample: ScheduledScenario {
  class var concurrency: Int { 1 }
  class var hasDriver: Bool { false }

  let port: CompletionPort
  let driver: MemoryDriver?
  let scheduler: Scheduler
  var random: RandomSource
  var received: [UInt] = []
  private(set) var participants = Array(repeating: Participant(), count: 4)

  required init(random: RandomSource, scheduler: Scheduler) {
    self.random = random
    self.scheduler = scheduler
    driver = Self.hasDriver ? MemoryDriver() : nil
    port = .scheduled(concurrency: Self.concurrency, spins: false, driver: driver)
  }

  /// One of four threads.
  func thread(_ number: Int) {}

  /// Looks at what the threads have left behind.
  func result() -> String? { nil }

  final var bodies: [() -> Void] {
    participants.indices.map { number in
      { [self] in
        participants[number].record = PortThread.current
        thread(number)
        port.leave()
        participants[number].mayExceed = false
      }
    }
  }

  final func inspect() -> String? { port.inspect(participants, hasDriver: Self.hasDriver) }

  final func finish() -> String? {
    let finding = result()
    port.destroy()
    return finding
  }

  final func expect(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { scheduler.fail(what()) }
  }

  @discardableResult
  final func get(_ number: Int, _ timeout: Int64 = -1) -> Outcome {
    let outcome = Outcome(port.get(timeoutNanoseconds: timeout))
    participants[number].mayExceed = false
    if case .packet(let key) = outcome { received.append(key) }
    return outcome
  }

  final func blockingEnd(_ number: Int) {
    participants[number].mayExceed = true
    port.blockingEnd()
  }

  /// The numbers of active and of waiting threads, and of packets, when no other thread can run.
  final func countsAtRest(_ number: Int) -> [Int] {
    scheduler.awaitQuiescence(number)
    return [port.activeCount, port.waiterCount, port.depth]
  }
}

/// C3: one thread handles a packet and has two more come; others look for packets meanwhile.
final class LimitExample: PortExample {
  private let begun = ScheduleGate()
  private var isHandling = false

  override func thread(_ number: Int) {
    guard number == 0 else {
      begun.pass()
      for _ in 0..<2 {
        let before = isHandling
        let outcome = get(number, number == 3 ? 2_000 : 0)
        if before && isHandling { expect(outcome == .timedOut, "\(outcome) beyond the limit") }
        port.leave()
      }
      return
    }
    port.post(key: 1)
    expect(get(0) == .packet(key: 1), "not the first packet")
    isHandling = true
    begun.open()
    port.post(key: 2)
    port.post(key: 3)
    expect(get(0, 0) == .packet(key: 2), "the slot went to another")
    expect(get(0, 0) == .packet(key: 3), "the slot went to another")
    isHandling = false
  }

  override func result() -> String? { received == [1, 2, 3] ? nil : "received \(received)" }
}

/// C4: two threads wait, two packets are posted quickly.
final class QuickPostsExample: PortExample {
  private let mayGoOn = ScheduleGate()

  override func thread(_ number: Int) {
    switch number {
    case 0, 1:
      guard case .packet = get(number) else { return }
      mayGoOn.pass()
      expect(get(number, 0) == .packet(key: 2), "the second packet did not wait for the slot")
      get(number)
    case 2:
      expect(countsAtRest(2) == [0, 2, 0], "two threads do not wait")
      port.post(key: 1)
      port.post(key: 2)
      expect(countsAtRest(2) == [1, 1, 1], "two posts released another number of threads than one")
      mayGoOn.open()
      expect(countsAtRest(2) == [0, 2, 0], "the second packet did not go to the active thread")
      port.close()
    default: break
    }
  }

  override func result() -> String? { received == [1, 2] ? nil : "received \(received)" }
}

/// C5: a thread blocks while two wait and two packets are queued, and comes back.
final class BlockingExample: PortExample {
  private let isRunning = ScheduleGate()
  private let blockerMayGoOn = ScheduleGate()
  private let otherMayGoOn = ScheduleGate()

  override func thread(_ number: Int) {
    switch number {
    case 0:
      port.post(key: 1)
      expect(get(0) == .packet(key: 1), "not the first packet")
      isRunning.open()
      expect(countsAtRest(0) == [1, 2, 0], "two threads do not wait")
      port.post(key: 2)
      port.post(key: 3)
      port.blockingBegin()
      blockingEnd(0)
      blockerMayGoOn.pass()
      expect(get(0, 0) == .packet(key: 3), "the third packet went to another")
    case 1, 2:
      isRunning.pass()
      guard case .packet = get(number) else { return }
      otherMayGoOn.pass()
      get(number)
    default:
      isRunning.pass()
      while received.count < 2 { _ = countsAtRest(3) }
      expect(countsAtRest(3) == [2, 1, 1], "a block did not release one thread, or its end did not count")
      otherMayGoOn.open()
      expect(countsAtRest(3) == [1, 2, 1], "the excess was not worked off")
      blockerMayGoOn.open()
      _ = countsAtRest(3)
      port.close()
    }
  }

  override func result() -> String? { received == [1, 2, 3] ? nil : "received \(received)" }
}

/// C8: waits end while packets are posted.
final class TimeoutExample: PortExample {
  override class var concurrency: Int { 3 }
  private var timedOut = 0

  override func thread(_ number: Int) {
    guard number == 3 else {
      for round in 1...2 where get(number, Int64(round) * 1_000) == .timedOut { timedOut += 1 }
      return
    }
    for key in 1...3 {
      port.post(key: UInt(key))
      // Time passes here as well.
      get(3, 700)
    }
  }

  override func result() -> String? {
    var left: [UInt] = []
    while case .packet(let packet) = port.get(timeoutNanoseconds: 0) { left.append(packet.pointee.key) }
    port.leave()
    return (received + left).sorted() == [1, 2, 3] ? nil : "received \(received), left \(left), \(timedOut) timed out"
  }
}

/// P1: a port is closed while three threads wait and post; with a driver, one of them leads.
class CloseExample: PortExample {
  override class var concurrency: Int { 2 }
  private var posted: [UInt] = []

  override func thread(_ number: Int) {
    if number == 3 {
      if random.isOne(in: 2) { scheduler.awaitQuiescence(3) }
      port.abandon()
      if Self.hasDriver { port.waitForLeader() }
      expect(port.waiterCount == 0, "threads wait on a closed port")
    } else {
      let key = UInt(number + 1)
      posted.append(key)
      if case .closed = port.post(key: key, bytes: 0, operation: nil) { posted.removeAll { $0 == key } }
      while case .packet = get(number) {}
    }
    if number == 3 || port.state.pointee.queue.isClosed {
      expect(get(number) == .closed, "a later wait did not find the port closed")
      expect(port.post(key: 9, bytes: 0, operation: nil) == .closed, "a post to a closed port was taken")
    }
  }

  override func result() -> String? {
    var left: [UInt] = []
    while let packet = port.removeFirst() { left.append(UInt(packet.key)) }
    return (received + left).sorted() == posted.sorted() ? nil : "posted \(posted), received \(received), left \(left)"
  }
}

final class CloseLedExample: CloseExample {
  override class var hasDriver: Bool { true }
}

/// Input arrives while three threads wait, some not for long: whoever leads, another follows.
final class LeaderExample: PortExample {
  override class var concurrency: Int { 2 }
  override class var hasDriver: Bool { true }
  private static let count = 5
  private var ledger = PacketLedger(lanes: 1)

  override func thread(_ number: Int) {
    if number == 3 {
      var left = Self.count
      while left > 0 {
        let count = min(left, 1 + random.below(2))
        driver?.arrive(ledger.chain(lane: 0, count: count))
        left -= count
      }
      return
    }
    var patience = 6
    while received.count < Self.count {
      // One always waits on, so that time comes to an end.
      let isBrief = patience > 0 && number != 0
      patience -= 1
      let outcome = get(number, isBrief ? 1_000 : -1)
      if outcome == .abandoned || outcome == .closed { return }
    }
    port.abandon()
  }

  override func result() -> String? {
    ledger.release()
    let expected = (0..<UInt(Self.count)).map { $0 }
    return received.sorted() == expected ? nil : "received \(received)"
  }
}
