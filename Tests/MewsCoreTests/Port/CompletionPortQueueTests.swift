import MewsCore
import Testing

@Suite("Completion port: the queue")
struct CompletionPortQueueTests {
  @Test("Q1: packets of one poster reach one waiter in the order they were posted")
  func firstInFirstOut() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        for key in 1...200 { port.post(key: UInt(key)) }
        #expect(port.depth == 200)
        for key in 1...200 { #expect(threads[0].get(port) == .packet(key: UInt(key))) }
        #expect(port.depth == 0)
      }
    }
  }

  @Test("Q1: a chain of packets keeps its order, behind what was queued before")
  func chainsKeepTheirOrder() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let packets = UnsafeMutablePointer<Packet>.allocate(capacity: 3)
        defer { packets.deallocate() }
        for index in 0..<3 { (packets + index).initialize(to: Packet(key: UInt(index) + 2)) }
        packets[0].next = packets + 1
        packets[1].next = packets + 2
        port.post(key: 1)
        #expect(port.post(first: packets, last: packets + 2, count: 3))
        port.post(key: 5)
        #expect((1...5).map { _ in threads[0].get(port) } == (1...5).map { .packet(key: $0) })
      }
    }
  }

  @Test(
    "Q2: what is posted comes back bit for bit, zeros and nil included",
    arguments: [
      (key: UInt(0), bytes: UInt(0), operation: UInt(0), status: Int32(0)),
      (key: UInt.max, bytes: UInt.max, operation: UInt.max, status: Int32.min),
      (key: 0x0123_4567_89ab_cdef, bytes: 1, operation: 0x10, status: -1),
    ])
  func bitExact(key: UInt, bytes: UInt, operation: UInt, status: Int32) {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let posted = port.post(
          key: key, bytes: bytes, operation: UnsafeMutableRawPointer(bitPattern: operation), status: status)
        #expect(posted == .posted)
        let isExact = threads[0].perform {
          guard case .packet(let packet) = port.get(timeoutNanoseconds: -1) else { return false }
          return packet.pointee.key == key && packet.pointee.bytes == bytes && packet.pointee.status == status
            && UInt(bitPattern: packet.pointee.operation) == operation
        }
        #expect(isExact)
      }
    }
  }

  @Test("Q2: a packet that is used again arrives without anything of its last journey")
  func reusedPacketsAreClean() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        #expect(port.post(key: 1, bytes: 2, operation: UnsafeMutableRawPointer(bitPattern: 3), status: 4) == .posted)
        #expect(threads[0].get(port) == .packet(key: 1))
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(port.post(key: 0, bytes: 0, operation: nil) == .posted)
        let isClean = threads[0].perform {
          guard case .packet(let packet) = port.get(timeoutNanoseconds: -1) else { return false }
          return packet.pointee.key == 0 && packet.pointee.bytes == 0 && packet.pointee.status == 0
            && packet.pointee.operation == nil && packet.pointee.action == nil
        }
        #expect(isClean)
      }
    }
  }

  @Test("Q3: posting needs no waiter, and the depth counts packets that nobody has claimed")
  func depthCountsUnclaimed() {
    withPort(concurrency: 4) { port in
      withThreads(2) { threads in
        for key in 1...3 { port.post(key: UInt(key)) }
        #expect(port.depth == 3)
        #expect(threads[0].get(port) == .packet(key: 1))
        #expect(port.depth == 2)
        #expect(threads[1].get(port) == .packet(key: 2))
        #expect(port.depth == 1)
        #expect(threads[0].get(port) == .packet(key: 3))
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .timedOut)
      }
    }
  }

  @Test("Q4: one call takes what is there and does not wait for more")
  func manyTakesWhatIsThere() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        for key in 1...5 { port.post(key: UInt(key)) }
        #expect(threads[0].getMany(port, count: 3) == .packets([1, 2, 3]))
        #expect(threads[0].getMany(port, count: 3) == .packets([4, 5]))
        #expect(threads[0].getMany(port, count: 3, timeoutNanoseconds: 0) == .other(.timedOut))
      }
    }
  }

  @Test("Q4: a waiter that is released takes what has come since, too")
  func manyAfterAWait() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let packets = UnsafeMutablePointer<Packet>.allocate(capacity: 3)
        defer { packets.deallocate() }
        for index in 0..<3 { (packets + index).initialize(to: Packet(key: UInt(index))) }
        packets[0].next = packets + 1
        packets[1].next = packets + 2
        let batch = threads[0].begin { TestThread.many(port, count: 8, timeoutNanoseconds: -1) }
        #expect(eventually { port.waiterCount == 1 })
        port.post(first: packets, last: packets + 2, count: 3)
        #expect(batch.value == .packets([0, 1, 2]))
      }
    }
  }

  @Test("Q4: room for no packet is an invalid argument, and takes none")
  func manyNeedsRoom() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        port.post(key: 1)
        #expect(threads[0].getMany(port, count: 0) == .invalidArgument)
        #expect(threads[0].getMany(port, count: -1) == .invalidArgument)
        #expect(port.depth == 1)
      }
    }
  }

  @Test("Q4: a thread that holds many packets counts as one active thread")
  func manyCountAsOne() {
    withPort(concurrency: 2) { port in
      withThreads(2) { threads in
        for key in 1...5 { port.post(key: UInt(key)) }
        #expect(threads[0].getMany(port, count: 4) == .packets([1, 2, 3, 4]))
        #expect(port.activeCount == 1)
        #expect(threads[1].get(port) == .packet(key: 5))
        #expect(port.activeCount == 2)
      }
    }
  }
}

/// What a wait for several packets ended with, without pointers.
enum BatchOutcome: Equatable, Sendable {
  case packets([UInt])
  case invalidArgument
  case other(Outcome)
}

extension TestThread {
  func getMany(_ port: CompletionPort, count: Int, timeoutNanoseconds: Int64 = -1) -> BatchOutcome {
    perform { TestThread.many(port, count: count, timeoutNanoseconds: timeoutNanoseconds) }
  }

  static func many(_ port: CompletionPort, count: Int, timeoutNanoseconds: Int64) -> BatchOutcome {
    let packets = UnsafeMutablePointer<PacketPointer>.allocate(capacity: max(count, 1))
    defer { packets.deallocate() }
    switch port.getMany(into: packets, count: count, timeoutNanoseconds: timeoutNanoseconds) {
    case .packets(let taken): return .packets((0..<taken).map { packets[$0].pointee.key })
    case .timedOut: return .other(.timedOut)
    case .abandoned: return .other(.abandoned)
    case .closed: return .other(.closed)
    case .noMemory: return .other(.noMemory)
    case .invalidArgument: return .invalidArgument
    }
  }
}
