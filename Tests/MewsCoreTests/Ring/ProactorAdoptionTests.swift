import CMewsShims
import Foundation
import Testing

@testable import MewsCore

/// Two threads with a ring each: the first one gets stuck, and the second one goes on.
@Suite("Proactor adoption", .enabled(if: RingProbe.ofThisProcess.features.contains(.multishotReceive)))
struct ProactorAdoptionTests {
  private final class Bench: @unchecked Sendable {
    let pool: BlockPool
    let stuck: TestThread
    let standby: TestThread
    private(set) var stuckCache: BlockCache
    private(set) var cache: BlockCache
    private(set) var stuckRing: Ring!
    private(set) var ring: Ring!
    private(set) var proactor: Proactor!

    init(_ stuck: TestThread, _ standby: TestThread, completions: UInt32 = 256) throws {
      let pool = try #require(BlockPool.create(limit: 1 << 22))
      self.pool = pool
      self.stuck = stuck
      self.standby = standby
      stuckCache = try #require(pool.makeCache())
      cache = try #require(pool.makeCache())
      nonisolated(unsafe) let caches = (stuckCache, cache)
      stuckRing = stuck.perform { try? Self.makeRing(caches.0, completions) }
      ring = standby.perform { try? Self.makeRing(caches.1, completions) }
      try #require(stuckRing != nil && ring != nil)
      proactor = Proactor.create(ring: stuckRing)
      try #require(proactor != nil)
    }

    private static func makeRing(_ cache: BlockCache, _ completions: UInt32) throws -> Ring {
      let ring = try Ring.create(RingProbe.ofThisProcess.features, submissions: 16, completions: completions)
      #expect(ring.provideBuffers(8, from: cache) == 0)
      return ring
    }

    /// Has the first thread arm operations, and enter its ring.
    func arm(_ operations: [RecordedOperation], submits: Bool = true) {
      onStuck { proactor in
        for operation in operations {
          if operation.pointer.pointee.slot == 0 { #expect(proactor.attach(operation.pointer) == 0) }
          proactor.arm(operation.pointer)
        }
        if submits { proactor.wait(timeoutNanoseconds: 0) }
      }
    }

    func onStuck(_ body: @escaping (Proactor) -> Void) { perform(on: stuck, body) }

    func onStandby(_ body: @escaping (Proactor) -> Void) { perform(on: standby, body) }

    private func perform(on thread: TestThread, _ body: @escaping (Proactor) -> Void) {
      nonisolated(unsafe) let body = body
      thread.perform { [self] in body(proactor) }
    }

    func adopt() { onStandby { [self] in $0.adopt(ring) } }

    /// The thread that was stuck comes back, and destroys its ring without entering it.
    func destroyStuckRing() {
      stuck.perform { [stuckRing] in
        stuckRing!.awaitRelease()
        stuckRing!.destroy()
      }
      stuckRing = nil
    }

    /// Lets the ring of the second thread work until the condition holds.
    func run(until condition: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation) {
      let deadline = Date() + 5
      while !condition() {
        guard Date() < deadline else {
          Issue.record("waited in vain", sourceLocation: sourceLocation)
          return
        }
        onStandby { proactor in
          proactor.wait(timeoutNanoseconds: 10_000_000)
          proactor.tellCompletions()
        }
      }
    }

    func finish(_ operations: RecordedOperation...) {
      if stuckRing != nil { destroyStuckRing() }
      for block in operations.flatMap(\.blocks) { cache.release(block) }
      standby.perform { [ring] in ring!.destroy() }
      proactor.destroy()
      #expect(pool.statistics.rented == 0)
      stuckCache.destroy()
      cache.destroy()
      #expect(pool.destroy() == 0)
    }
  }

  private func withBench(completions: UInt32 = 256, _ body: (Bench) throws -> Void) throws {
    try withThreads(2) { threads in try body(try Bench(threads[0], threads[1], completions: completions)) }
  }

  private func receive(_ pair: ConnectedPair) -> RecordedOperation {
    RecordedOperation { shim_entry_receive($0, pair.ours, Ring.bufferGroup) }
  }

  @Test("What was received and not told is told first, and then what comes: no byte is lost, none comes twice")
  func receive() throws {
    try withBench { bench in
      let pair = try ConnectedPair()
      let operation = receive(pair)
      bench.arm([operation])
      pair.sendFromPeer("one ")
      // In the ring's memory, but not read.
      bench.onStuck { $0.wait(timeoutNanoseconds: 1_000_000_000) }
      // In the socket: the kernel takes nothing while the thread is stuck.
      pair.sendFromPeer("two ")
      bench.adopt()
      #expect(operation.texts == ["one "])
      bench.run(until: { operation.texts.joined() == "one two " })
      bench.destroyStuckRing()
      pair.sendFromPeer("three")
      bench.run(until: { operation.texts.joined() == "one two three" })
      #expect(operation.isLast.allSatisfy { !$0 })
      bench.onStandby { $0.detach(operation.pointer) }
      bench.finish(operation)
    }
  }

  @Test("A thread that returns at once, with the old receive woken and not run, takes nothing from the socket")
  func wokenReceive() throws {
    for _ in 0..<20 {
      try withBench { bench in
        let pair = try ConnectedPair()
        let operation = receive(pair)
        bench.arm([operation])
        pair.sendFromPeer("woken ")
        bench.adopt()
        bench.destroyStuckRing()
        pair.sendFromPeer("and more")
        bench.run(until: { operation.texts.joined() == "woken and more" })
        bench.onStandby { $0.detach(operation.pointer) }
        bench.finish(operation)
      }
    }
  }

  @Test("What was armed and not submitted is armed all the same")
  func unsubmitted() throws {
    try withBench { bench in
      let pair = try ConnectedPair()
      let text = "sent once"
      let bytes = Array(text.utf8)
      try bytes.withUnsafeBytes { bytes in
        let base = try #require(bytes.baseAddress)
        let send = RecordedOperation { shim_entry_send($0, pair.ours, base, bytes.count) }
        let operation = receive(pair)
        bench.arm([send, operation], submits: false)
        bench.adopt()
        pair.sendFromPeer("hello")
        bench.run(until: { send.results.count == 1 && operation.texts == ["hello"] })
        bench.destroyStuckRing()
        #expect(send.results == [Int32(bytes.count)])
        #expect(pair.receivedByPeer() == text)
        bench.onStandby { $0.detach(operation.pointer) }
        bench.finish(operation)
      }
    }
  }

  @Test("A send that waits for room is sent once, whatever wakes the old one")
  func blockedSend() throws {
    try withBench { bench in
      let pair = try ConnectedPair()
      let filling = [UInt8](repeating: UInt8(ascii: "f"), count: 4_096)
      var filled = 0
      while true {
        let count = Glibc.send(pair.ours, filling, filling.count, Int32(MSG_DONTWAIT))
        if count < 0 { break }
        filled += count
      }
      let bytes = Array(String(repeating: "0123456789", count: 100).utf8)
      try bytes.withUnsafeBytes { bytes in
        let base = try #require(bytes.baseAddress)
        let send = RecordedOperation { shim_entry_send($0, pair.ours, base, bytes.count) }
        bench.arm([send])
        #expect(send.results == [])
        var received = ""
        // Room for both, the one that is stuck and the one to come.
        while received.utf8.count < filled { received += pair.receivedByPeer() }
        bench.adopt()
        bench.destroyStuckRing()
        bench.run(until: { send.results.count == 1 })
        #expect(send.results == [Int32(bytes.count)])
        #expect(pair.receivedByPeer() == String(decoding: bytes, as: UTF8.self))
        #expect(pair.receivedByPeer() == "")
        bench.finish()
      }
    }
  }

  @Test("A send that was carried out and not told is told, and not sent again")
  func completedSend() throws {
    try withBench { bench in
      let pair = try ConnectedPair()
      let bytes = Array("once".utf8)
      try bytes.withUnsafeBytes { bytes in
        let base = try #require(bytes.baseAddress)
        let send = RecordedOperation { shim_entry_send($0, pair.ours, base, bytes.count) }
        bench.arm([send])
        bench.adopt()
        #expect(send.results == [4])
        bench.onStandby { $0.wait(timeoutNanoseconds: 0) }
        bench.destroyStuckRing()
        #expect(pair.receivedByPeer() == "once")
        bench.finish()
      }
    }
  }

  @Test("What was asked to end, and had not, has ended; what had ended by itself is told what it was")
  func canceling() throws {
    try withBench { bench in
      let pair = try ConnectedPair()
      let quiet = try ConnectedPair()
      let woken = RecordedOperation { shim_entry_poll_once($0, pair.ours, UInt32(POLLIN)) }
      let waiting = RecordedOperation { shim_entry_poll($0, quiet.ours, UInt32(POLLIN)) }
      bench.arm([woken, waiting])
      pair.sendFromPeer("x")
      bench.onStuck { proactor in
        proactor.wait(timeoutNanoseconds: 1_000_000_000)
        proactor.cancel(woken.pointer)
        proactor.cancel(waiting.pointer)
      }
      bench.adopt()
      #expect(woken.results == [Int32(POLLIN)] && waiting.results == [-ECANCELED])
      // Its completion on the old ring is nobody's.
      bench.onStandby { $0.arm(waiting.pointer) }
      quiet.sendFromPeer("x")
      bench.run(until: { waiting.results.count == 2 })
      #expect(waiting.results.last == Int32(POLLIN))
      bench.onStandby { $0.detach(waiting.pointer) }
      bench.finish()
    }
  }

  @Test("What is armed, or given up, by a completion that is told during the adoption is treated once")
  func reentrancy() throws {
    try withBench { bench in
      let pairs = try (0..<3).map { _ in try ConnectedPair() }
      let polls = pairs.map { pair in RecordedOperation { shim_entry_poll_once($0, pair.ours, UInt32(POLLIN)) } }
      let late = RecordedOperation { shim_entry_nop($0) }
      bench.arm(polls)
      pairs[0].sendFromPeer("x")
      bench.onStuck { $0.wait(timeoutNanoseconds: 1_000_000_000) }
      polls[0].onCompletion = { [unowned bench] in
        guard polls[0].results.count == 1, let proactor = bench.proactor else { return }
        proactor.arm(polls[0].pointer)
        proactor.detach(polls[1].pointer)
        #expect(proactor.attach(late.pointer) == 0)
        proactor.arm(late.pointer)
      }
      bench.adopt()
      pairs[1].sendFromPeer("x")
      pairs[2].sendFromPeer("x")
      bench.run(until: { polls[0].results.count == 2 && polls[2].results.count == 1 && late.results.count == 1 })
      #expect(polls.map(\.results.count) == [2, 0, 1])
      polls[0].onCompletion = {}
      bench.finish()
    }
  }

  @Test("Where completions found no room, the ring says so, and is not to be adopted")
  func overflown() throws {
    try withBench(completions: 16) { bench in
      let pairs = try (0..<40).map { _ in try ConnectedPair() }
      let polls = pairs.map { pair in RecordedOperation { shim_entry_poll_once($0, pair.ours, UInt32(POLLIN)) } }
      #expect(!bench.stuckRing.hasOverflown)
      for pair in pairs { pair.sendFromPeer("x") }
      bench.arm(polls)
      for _ in 0..<4 { bench.onStuck { $0.wait(timeoutNanoseconds: 0) } }
      #expect(bench.stuckRing.hasOverflown)
      // Its thread can go on as if nothing had happened.
      bench.onStuck { proactor in
        while !polls.allSatisfy({ $0.results == [Int32(POLLIN)] }) {
          proactor.tellCompletions()
          proactor.wait(timeoutNanoseconds: 0)
        }
      }
      bench.adopt()
      bench.finish()
    }
  }
}
