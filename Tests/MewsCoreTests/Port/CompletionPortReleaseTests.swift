import CMewsShims
import Testing

@testable import MewsCore

@Suite("Completion port: release and concurrency")
struct CompletionPortReleaseTests {
  @Test("C1: waiters are released last in, first out")
  func lastInFirstOut() {
    withPort(concurrency: 2) { port in
      withThreads(2) { threads in
        let early = threads[0].park(port)
        let late = threads[1].park(port)
        port.post(key: 3)
        port.post(key: 4)
        #expect(late.value == .packet(key: 3))
        #expect(early.value == .packet(key: 4))
        port.post(key: 5)
        #expect(threads[0].get(port) == .packet(key: 5))
      }
    }
  }

  @Test("C2: a concurrency of zero means the CPUs that the process may use")
  func zeroMeansProcessors() {
    withPort(concurrency: 0) { port in
      #expect(port.concurrency == ProcessorCount.available)
    }
    withPort(concurrency: 7) { port in
      #expect(port.concurrency == 7)
    }
  }

  @Test("C3: at the limit, packets are out of reach for other threads")
  func limitHoldsPacketsBack() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        port.post(key: 1)
        port.post(key: 2)
        #expect(threads[0].get(port) == .packet(key: 1))
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(threads[1].get(port, timeoutNanoseconds: 1_000_000) == .timedOut)
        #expect(port.depth == 1)
      }
    }
  }

  @Test("C3: the active thread's next call returns the next packet, without a block or a switch")
  func activeThreadGoesOn() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let other = threads[1].park(port)
        port.post(key: 1)
        #expect(other.value == .packet(key: 1))
        let idle = threads[0].park(port)
        port.post(key: 2)
        port.post(key: 3)
        // A timeout of zero cannot block.
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .packet(key: 2))
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .packet(key: 3))
        #expect(port.waiterCount == 1)
        #expect(!idle.isFulfilled)
        port.close()
        #expect(idle.value == .abandoned)
      }
    }
  }

  @Test("C4: the active count rises when the poster hands over, so two quick posts wake one thread")
  func countedAtTheHandOff() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        let early = threads[0].park(port)
        let late = threads[1].park(port)
        port.post(key: 1)
        #expect(port.activeCount == 1)
        port.post(key: 2)
        #expect((port.activeCount, port.waiterCount, port.depth) == (1, 1, 1))
        #expect(late.value == .packet(key: 1))
        #expect(!early.isFulfilled)
        // The slot comes back, and the packet goes to the thread that brings it.
        #expect(threads[1].get(port) == .packet(key: 2))
        port.close()
        #expect(early.value == .abandoned)
      }
    }
  }

  @Test("C4: a batch releases as many threads as the limit allows, and no more")
  func batchReleasesUpToTheLimit() {
    withPort(concurrency: 2) { port in
      withThreads(3) { threads in
        let pending = threads.map { $0.park(port) }
        let packets = UnsafeMutablePointer<Packet>.allocate(capacity: 4)
        defer { packets.deallocate() }
        for index in 0..<4 { (packets + index).initialize(to: Packet(key: UInt(index))) }
        for index in 0..<3 { packets[index].next = packets + index + 1 }
        port.post(first: packets, last: packets + 3, count: 4)
        #expect((port.activeCount, port.waiterCount, port.depth) == (2, 1, 2))
        #expect(pending[2].value == .packet(key: 0))
        #expect(pending[1].value == .packet(key: 1))
        #expect(!pending[0].isFulfilled)
        port.close()
        #expect(pending[0].value == .abandoned)
      }
    }
  }

  @Test("C5: a thread that blocks releases another, and is active again at once when it is done")
  func blockingReleasesAnother() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        port.post(key: 1)
        #expect(threads[0].get(port) == .packet(key: 1))
        let other = threads[1].park(port)
        port.post(key: 2)
        #expect(port.depth == 1)
        threads[0].perform { port.blockingBegin() }
        #expect(other.value == .packet(key: 2))
        #expect(port.activeCount == 1)
        threads[0].perform { port.blockingEnd() }
        #expect(port.activeCount == 2)
        // The excess is worked off: the first to come back finds the limit reached by the other.
        port.post(key: 3)
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .timedOut)
        #expect(threads[1].get(port, timeoutNanoseconds: 0) == .packet(key: 3))
      }
    }
  }

  @Test("C5: blocking scopes nest, and the outermost counts")
  func blockingNests() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        port.post(key: 1)
        #expect(threads[0].get(port) == .packet(key: 1))
        let counts = threads[0].perform {
          [port.blockingBegin, port.blockingBegin, port.blockingEnd, port.blockingEnd].map { step in
            step()
            return port.activeCount
          }
        }
        #expect(counts == [0, 0, 0, 1])
      }
    }
  }

  @Test("C5: a thread without a slot cannot give one up, and a scope that a wait left open ends with it")
  func blockingNeedsASlot() {
    withPort(concurrency: 2) { port in
      withThreads(1) { threads in
        threads[0].perform { port.blockingBegin() }
        threads[0].perform { port.blockingEnd() }
        #expect(port.activeCount == 0)
        port.post(key: 1)
        port.post(key: 2)
        #expect(threads[0].get(port) == .packet(key: 1))
        threads[0].perform { port.blockingBegin() }
        #expect(threads[0].get(port) == .packet(key: 2))
        threads[0].perform { port.blockingEnd() }
        #expect(port.activeCount == 1)
      }
    }
  }

  @Test("C7: waiting on another port leaves the first one, and may release a thread there")
  func waitingElsewhereLeaves() {
    withPort(concurrency: 1) { first in
      withPort(concurrency: 1) { second in
        withThreads(2) { threads in
          first.post(key: 1)
          #expect(threads[0].get(first) == .packet(key: 1))
          let other = threads[1].park(first)
          first.post(key: 2)
          #expect(first.depth == 1)
          #expect(threads[0].get(second, timeoutNanoseconds: 0) == .timedOut)
          #expect(other.value == .packet(key: 2))
          #expect(first.activeCount == 1)
        }
      }
    }
  }

  @Test("C7: a thread that leaves, or exits, releases its slot")
  func leavingReleases() {
    withPort(concurrency: 1) { port in
      withThreads(3) { threads in
        port.post(key: 1)
        #expect(threads[0].get(port) == .packet(key: 1))
        let second = threads[1].park(port)
        port.post(key: 2)
        threads[0].perform { port.leave() }
        #expect(second.value == .packet(key: 2))
        let third = threads[2].park(port)
        port.post(key: 3)
        #expect(port.depth == 1)
        threads[1].finish()
        #expect(third.value == .packet(key: 3))
      }
    }
  }

  @Test("C7: threads that only post are not associated")
  func postersAreNotAssociated() {
    withPort(concurrency: 1) { port in
      withThreads(2) { threads in
        threads[0].perform { port.post(key: 1) }
        #expect(port.activeCount == 0)
        #expect(threads[1].get(port) == .packet(key: 1))
        #expect(port.activeCount == 1)
        threads[0].perform { port.leave() }
        #expect(port.activeCount == 1)
      }
    }
  }

  @Test("C7: a thread's record has room in its static storage")
  func recordFits() {
    #expect(MemoryLayout<PortThread>.size <= Int(SHIM_PORT_THREAD_SIZE))
  }

  @Test("C8: a waiter whose time is over is gone, and the next packet is not lost on it")
  func timedOutWaiterIsGone() {
    withPort(concurrency: 2) { port in
      withThreads(3) { threads in
        let stays = [threads[0].park(port)]
        let leaves = threads[1].beginGet(port, timeoutNanoseconds: 2_000_000)
        #expect(leaves.value == .timedOut)
        #expect(port.waiterCount == 1)
        let last = threads[2].park(port)
        port.post(key: 1)
        port.post(key: 2)
        #expect(last.value == .packet(key: 1))
        #expect(stays[0].value == .packet(key: 2))
      }
    }
  }

  @Test("C8: a waiter that is claimed while its time runs out returns the packet")
  func claimBeatsTimeout() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let packet = UnsafeMutablePointer<Packet>.allocate(capacity: 1)
        defer { packet.deallocate() }
        packet.initialize(to: Packet(key: 9))
        let waiter = threads[0].beginGet(port, timeoutNanoseconds: 5_000_000)
        while port.waiterCount == 0 && !waiter.isFulfilled {}
        let begin = shim_monotonic_nanoseconds()
        // A poster in slow motion: it has claimed the waiter, and wakes it only when the time is over.
        port.state.pointee.lock.lock()
        port.state.pointee.queue.append(first: packet, last: packet, count: 1)
        let claimed = port.state.pointee.queue.claimWaiters()
        port.state.pointee.lock.unlock()
        #expect(eventually { shim_monotonic_nanoseconds() > begin + 20_000_000 })
        #expect(claimed == nil || !waiter.isFulfilled)
        PortState.wake(claimed, of: port.state)
        #expect(waiter.value == (claimed == nil ? .timedOut : .packet(key: 9)))
      }
    }
  }

  @Test("C8: in a race of posts and timeouts no packet is lost or comes twice")
  func raceOfPostAndTimeout() {
    withPort(concurrency: 1) { port in
      withThreads(1) { threads in
        let count: UInt = 20_000
        let received = threads[0].begin {
          var keys: [UInt] = []
          var pause: Int64 = 1
          while keys.count < count {
            pause = (pause &* 48_271) % 2_147_483_647
            if case .packet(let packet) = port.get(timeoutNanoseconds: 1 + pause % 40_000) {
              keys.append(packet.pointee.key)
            }
          }
          return keys
        }
        for key in 0..<count {
          port.post(key: key)
          if key % 64 == 0 { _ = eventually { port.depth == 0 } }
        }
        #expect(received.value == Array(0..<count))
        #expect(threads[0].get(port, timeoutNanoseconds: 0) == .timedOut)
      }
    }
  }

  @Test("P1: closing abandons every waiter, and later calls answer that the port is closed")
  func closingAbandons() {
    withPort(concurrency: 1) { port in
      withThreads(3) { threads in
        let waiters = threads[..<2].map { $0.park(port) }
        port.close()
        #expect(waiters.map(\.value) == [.abandoned, .abandoned])
        #expect(port.waiterCount == 0)
        #expect(threads[0].get(port) == .closed)
        #expect(threads[2].get(port) == .closed)
        #expect(threads[2].getMany(port, count: 2) == .other(.closed))
        #expect(port.post(key: 1, bytes: 0, operation: nil) == .closed)
      }
    }
  }

  @Test("P1: packets that nobody received go back to their owners, and late posts stay with them")
  func closingReturnsPackets() {
    withPort(concurrency: 1) { port in
      let packets = UnsafeMutablePointer<Packet>.allocate(capacity: 3)
      defer { packets.deallocate() }
      for index in 0..<3 { (packets + index).initialize(to: Packet(key: UInt(index))) }
      port.post(packets)
      port.post(key: 77)
      port.post(packets + 1)
      #expect(port.close() == packets)
      #expect(packets[0].next == packets + 1)
      #expect(packets[1].next == nil)
      #expect(port.depth == 0)
      #expect(!port.post(packets + 2))
      #expect(port.close() == nil)
    }
  }

  @Test("P1: an active thread learns of the end at its next call, and destroying waits for it")
  func activeThreadLearnsOfTheEnd() {
    withThreads(1) { threads in
      withPort(concurrency: 1) { port in
        port.post(key: 1)
        #expect(threads[0].get(port) == .packet(key: 1))
        port.close()
        #expect(threads[0].get(port) == .closed)
      }
      // This port is destroyed while a thread is associated with it; the thread's exit frees it.
      withPort(concurrency: 1) { port in
        port.post(key: 1)
        #expect(threads[0].get(port) == .packet(key: 1))
      }
    }
  }
}
