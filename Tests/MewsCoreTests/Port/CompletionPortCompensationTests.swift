import CMewsShims
import Testing

@testable import MewsCore

@Suite("Completion port: slots that change hands from outside")
struct CompletionPortCompensationTests {
  /// A thread that has taken a packet, with its record.
  private func activeThread(_ thread: TestThread, _ port: CompletionPort, key: UInt) -> PortThreadPointer {
    port.post(key: key)
    #expect(thread.get(port) == .packet(key: key))
    return thread.perform { SendablePointer(PortThread.current) }.pointer
  }

  @Test("A slot taken from a thread goes to a waiter at once; the thread has one again with its next packet")
  func release() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let sleeper = activeThread(threads[0], port, key: 1)
        let other = threads[1].park(port)
        #expect(!port.releaseSlot(of: sleeper) { true }, "no packet waits")
        port.post(key: 2)
        #expect(!port.releaseSlot(of: sleeper) { false })
        #expect(port.activeCount == 1 && !other.isFulfilled)
        #expect(port.releaseSlot(of: sleeper) { true })
        #expect(other.value == .packet(key: 2))
        #expect(port.activeCount == 1)
        port.post(key: 3)
        #expect(!port.releaseSlot(of: sleeper) { true }, "it has none")
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .timedOut, "one thread is active already")
        #expect(threads[1].get(port) == .packet(key: 3))
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(port.activeCount == 0)
      }
    }
  }

  @Test("A slot can be given back from outside, even beyond the concurrency value, and is worked off")
  func reclaim() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let sleeper = activeThread(threads[0], port, key: 1)
        let other = threads[1].park(port)
        port.post(key: 2)
        #expect(port.releaseSlot(of: sleeper) { true })
        #expect(other.value == .packet(key: 2))
        #expect(!port.reclaimSlot(of: sleeper) { false })
        #expect(port.reclaimSlot(of: sleeper) { true })
        #expect(!port.reclaimSlot(of: sleeper) { true })
        #expect(port.activeCount == 2)
        port.post(key: 3)
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .packet(key: 3))
        #expect(port.activeCount == 1)
      }
    }
  }

  @Test("Scopes that a thread begins without a slot, and nested ones, change no count")
  func scopes() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let sleeper = activeThread(threads[0], port, key: 1)
        port.post(key: 2)
        #expect(port.releaseSlot(of: sleeper) { true })
        threads[0].perform {
          port.blockingBegin()
          port.blockingBegin()
        }
        #expect(port.activeCount == 0)
        threads[0].perform {
          port.blockingEnd()
          port.blockingEnd()
        }
        #expect(port.activeCount == 0)
        #expect(port.reclaimSlot(of: sleeper) { true })
        threads[0].perform {
          port.blockingBegin()
          port.blockingBegin()
          port.blockingEnd()
        }
        #expect(port.activeCount == 0)
        threads[0].perform { port.blockingEnd() }
        #expect(port.activeCount == 1)
      }
    }
  }

  @Test("A slot of another port is neither taken from a thread nor given to it")
  func otherPort() {
    withPort(concurrency: 1) { port in
      withPort(concurrency: 1) { other in
        withThreads(1) { threads in
          let thread = activeThread(threads[0], port, key: 1)
          _ = activeThread(threads[0], other, key: 2)
          port.post(key: 3)
          #expect(!port.isCounted(thread) && other.isCounted(thread))
          #expect(!port.releaseSlot(of: thread) { true })
          #expect(!port.reclaimSlot(of: thread) { true })
          #expect((port.activeCount, other.activeCount) == (0, 1))
          threads[0].perform { other.blockingBegin() }
          #expect(!port.reclaimSlot(of: thread) { true })
          #expect((port.activeCount, other.activeCount) == (0, 0))
        }
      }
    }
  }

  @Test("A thread that is given a slot within a blocking scope does not have a second one at its end")
  func reclaimWithinScope() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let thread = activeThread(threads[0], port, key: 1)
        threads[0].perform { port.blockingBegin() }
        #expect(port.reclaimSlot(of: thread) { true })
        threads[0].perform { port.blockingEnd() }
        #expect(port.activeCount == 1)
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(port.activeCount == 0)
      }
    }
  }

  @Test("Taking many packets uncovers one that needs no slot: a waiter has it at once")
  func uncovered() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let packets = PacketPointer.allocate(capacity: 3)
        defer { packets.deallocate() }
        for (index, isUncounted) in [false, false, true].enumerated() {
          (packets + index).initialize(to: Packet(key: UInt(index), isUncounted: isUncounted))
        }
        _ = activeThread(threads[0], port, key: 9)
        let waiter = threads[1].park(port)
        for index in 0..<3 { port.post(packets + index) }
        #expect(threads[0].perform { port.takesMany(2) } == [0, 1])
        #expect(waiter.value == .packet(key: 2))
      }
    }
  }

  @Test("Uncounted packets are handed out however many threads are active, in their turn")
  func uncounted() {
    withPort(concurrency: 1) { port in
      withThreads(4) { threads in
        let packets = PacketPointer.allocate(capacity: 4)
        defer { packets.deallocate() }
        for (index, isUncounted) in [false, true, true, false].enumerated() {
          (packets + index).initialize(to: Packet(key: UInt(index), isUncounted: isUncounted))
        }
        _ = activeThread(threads[0], port, key: 9)
        let first = threads[1].park(port)
        let second = threads[2].park(port)
        let third = threads[3].park(port)
        for index in 0..<4 { port.post(packets + index) }
        #expect(port.depth == 4 && port.waiterCount == 3, "the oldest has to wait for its turn")
        #expect(threads[0].get(port) == .packet(key: 0))
        #expect(third.value == .packet(key: 1))
        #expect(second.value == .packet(key: 2))
        #expect((port.activeCount, port.depth) == (1, 1))
        #expect(threads[2].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(threads[0].get(port) == .packet(key: 3))
        #expect((port.activeCount, port.waiterCount) == (1, 1))
        port.close()
        #expect(first.value == .abandoned)
      }
    }
  }

  @Test("The watcher is woken once, when packets are left over")
  func watcher() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        var record = PortThread()
        withUnsafeMutablePointer(to: &record) { record in
          func isWoken() -> Bool { record.pointee.word.load(ordering: .acquiring) == PortThread.released }
          #expect(port.watch(record))
          let waiter = threads[0].park(port)
          port.post(key: 1)
          #expect(waiter.value == .packet(key: 1))
          #expect(!isWoken(), "a thread has it")
          port.post(key: 2)
          #expect(isWoken())
          record.pointee.word.store(PortThread.parked, ordering: .relaxed)
          port.post(key: 3)
          #expect(!isWoken(), "once")
          #expect(!port.watch(record), "packets wait already")
          #expect(port.backlog(limit: 9).isWaiting)
        }
      }
    }
  }

  @Test("What packets wait for: a slot, or a thread")
  func backlog() {
    withPort(concurrency: 2) { port in
      withThreads(1) { threads in
        let packets = PacketPointer.allocate(capacity: 5)
        defer { packets.deallocate() }
        for (index, isUncounted) in [false, true, false, false, true].enumerated() {
          (packets + index).initialize(to: Packet(isUncounted: isUncounted))
          port.post(packets + index)
        }
        let all = port.backlog(limit: 9)
        #expect((all.counted, all.uncounted) == (2, 1), "the third counted one has no slot, and the last is behind it")
        let some = port.backlog(limit: 2)
        #expect((some.counted, some.uncounted) == (1, 1))
        #expect(threads[0].get(port) == .packet(key: 0))
        let rest = port.backlog(limit: 9)
        #expect((rest.counted, rest.uncounted) == (1, 1))
        port.close()
        #expect(!port.backlog(limit: 9).isWaiting)
      }
    }
  }
}

/// A pointer that a test hands from thread to thread.
private struct SendablePointer<Pointee: ~Copyable>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Pointee>

  init(_ pointer: UnsafeMutablePointer<Pointee>) { self.pointer = pointer }
}

extension CompletionPort {
  /// The keys of so many packets at most, which are there.
  fileprivate func takesMany(_ count: Int) -> [UInt] {
    withUnsafeTemporaryAllocation(of: PacketPointer.self, capacity: count) { packets in
      guard let base = packets.baseAddress,
        case .packets(let taken) = getMany(into: base, count: count, timeoutNanoseconds: 0)
      else { return [] }
      return (0..<taken).map { base[$0].pointee.key }
    }
  }
}
