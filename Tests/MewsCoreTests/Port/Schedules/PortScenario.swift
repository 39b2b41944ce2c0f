import CMewsShims
import Glibc

@testable import MewsCore

/// Threads that do anything to a completion port, at random, until one of them closes it.
///
/// Half of the ports have a driver. Posts, completions, waits of all kinds, blocking scopes, leaving, and slots that
/// are taken and given back from outside, as the workers' monitor does.
final class PortScenario: ScheduledScenario {
  private enum Action {
    case post(count: Int, isUncounted: Bool)
    case postCopy
    case complete
    case arrive(count: Int)
    case get(timeout: Int64)
    case getMany(timeout: Int64)
    case blockingBegin, blockingEnd
    case leave
    case releaseSlot(of: Int)
    case reclaimSlot(of: Int)
  }

  let port: CompletionPort
  let driver: MemoryDriver?
  private let scheduler: Scheduler
  private let programs: [[Action]]
  private let closesAtTheEnd: Bool
  private var ledger: PacketLedger
  private var participants: [Participant]

  init(random: RandomSource, scheduler: Scheduler) {
    var random = random
    self.scheduler = scheduler
    let threads = 2 + random.below(scheduler.threadCount - 1)
    let driver = random.isOne(in: 2) ? MemoryDriver() : nil
    self.driver = driver
    port = .scheduled(concurrency: 1 + random.below(3), spins: random.isOne(in: 4), driver: driver)
    closesAtTheEnd = random.isOne(in: 2)
    programs = (0..<threads).map { number in
      (0..<2 + random.below(6)).map { _ in
        Self.action(&random, threads: threads, hasDriver: driver != nil, closes: number == threads - 1)
      }
    }
    ledger = PacketLedger(lanes: threads * 2)
    participants = (0..<threads).map { _ in Participant() }
  }

  private static func action(_ random: inout RandomSource, threads: Int, hasDriver: Bool, closes: Bool) -> Action {
    // Whoever closes must not wait for it.
    let timeouts: [Int64] = closes ? [0, 1_000, 5_000] : [0, 1_000, 5_000, -1, -1, -1]
    switch random.below(20) {
    case 0..<4: return .post(count: 1, isUncounted: random.isOne(in: 6))
    case 4: return .post(count: 2 + random.below(2), isUncounted: false)
    case 5: return .postCopy
    case 6: return .complete
    case 7..<9: return hasDriver ? .arrive(count: 1 + random.below(2)) : .post(count: 1, isUncounted: false)
    case 9..<14: return .get(timeout: timeouts[random.below(timeouts.count)])
    case 14: return .getMany(timeout: timeouts[random.below(timeouts.count)])
    case 15: return .blockingBegin
    case 16: return .blockingEnd
    case 17: return .leave
    case 18: return .releaseSlot(of: random.below(threads))
    default: return .reclaimSlot(of: random.below(threads))
    }
  }

  var bodies: [() -> Void] {
    programs.indices.map { number in
      { [self] in
        participants[number].record = PortThread.current
        for action in programs[number] { perform(action, number) }
        if number == programs.count - 1 { close(number) }
        participants[number].activity = 0
        port.leave()
        participants[number].mayExceed = false
      }
    }
  }

  private func close(_ number: Int) {
    if closesAtTheEnd { scheduler.awaitQuiescence(number) }
    port.abandon()
    if driver != nil { port.waitForLeader() }
  }

  func inspect() -> String? { port.inspect(participants, hasDriver: driver != nil) }

  func inspectQuiescence() -> String? {
    guard port.state.pointee.lock.tryLock() else { return "nobody can run, and the port is locked" }
    defer { port.state.pointee.lock.unlock() }
    for (number, participant) in participants.enumerated() where participant.isWaiting {
      guard let record = participant.record, record.pointee.isWaiting else {
        return "thread \(number) sleeps although it was released"
      }
    }
    if let driver, driver.hasWork, port.state.pointee.queue.waiters != nil { return "the leader sleeps over input" }
    return nil
  }

  func finish() -> String? {
    let left = port.state.pointee.queue.first
    var pooled: [UInt] = []
    var embedded: [UInt] = []
    var next = left
    while let packet = next {
      next = packet.pointee.next
      ledger.giveBack(packet.pointee.key)
      if packet.pointee.isPooled != 0 { pooled.append(packet.pointee.key) } else { embedded.append(packet.pointee.key) }
    }
    var returned: [UInt] = []
    next = port.close()
    while let packet = next {
      next = packet.pointee.next
      returned.append(packet.pointee.key)
    }
    next = driver?.takeArrived().first
    while let packet = next {
      next = packet.pointee.next
      ledger.giveBack(packet.pointee.key)
    }
    let counts = (port.activeCount, port.waiterCount, port.depth, port.state.pointee.queue.associatedThreads)
    port.destroy()
    defer { ledger.release() }
    if returned != embedded { return "closing returned \(returned) of \(embedded), beside \(pooled)" }
    if counts != (0, 0, 0, 0) { return "active, waiting, queued and associated in the end: \(counts)" }
    return ledger.finding ?? ledger.unaccounted
  }
}

// MARK: What threads do

extension PortScenario {
  private func perform(_ action: Action, _ number: Int) {
    switch action {
    case .post(let count, let isUncounted): post(count, isUncounted, number)
    case .postCopy:
      let key = ledger.issue(lane: number * 2).pointee.key
      if port.post(key: key, bytes: 1, operation: nil) != .posted { ledger.withdraw(key) }
    case .complete: port.wake(port.complete(ledger.issue(lane: number * 2)))
    case .arrive(let count): driver?.arrive(ledger.chain(lane: number * 2 + 1, count: count))
    case .get(let timeout): get(timeout, number)
    case .getMany(let timeout): getMany(timeout, number)
    case .blockingBegin: port.blockingBegin()
    case .blockingEnd:
      participants[number].mayExceed = true
      port.blockingEnd()
    case .leave:
      participants[number].activity = 0
      port.leave()
      participants[number].mayExceed = false
    case .releaseSlot(let other):
      guard let record = participants[other].record else { return }
      let activity = participants[other].activity
      guard activity != 0 else { return }
      _ = port.releaseSlot(of: record) { participants[other].activity == activity }
    case .reclaimSlot(let other):
      guard let record = participants[other].record else { return }
      let activity = participants[other].activity
      guard activity != 0 else { return }
      participants[other].mayExceed = true
      _ = port.reclaimSlot(of: record) { participants[other].activity == activity }
    }
  }

  private func post(_ count: Int, _ isUncounted: Bool, _ number: Int) {
    let chain = ledger.chain(lane: number * 2, count: count)
    guard let first = chain.first, let last = chain.last else { return }
    if isUncounted { first.pointee.isUncounted = 1 }
    let firstKey = first.pointee.key
    guard !port.post(first: first, last: last, count: count) else { return }
    for key in firstKey..<firstKey + UInt(count) { ledger.withdraw(key) }
  }

  private func get(_ timeout: Int64, _ number: Int) {
    wait(number) {
      if case .packet(let packet) = port.get(timeoutNanoseconds: timeout) { receive(packet, number) }
    }
  }

  private func getMany(_ timeout: Int64, _ number: Int) {
    withUnsafeTemporaryAllocation(of: PacketPointer.self, capacity: 3) { packets in
      guard let base = packets.baseAddress else { return }
      wait(number) {
        if case .packets(let count) = port.getMany(into: base, count: 3, timeoutNanoseconds: timeout) {
          for index in 0..<count { receive(base[index], number) }
        }
      }
    }
  }

  private func wait(_ number: Int, _ body: () -> Void) {
    participants[number].activity = 0
    participants[number].isWaiting = true
    body()
    participants[number].isWaiting = false
    participants[number].mayExceed = false
  }

  private func receive(_ packet: PacketPointer, _ number: Int) {
    participants[number].receive()
    ledger.receive(packet.pointee.key, by: number)
    if let finding = ledger.finding { scheduler.fail(finding) }
  }
}
