import CMewsShims
import Foundation
import Testing

@testable import MewsCore

@Suite("Proactor", .enabled(if: hasRings))
struct ProactorTests {
  @Test("A wait without completions ends by its time, and one with completions at once")
  func waits() throws {
    let bench = try RingBench()
    #expect(bench.proactor.wait(timeoutNanoseconds: 1_000_000) == ETIME)
    #expect(bench.proactor.tellCompletions() == 0)
    let nop = RecordedOperation { shim_entry_nop($0) }
    bench.attach(nop)
    bench.proactor.arm(nop.pointer)
    #expect(nop.pointer.pointee.isArmed)
    #expect(bench.proactor.wait(timeoutNanoseconds: -1) == 0)
    // What is unread already is no reason to wait.
    #expect(bench.proactor.wait(timeoutNanoseconds: -1) == 0)
    #expect(bench.proactor.tellCompletions() == 1)
    #expect(nop.results == [0] && nop.isLast == [true] && !nop.pointer.pointee.isArmed)
  }

  @Test("An operation can be armed again by its own completion, and another one can be detached by it")
  func reentrancy() throws {
    let bench = try RingBench()
    let first = RecordedOperation { shim_entry_nop($0) }
    let second = RecordedOperation { shim_entry_nop($0) }
    bench.attach(first, second)
    bench.proactor.arm(first.pointer)
    bench.proactor.arm(second.pointer)
    first.onCompletion = { [unowned first, unowned bench] in
      bench.proactor.detach(second.pointer)
      if first.results.count < 3 { bench.proactor.arm(first.pointer) }
    }
    bench.run(until: { first.results.count == 3 })
    bench.runIdle()
    #expect(first.results == [0, 0, 0] && second.results == [])
  }

  @Test("A canceled operation completes once, with ECANCELED, and the cancellation is nobody's business")
  func cancel() throws {
    let bench = try RingBench()
    let pair = try ConnectedPair()
    let poll = RecordedOperation { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) }
    bench.attach(poll)
    bench.proactor.arm(poll.pointer)
    bench.runIdle()
    bench.proactor.cancel(poll.pointer)
    bench.proactor.cancel(poll.pointer)
    #expect(poll.pointer.pointee.isArmed && poll.pointer.pointee.isCanceling)
    bench.run(until: { !poll.results.isEmpty })
    bench.runIdle()
    #expect(poll.results == [-ECANCELED] && !poll.pointer.pointee.isArmed)
    // Neither a cancellation that comes too late does anything.
    bench.proactor.cancel(poll.pointer)
    bench.proactor.arm(poll.pointer)
    pair.sendFromPeer("x")
    bench.run(until: { poll.results.count == 2 })
    #expect(poll.results.last == Int32(POLLIN))
  }

  @Test("A cancellation does not end what was armed after the operation had completed by itself")
  func lateCancel() throws {
    let bench = try RingBench()
    let pair = try ConnectedPair()
    let poll = RecordedOperation { shim_entry_poll_once($0, pair.ours, UInt32(POLLIN)) }
    bench.attach(poll)
    bench.proactor.arm(poll.pointer)
    bench.runIdle()
    pair.sendFromPeer("x")
    // The kernel completes it before it sees the cancellation.
    bench.proactor.wait(timeoutNanoseconds: -1)
    bench.proactor.cancel(poll.pointer)
    bench.proactor.tellCompletions()
    #expect(poll.results == [Int32(POLLIN)])
    #expect(recv(pair.ours, UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1), 1, 0) == 1)
    bench.proactor.arm(poll.pointer)
    bench.runIdle()
    #expect(poll.results.count == 1 && poll.pointer.pointee.isArmed)
    pair.sendFromPeer("x")
    bench.run(until: { poll.results.count == 2 })
    #expect(poll.results == [Int32(POLLIN), Int32(POLLIN)])
  }

  @Test("Who was detached hears nothing any more, whatever takes its slot")
  func detach() throws {
    let bench = try RingBench()
    let pair = try ConnectedPair()
    let gone = RecordedOperation { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) }
    let next = RecordedOperation { shim_entry_nop($0) }
    bench.attach(gone)
    let slot = gone.pointer.pointee.slot
    bench.proactor.arm(gone.pointer)
    bench.runIdle()
    pair.sendFromPeer("x")
    bench.proactor.detach(gone.pointer)
    bench.attach(next)
    #expect(next.pointer.pointee.slot == slot && gone.pointer.pointee.slot == 0)
    bench.proactor.arm(next.pointer)
    bench.run(until: { next.results.count == 1 })
    bench.runIdle()
    #expect(gone.results == [] && next.results == [0])
  }

  @Test("A completion of an earlier time, or of no operation, finds nobody")
  func stale() throws {
    let bench = try RingBench()
    let poll = RecordedOperation { shim_entry_nop($0) }
    bench.attach(poll)
    bench.proactor.arm(poll.pointer)
    let earlier = bench.proactor.data(of: poll.pointer)
    bench.run(until: { poll.results.count == 1 })
    bench.proactor.arm(poll.pointer)
    for data in [earlier, 0, 1 << 32, UInt64(UInt32.max), UInt64.max] {
      bench.proactor.tell(shim_ring_event(data: data, result: 9, flags: 0), nil)
    }
    #expect(poll.results == [0])
    bench.run(until: { poll.results.count == 2 })
    #expect(poll.results == [0, 0])
  }

  @Test("More operations than there are submission entries are all carried out")
  func manySubmissions() throws {
    let bench = try RingBench(submissions: 4, completions: 8)
    let operations = (0..<100).map { _ in RecordedOperation { shim_entry_nop($0) } }
    for operation in operations {
      bench.attach(operation)
      bench.proactor.arm(operation.pointer)
    }
    bench.run(until: { operations.allSatisfy { $0.results == [0] } })
  }

  @Test("Completions for which there was no room come later, and what repeats and was ended by that says so")
  func overflow() throws {
    let bench = try RingBench(submissions: 4, completions: 4)
    let pairs = try (0..<16).map { _ in try ConnectedPair() }
    let polls = pairs.map { pair in RecordedOperation { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) } }
    for poll in polls {
      bench.attach(poll)
      bench.proactor.arm(poll.pointer)
      poll.onCompletion = { [unowned poll, unowned bench] in
        if poll.isLast.last == true { bench.proactor.arm(poll.pointer) }
      }
    }
    bench.runIdle()
    for pair in pairs { pair.sendFromPeer("x") }
    var hasOverflown = false
    // Taken in, but not read.
    for _ in 0..<4 { shim_ring_enter(bench.ring.state.pointee.ring, 0, 0) }
    hasOverflown = bench.ring.hasOverflown
    bench.run(until: { polls.allSatisfy { !$0.results.isEmpty } })
    #expect(hasOverflown)
    #expect(polls.allSatisfy { $0.results.allSatisfy { $0 == Int32(POLLIN) } })
    // Each hears of more.
    let before = polls.map(\.results.count)
    for pair in pairs { pair.sendFromPeer("x") }
    bench.run(until: { zip(polls, before).allSatisfy { $0.results.count > $1 } })
  }

  @Test("Operations that wait for an entry can be canceled and given up")
  func deferred() throws {
    let bench = try RingBench()
    let operations = (0..<4).map { _ in RecordedOperation { shim_entry_nop($0) } }
    for operation in operations {
      bench.attach(operation)
      operation.pointer.pointee.state = RingOperation.Bits.armed
      bench.proactor.appendDeferred(operation.pointer)
    }
    bench.proactor.cancel(operations[1].pointer)
    bench.proactor.detach(operations[3].pointer)
    bench.proactor.detach(operations[0].pointer)
    bench.run(until: { operations[2].results.count == 1 && operations[1].results.count == 1 })
    bench.runIdle()
    #expect(operations.map(\.results) == [[], [-ECANCELED], [0], []])
    // The list is as good as new.
    bench.proactor.arm(operations[2].pointer)
    bench.run(until: { operations[2].results.count == 2 })
  }

  @Test("The table grows, and slots are used again")
  func table() throws {
    let bench = try RingBench()
    let operations = (0..<1_000).map { _ in RecordedOperation { shim_entry_nop($0) } }
    for operation in operations { bench.attach(operation) }
    #expect(Set(operations.map(\.pointer.pointee.slot)).count == 1_000)
    #expect(operations.allSatisfy { $0.pointer.pointee.slot != 0 })
    let slots = bench.proactor.state.pointee.slotCount
    for operation in operations { bench.proactor.detach(operation.pointer) }
    for operation in operations { bench.attach(operation) }
    #expect(bench.proactor.state.pointee.slotCount == slots)
  }

  @Test("A signal ends a wait early, as no completion does")
  func interrupted() throws {
    // A signal that is ignored otherwise, so that a late one does no harm.
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    var before = sigaction()
    sigaction(SIGURG, &action, &before)
    defer { sigaction(SIGURG, &before, nil) }
    withThreads(1) { threads in
      // Threads that tests start have signals blocked.
      let waiter = threads[0].perform {
        var signals = sigset_t()
        sigaddset(&signals, SIGURG)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        return UInt(pthread_self())
      }
      let result = threads[0].begin { () -> Int32 in
        guard let bench = try? RingBench() else { return -1 }
        return bench.proactor.wait(timeoutNanoseconds: 5_000_000_000)
      }
      while !result.isFulfilled {
        pthread_kill(pthread_t(waiter), SIGURG)
        usleep(500)
      }
      #expect(result.value == EINTR)
    }
  }
}
