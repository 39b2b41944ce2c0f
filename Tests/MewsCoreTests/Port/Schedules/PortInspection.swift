import CMewsShims
import Glibc

@testable import MewsCore

/// A thread that takes part in a scenario, as the scenario sees it.
struct Participant {
  /// Its record with the port; nil before it has begun.
  var record: PortThreadPointer?
  /// Differs for every packet that it handles; 0 while it handles none.
  var activity = 0
  /// Whether it is in a wait.
  var isWaiting = false
  /// Whether it may have come to count as active beyond the concurrency value.
  var mayExceed = false
  private var activities = 0

  mutating func receive() {
    activities += 1
    activity = activities
  }
}

extension CompletionPort {
  /// A port for schedules: what it costs to ask for the number of processors is saved.
  static func scheduled(concurrency: Int, spins: Bool, driver: MemoryDriver?) -> CompletionPort {
    guard let memory = aligned_alloc(128, (MemoryLayout<PortState>.size + 127) & ~127) else {
      preconditionFailure("no memory for a port")
    }
    let state = memory.bindMemory(to: PortState.self, capacity: 1)
    state.initialize(to: PortState(concurrency: concurrency, spins: spins, driver: driver?.driver))
    return CompletionPort(state: state)
  }

  /// Looks whether the port is as it promises to be while its lock is free. Says nothing while it is held.
  func inspect(_ participants: [Participant], hasDriver: Bool) -> String? {
    guard state.pointee.lock.tryLock() else { return nil }
    defer { state.pointee.lock.unlock() }
    if let finding = state.pointee.queue.inspectLists() ?? state.pointee.queue.inspectRelease() { return finding }
    var (holders, leaders, excess) = (0, 0, 0)
    for participant in participants {
      guard let record = participant.record else { continue }
      if record.pointee.holdsSlot { holders += 1 }
      if record.pointee.isLeading { leaders += 1 }
      if participant.mayExceed { excess += 1 }
    }
    let active = state.pointee.queue.active
    if active != holders { return "\(active) threads count as active, \(holders) hold a slot" }
    let most = state.pointee.queue.concurrency + excess
    if active > most { return "\(active) threads are active, of \(most) that may, those that came back included" }
    guard hasDriver else { return nil }
    let leader = state.pointee.queue.leader
    if state.pointee.queue.waiters != nil && leader == nil { return "threads wait, and nobody leads" }
    let isRight = leader.map { leaders == 1 && $0.pointee.isLeading } ?? (leaders == 0)
    return isRight ? nil : "\(leaders) threads lead"
  }
}

extension PortQueue {
  /// Looks whether a packet is left that a thread could be released for.
  fileprivate func inspectRelease() -> String? {
    guard let first, waiters != nil else { return nil }
    let isFull = active >= concurrency && first.pointee.isUncounted == 0
    return isFull ? nil : "a packet and a thread wait for each other"
  }

  /// Looks whether the lists are in order, and the counts those of the lists.
  fileprivate func inspectLists() -> String? {
    var packets = 0
    var lastPacket: PacketPointer?
    var nextPacket = first
    while let packet = nextPacket, packets <= depth {
      packets += 1
      lastPacket = packet
      nextPacket = packet.pointee.next
    }
    if packets != depth || lastPacket != last { return "\(packets) packets are queued, \(depth) are counted" }
    var threads = 0
    var previous: PortThreadPointer?
    var nextThread = waiters
    while let thread = nextThread, threads <= waiterCount {
      threads += 1
      if !thread.pointee.isWaiting || thread.pointee.previous != previous { return "the stack of waiters is broken" }
      previous = thread
      nextThread = thread.pointee.next
    }
    if threads != waiterCount || previous != oldestWaiter {
      return "\(threads) threads wait, \(waiterCount) are counted"
    }
    return nil
  }
}

/// Keeps the books on packets: each has a key, and is received or given back exactly once. Those of one lane are posted
/// one after the other, and so each receiver has to get them in that order.
struct PacketLedger {
  private enum Entry: UInt8 {
    case unused, posted, received, givenBack
  }

  private static let perLane = 32
  /// The first thing that was wrong.
  private(set) var finding: String?
  private let packets: PacketPointer
  private var entries: [Entry]
  private var issued: [Int]
  /// By receiver and lane.
  private var lastReceived: [Int]

  init(lanes: Int) {
    packets = .allocate(capacity: lanes * Self.perLane)
    entries = Array(repeating: .unused, count: lanes * Self.perLane)
    issued = Array(repeating: 0, count: lanes)
    lastReceived = Array(repeating: -1, count: lanes * lanes)
  }

  func release() { packets.deallocate() }

  /// The next packet of a lane, which counts as posted from now on.
  mutating func issue(lane: Int) -> PacketPointer {
    let index = lane * Self.perLane + issued[lane]
    issued[lane] += 1
    precondition(issued[lane] <= Self.perLane)
    entries[index] = .posted
    (packets + index).initialize(to: Packet(key: UInt(index)))
    return packets + index
  }

  mutating func chain(lane: Int, count: Int) -> shim_packet_chain {
    var chain = shim_packet_chain()
    for _ in 0..<count { chain.append(issue(lane: lane)) }
    return chain
  }

  /// The post was refused.
  mutating func withdraw(_ key: UInt) { settle(key, .unused, "was refused") }

  mutating func giveBack(_ key: UInt) { settle(key, .givenBack, "came back") }

  mutating func receive(_ key: UInt, by receiver: Int) {
    settle(key, .received, "was received")
    let (lane, number) = Int(key).quotientAndRemainder(dividingBy: Self.perLane)
    let index = receiver * issued.count + lane
    if lastReceived[index] > number { note("packet \(key) came to \(receiver) behind one that was posted later") }
    lastReceived[index] = number
  }

  /// What was posted and never seen again.
  var unaccounted: String? {
    let lost = entries.indices.filter { entries[$0] == .posted }
    return lost.isEmpty ? nil : "packets \(lost) are lost"
  }

  private mutating func settle(_ key: UInt, _ entry: Entry, _ what: String) {
    guard key < UInt(entries.count), entries[Int(key)] == .posted else {
      return note("packet \(key) \(what), but was not on its way")
    }
    entries[Int(key)] = entry
  }

  private mutating func note(_ what: String) {
    if finding == nil { finding = what }
  }
}
