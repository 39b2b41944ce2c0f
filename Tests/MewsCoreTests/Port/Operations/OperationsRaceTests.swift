import Foundation
import MewsCore
import Synchronization
import Testing

@Suite("Operations: races")
struct OperationsRaceTests {
  @Test(
    "X2: in 100,000 races of a cancellation with data, each operation has one packet and no byte is lost",
    arguments: PortBackend.tested)
  func cancelAgainstData(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let rounds = 100_000
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let race = Race()
      try withThreads(2) { threads in
        let writer = threads[0].begin {
          race.run { round in
            var byte = UInt8(truncatingIfNeeded: round)
            precondition(Glibc.write(theirs, &byte, 1) == 1)
          }
        }
        let canceller = threads[1].begin { race.run { _ in _ = port.cancel(handle, nil) } }
        var outcomes = (received: 0, canceled: 0)
        let operation = TestOperation(capacity: 4)
        for round in 1...rounds {
          try #require(port.receive(handle, operation) == .pending)
          race.start(round)
          var packet = try #require(port.await())
          if packet.status == -14 {
            outcomes.canceled += 1
            race.join(round)
            #expect(packet == .canceled(operation))
            // The byte is there, whether the port has heard of it or not.
            try #require(port.receive(handle, operation).rawValue >= 0)
            packet = try #require(port.await())
          } else {
            outcomes.received += 1
            race.join(round)
          }
          try #require(packet == .done(operation, bytes: 1))
          try #require(operation.bytes.load(as: UInt8.self) == UInt8(truncatingIfNeeded: round))
          try #require(port.next() == nil)
        }
        race.start(-1)
        #expect(writer.value && canceller.value)
        #expect(outcomes.received + outcomes.canceled == rounds)
        #expect(outcomes.received > 0 && outcomes.canceled > 0)
      }
    }
  }

  @Test("X3: while threads wait, handles that close under load complete every operation once, and none of another")
  func closeUnderLoad() throws {
    let workers = 3
    let rounds = 3000
    let port = try OperationPort.create(concurrency: 2)
    defer { port.close() }
    let seen = Guarded<[UInt64: Int]>([:])
    try withThreads(workers) { threads in
      let counts = threads.map { thread in
        thread.begin { () -> Int in
          var packets = [PortPacket](repeating: PortPacket(), count: 8)
          var total = 0
          var count = 0
          while packets.withUnsafeMutableBufferPointer({ buffer in
            port.get(into: buffer.baseAddress!, capacity: 8, timeoutNanoseconds: -1, count: &count) == .packets
          }) {
            total += count
            seen.withLock { for packet in packets[..<count] { $0[packet.key, default: 0] += 1 } }
          }
          return total
        }
      }
      // The operations of a round have its key: a packet too many, or of another handle, shows as a wrong count.
      for round in 0..<rounds {
        let (ours, theirs) = socketPair()
        let handle = port.handle(ours, key: UInt(round))
        for _ in 0..<3 { try #require(port.receive(handle, TestOperation(capacity: 1)) == .pending) }
        if round % 2 == 0 { write("xy", to: theirs) }
        if round % 3 == 0 { _ = port.cancel(handle, nil) }
        #expect(port.close(handle) == .done)
        close(theirs)
      }
      #expect(eventually { seen.withLock { $0.values.reduce(0, +) } == 3 * rounds })
      #expect(eventually { port.port.waiterCount == workers })
      port.shutdown { _ in Issue.record("a packet is left") }
      #expect(counts.map(\.value).reduce(0, +) == 3 * rounds)
      #expect(seen.withLock { $0.count } == rounds)
      #expect(seen.withLock { $0.values.allSatisfy { $0 == 3 } })
    }
  }

  @Test("Echo between threads of one port: every byte comes back in order", arguments: [1, 2, 4])
  func echo(concurrency: Int) throws {
    let port = try OperationPort.create(concurrency: concurrency)
    defer { port.close() }
    let connections = 8
    let messages = 400
    try withThreads(3) { threads in
      for thread in threads { _ = thread.begin { EchoThread.run(port) } }
      var peers: [Int32] = []
      for _ in 0..<connections {
        let (ours, theirs) = socketPair()
        let operation = TestOperation(capacity: 512)
        let key = UInt(bitPattern: Unmanaged.passRetained(operation).toOpaque())
        let handle = port.handle(ours, key: key)
        EchoThread.handles.withLock { $0[UInt64(key)] = handle }
        try #require(port.receive(handle, operation) == .pending)
        peers.append(theirs)
      }
      for message in 0..<messages {
        let text = "message \(message) of the echo"
        for peer in peers { write(text, to: peer) }
        for peer in peers {
          var received = ""
          while received.utf8.count < text.utf8.count { received += read(from: peer) }
          try #require(received == text)
        }
      }
      port.shutdown { _ in }
      for peer in peers { close(peer) }
    }
  }
}

/// Has threads do something at the same moment, round by round.
private final class Race: Sendable {
  private let round = Atomic<Int>(0)
  private let finished = Atomic<Int>(0)

  func start(_ number: Int) { round.store(number, ordering: .releasing) }

  /// Waits until two runners are done with a round.
  func join(_ number: Int) {
    while finished.load(ordering: .acquiring) < 2 * number { sched_yield() }
  }

  /// Runs the body once a round until one is negative.
  func run(_ body: (Int) -> Void) -> Bool {
    var done = 0
    while true {
      let next = round.load(ordering: .acquiring)
      if next < 0 { return true }
      guard next > done else {
        sched_yield()
        continue
      }
      body(next)
      done = next
      finished.add(1, ordering: .acquiringAndReleasing)
    }
  }
}

/// Receives, sends back, and receives again.
private enum EchoThread {
  static let handles = Guarded<[UInt64: Handle]>([:])

  static func run(_ port: OperationPort) {
    var packet = PortPacket()
    var count = 0
    while port.get(into: &packet, capacity: 1, timeoutNanoseconds: -1, count: &count) == .packets {
      guard packet.status == 0, let pointer = UnsafeRawPointer(bitPattern: UInt(packet.key)),
        let handle = handles.withLock({ $0[packet.key] })
      else { continue }
      let operation = Unmanaged<TestOperation>.fromOpaque(pointer).takeUnretainedValue()
      let isReceive = operation.pointer.pointee.kind == 3
      if isReceive && packet.bytes > 0 {
        _ = port.send(handle, operation, Int(packet.bytes))
      } else if !isReceive {
        _ = port.receive(handle, operation)
      }
    }
  }
}
