import CMewsShims
import Foundation
import Testing

@testable import MewsCore

@Suite("Ring buffers", .enabled(if: RingProbe.ofThisProcess.features.contains(.multishotReceive)))
struct RingBufferTests {
  private func receive(_ pair: ConnectedPair) -> RecordedOperation {
    RecordedOperation { shim_entry_receive($0, pair.ours, Ring.bufferGroup) }
  }

  private func withBench(
    limit: Int = 1 << 22, buffers: Int, _ body: (RingBench, BlockPool, BlockCache) throws -> Void
  ) throws {
    let pool = try #require(BlockPool.create(limit: limit))
    let cache = try #require(pool.makeCache())
    do {
      let bench = try RingBench()
      try #require(bench.ring.provideBuffers(buffers, from: cache) == 0)
      try body(bench, pool, cache)
    }
    #expect(pool.statistics.rented == 0)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("What comes is received into blocks, which belong to the receiver then")
  func blocks() throws {
    try withBench(buffers: 4) { bench, _, cache in
      let pair = try ConnectedPair()
      let operation = receive(pair)
      bench.attach(operation)
      bench.proactor.arm(operation.pointer)
      let sent = (0..<20).map { "piece \($0)" }
      for (index, text) in sent.enumerated() {
        pair.sendFromPeer(text)
        bench.run(until: { operation.results.count == index + 1 })
      }
      #expect(operation.texts == sent)
      #expect(operation.isLast.allSatisfy { !$0 })
      #expect(operation.blocks.allSatisfy { $0.pointee.references == 1 })
      pair.closePeer()
      bench.run(until: { operation.isLast.last == true })
      #expect(operation.results.last == 0)
      for block in operation.blocks { cache.release(block) }
    }
  }

  @Test("Without a block left a receive ends with ENOBUFS, and loses nothing when it is armed again")
  func exhausted() throws {
    try withBench(buffers: 2) { bench, _, cache in
      let pair = try ConnectedPair()
      let operation = receive(pair)
      bench.attach(operation)
      bench.proactor.arm(operation.pointer)
      bench.runIdle()
      let text = String(repeating: "0123456789abcdef", count: 1_024)
      pair.sendFromPeer(text)
      bench.run(until: { operation.results.contains(-ENOBUFS) })
      #expect(operation.isLast.last == true && operation.texts.joined().utf8.count == 8_192)
      operation.onCompletion = { [unowned operation, unowned bench] in
        if operation.isLast.last == true { bench.proactor.arm(operation.pointer) }
      }
      bench.proactor.arm(operation.pointer)
      bench.run(until: { operation.texts.joined().utf8.count == text.utf8.count })
      #expect(operation.texts.joined() == text)
      bench.proactor.detach(operation.pointer)
      bench.runIdle()
      for block in operation.blocks { cache.release(block) }
    }
  }

  @Test("At the pool's limit the ring has fewer blocks, and more when there are some again")
  func limit() throws {
    let pool = try #require(BlockPool.create(limit: 1 << 20))
    let cache = try #require(pool.makeCache())
    var held: [BlockPointer] = []
    while let block = cache.rent() { held.append(block) }
    do {
      let bench = try RingBench()
      #expect(bench.ring.provideBuffers(4, from: cache) == ENOMEM)
      #expect(!bench.ring.refillBuffers())
      cache.release(held.removeLast())
      #expect(bench.ring.refillBuffers())
      let pair = try ConnectedPair()
      let operation = receive(pair)
      bench.attach(operation)
      bench.proactor.arm(operation.pointer)
      pair.sendFromPeer("hello")
      bench.run(until: { operation.texts == ["hello"] })
      held += operation.blocks
    }
    for block in held { cache.release(block) }
    #expect(pool.statistics.rented == 0)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("A block that comes for nobody goes back")
  func nobody() throws {
    try withBench(buffers: 4) { bench, _, _ in
      let pair = try ConnectedPair()
      let operation = receive(pair)
      bench.attach(operation)
      bench.proactor.arm(operation.pointer)
      bench.runIdle()
      pair.sendFromPeer("hello")
      bench.proactor.wait(timeoutNanoseconds: -1)
      bench.proactor.detach(operation.pointer)
      #expect(bench.proactor.tellCompletions() == 1)
      #expect(operation.results == [])
    }
  }

  @Test("A number that the kernel cannot have given has no block")
  func bogusNumber() throws {
    try withBench(buffers: 4) { bench, _, _ in
      let flags = SHIM_RING_BUFFER | UInt32(40_000) << SHIM_RING_BUFFER_SHIFT
      #expect(bench.ring.takeBuffer(of: shim_ring_event(data: 0, result: 4, flags: flags)) == nil)
    }
  }
}
