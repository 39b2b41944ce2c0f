import CMewsShims
import Foundation
import Testing

@testable import MewsCore

/// Completions that are lost: the tests take them out of the ring, and count them as the kernel would.
@Suite("Proactor recovery", .enabled(if: RingProbe.ofThisProcess.features.contains(.multishotReceive)))
struct ProactorRecoveryTests {
  private func poll(_ pair: ConnectedPair) -> RecordedOperation {
    RecordedOperation { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) }
  }

  private func receive(_ pair: ConnectedPair) -> RecordedOperation {
    RecordedOperation { shim_entry_receive($0, pair.ours, Ring.bufferGroup) }
  }

  /// Arms operations, and lets the ring have them.
  private func start(_ bench: RingBench, _ operations: RecordedOperation...) {
    for operation in operations {
      if !operation.pointer.pointee.isAttached { bench.attach(operation) }
      bench.proactor.arm(operation.pointer)
    }
    bench.runIdle()
  }

  @Test("After a loss nothing is told, submitted or waited for until the recovery")
  func closed() throws {
    let bench = try RingBench()
    let pair = try ConnectedPair()
    let before = poll(pair)
    let behind = RecordedOperation { shim_entry_nop($0) }
    start(bench, before)
    pair.sendFromPeer("x")
    bench.proactor.wait(timeoutNanoseconds: -1)
    bench.ring.lose(0)
    bench.attach(behind)
    bench.proactor.arm(behind.pointer)
    for _ in 0..<3 {
      #expect(bench.proactor.wait(timeoutNanoseconds: -1) == EBADR)
      #expect(bench.proactor.tellCompletions() == -1)
    }
    #expect(before.results == [] && behind.results == [] && bench.ring.unread == 1)
    bench.recover()
    #expect(before.results == [Int32(POLLIN), -ECANCELED] && behind.results == [-EBADR])
  }

  @Test("Each operation ends once: with what it came to, as canceled, or with EBADR when that is lost")
  func ends() throws {
    let bench = try RingBench()
    let pairs = try (0..<3).map { _ in try ConnectedPair() }
    let operations = pairs.map { pair in RecordedOperation { shim_entry_poll_once($0, pair.ours, UInt32(POLLIN)) } }
    let idle = poll(try ConnectedPair())
    start(bench, operations[0], operations[1], idle)
    pairs[0].sendFromPeer("x")
    bench.proactor.wait(timeoutNanoseconds: -1)
    bench.ring.lose()
    pairs[1].sendFromPeer("x")
    // What is there is taken, and nothing else.
    _ = bench.ring.reap()
    start(bench, operations[2])
    bench.recover()
    #expect(operations.map(\.results) == [[-EBADR], [Int32(POLLIN)], [-EBADR]])
    #expect(idle.results == [-ECANCELED])
    #expect((operations + [idle]).allSatisfy { !$0.pointer.pointee.isArmed })
    #expect(bench.proactor.wait(timeoutNanoseconds: 0) == 0)
    for pair in pairs[1...] { pair.sendFromPeer("x") }
    start(bench, operations[0], operations[1], operations[2])
    #expect(operations.allSatisfy { $0.results.last == Int32(POLLIN) })
  }

  @Test("What was armed and not submitted is not submitted later")
  func unsubmitted() throws {
    let bench = try RingBench(submissions: 4, completions: 256)
    let pair = try ConnectedPair()
    var byte = UInt8(ascii: "x")
    let sends = (0..<9).map { _ in
      RecordedOperation { entry in withUnsafePointer(to: &byte) { shim_entry_send(entry, pair.ours, $0, 1) } }
    }
    bench.ring.lose(0)
    for send in sends {
      bench.attach(send)
      bench.proactor.arm(send.pointer)
    }
    bench.proactor.cancel(sends[8].pointer)
    bench.proactor.detach(sends[7].pointer)
    bench.recover()
    bench.runIdle()
    #expect(sends.map(\.results) == Array(repeating: [-EBADR], count: 7) + [[], [-EBADR]])
    #expect(pair.receivedByPeer() == "")
    start(bench, sends[0])
    #expect(sends[0].results == [-EBADR, 1] && pair.receivedByPeer() == "x")
  }

  @Test("Who arms again when told of the end is armed after the recovery, and may ask for more than the ring takes")
  func armedMeanwhile() throws {
    let bench = try RingBench(submissions: 4, completions: 256)
    let pairs = try (0..<40).map { _ in try ConnectedPair() }
    let polls = pairs.map { poll($0) }
    for poll in polls {
      poll.onCompletion = { [unowned poll, unowned bench] in
        if poll.isLast.last == true { bench.proactor.arm(poll.pointer) }
      }
      start(bench, poll)
    }
    for pair in pairs[..<20] { pair.sendFromPeer("x") }
    bench.proactor.wait(timeoutNanoseconds: -1)
    bench.ring.lose(10)
    bench.recover()
    bench.run(until: { polls[..<20].allSatisfy { $0.results.last == Int32(POLLIN) } })
    for pair in pairs[20...] { pair.sendFromPeer("x") }
    bench.run(until: { polls.allSatisfy { $0.results.last == Int32(POLLIN) } })
    #expect(polls.allSatisfy { $0.isLast.filter { $0 }.count == 1 })
  }

  @Test("Many more operations than completions have room for all end", arguments: [true, false])
  func many(isLossKnownFirst: Bool) throws {
    let bench = try RingBench(submissions: 8, completions: 16)
    let pairs = try (0..<300).map { _ in try ConnectedPair() }
    let polls = pairs.map { poll($0) }
    for poll in polls { start(bench, poll) }
    for pair in pairs[..<100] { pair.sendFromPeer("x") }
    if !isLossKnownFirst { bench.proactor.wait(timeoutNanoseconds: -1) }
    bench.ring.lose(isLossKnownFirst ? 0 : 8)
    bench.recover()
    #expect(polls.allSatisfy { $0.isLast.filter { $0 }.count == 1 && !$0.pointer.pointee.isArmed })
    #expect(!bench.ring.hasOverflown && bench.ring.unread == 0)
  }

  @Test("Blocks of which only lost completions knew are received into again")
  func buffers() throws {
    let pool = try #require(BlockPool.create(limit: 1 << 22))
    let cache = try #require(pool.makeCache())
    do {
      let bench = try RingBench()
      try #require(bench.ring.provideBuffers(4, from: cache) == 0)
      let pair = try ConnectedPair()
      let operation = receive(pair)
      start(bench, operation)
      for round in 0..<5 {
        // Two are lost each time, one is told, and one is not used.
        for _ in 0..<2 {
          pair.sendFromPeer("lost")
          bench.proactor.wait(timeoutNanoseconds: -1)
          #expect(bench.ring.lose() == 1)
          // The kernel takes in the next one as well.
          bench.ring.state.pointee.knownLosses = 0
        }
        pair.sendFromPeer("told")
        bench.proactor.wait(timeoutNanoseconds: -1)
        bench.ring.lose(0)
        bench.recover()
        #expect(operation.texts.last == "told" && operation.texts.count == round * 5 + 1)
        #expect(bench.ring.refillBuffers() && bench.ring.providedBlocks == 4)
        bench.proactor.arm(operation.pointer)
        for piece in 0..<4 {
          pair.sendFromPeer("piece \(piece)")
          bench.run(until: { operation.texts.last == "piece \(piece)" })
        }
      }
      // The kernel takes blocks in the order in which it was given them: none may lie there twice.
      #expect(Set(operation.blocks).count == operation.blocks.count)
      bench.proactor.detach(operation.pointer)
      bench.runIdle()
      for block in operation.blocks { cache.release(block) }
    }
    #expect(pool.statistics.rented == 0)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("The kernel is done with the memory of a send once it has ended")
  func memory() throws {
    let bench = try RingBench()
    let pair = try ConnectedPair()
    let size = 4 << 20
    let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
    defer { memory.deallocate() }
    memset(memory, 1, size)
    let send = RecordedOperation { shim_entry_send($0, pair.ours, memory, size) }
    start(bench, send)
    // Part of it is out, and the rest waits for room.
    #expect(send.results.isEmpty || send.results[0] < size)
    if !send.results.isEmpty { start(bench, send) }
    bench.ring.lose(0)
    bench.recover()
    #expect(!send.pointer.pointee.isArmed)
    memset(memory, 2, size)
    var bytes = [UInt8](repeating: 0, count: 65_536)
    var isUnchanged = true
    while true {
      let count = recv(pair.peers, &bytes, bytes.count, Int32(MSG_DONTWAIT))
      guard count > 0 else { break }
      isUnchanged = isUnchanged && bytes[..<count].allSatisfy { $0 == 1 }
      bench.runIdle()
    }
    #expect(isUnchanged)
  }

  @Test("An I/O thread whose ring has lost completions is not taken over while it is stuck")
  func adoption() throws {
    let thread = try IOThread.create(hooks: IOThreadHooks())
    let ring = try Ring.createFitting(RingProbe.ofThisProcess.features)
    IOThreadState.startProactor(thread.state, ring)
    #expect(IOThreadState.mayBeAdopted(thread.state))
    ring.lose(0)
    #expect(!IOThreadState.mayBeAdopted(thread.state))
    thread.flushRing()
    #expect(IOThreadState.mayBeAdopted(thread.state))
    IOThreadState.endProactor(thread.state)
    ring.destroy()
    thread.destroy()
  }

  @Test("An I/O thread is woken, and told of its descriptors, when that is what was lost")
  func sources() throws {
    let thread = try IOThread.create(hooks: IOThreadHooks())
    let ring = try Ring.createFitting(RingProbe.ofThisProcess.features)
    IOThreadState.startProactor(thread.state, ring)
    let pair = try ConnectedPair()
    let source = EventSourcePointer.allocate(capacity: 1)
    source.initialize(
      to: EventSource(
        descriptor: pair.ours,
        onEvents: { source, events in
          var byte: UInt8 = 0
          if events & ReadyEvents.readable != 0 { _ = recv(source.pointee.descriptor, &byte, 1, 0) }
        }))
    #expect(thread.add(source) == 0)
    thread.flushRing()
    let proactor = try #require(thread.proactor)
    thread.state.pointee.wake.signal()
    pair.sendFromPeer("x")
    proactor.wait(timeoutNanoseconds: -1)
    #expect(ring.lose() == 2)
    // The recovery, and then what it has armed.
    for _ in 0..<2 { thread.flushRing() }
    var byte: UInt8 = 0
    #expect(recv(pair.ours, &byte, 1, Int32(MSG_DONTWAIT)) < 0, "the byte has not been taken")
    #expect(source.pointee.poll.isArmed && thread.state.pointee.wakeSource.poll.isArmed)
    thread.state.pointee.wake.signal()
    #expect(proactor.wait(timeoutNanoseconds: 10_000_000_000) == 0)
    _ = thread.remove(source)
    IOThreadState.endProactor(thread.state)
    ring.destroy()
    thread.destroy()
    source.deallocate()
  }
}
