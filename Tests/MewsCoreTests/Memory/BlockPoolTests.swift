import Foundation
import Synchronization
import Testing

@testable import MewsCore

@Suite("Block pool")
struct BlockPoolTests {
  static let mebibyte = 1 << 20

  @Test("A rented block has one reference, no bytes and 4 KiB of page-aligned room")
  func rentedBlockIsFresh() throws {
    try withPool { _, cache in
      let block = try #require(cache.rent())
      #expect(block.pointee.references == 1)
      #expect(block.pointee.unread == 0)
      #expect(block.pointee.room == 4096)
      #expect(block.pointee.next == nil)
      #expect(Int(bitPattern: block.pointee.bytes) % 4096 == 0)
      #expect(Int(bitPattern: block) % 64 == 0)
      cache.release(block)
    }
  }

  @Test("The block released last is rented first, and is fresh again")
  func lastReleasedIsRentedFirst() throws {
    try withPool { _, cache in
      let block = try #require(cache.rent())
      block.pointee.end = 100
      block.pointee.start = 50
      cache.release(block)
      let again = try #require(cache.rent())
      #expect(again == block)
      #expect(again.pointee.unread == 0 && again.pointee.start == 0)
      cache.release(again)
    }
  }

  @Test("Statistics are exact: a slab of 256 blocks appears with the first rent")
  func statisticsAreExact() throws {
    try withPool { pool, cache in
      #expect(pool.statistics == BlockPoolStatistics())
      var blocks: [BlockPointer] = []
      for _ in 0..<100 { blocks.append(try #require(cache.rent())) }
      var expected = BlockPoolStatistics()
      expected.rented = 100
      expected.pooled = 156
      expected.allocated = 256
      expected.bytes = BlockPoolTests.mebibyte
      #expect(pool.statistics == expected)
      blocks.forEach(cache.release)
      expected.rented = 0
      expected.pooled = 256
      #expect(pool.statistics == expected)
    }
  }

  @Test("At the limit rent answers nil, and one release makes one rent possible")
  func limitIsHard() throws {
    try withPool(limit: 10 * 4096 + 4095) { pool, cache in
      var blocks: [BlockPointer] = []
      while let block = cache.rent() { blocks.append(block) }
      #expect(blocks.count == 10)
      #expect(Set(blocks).count == 10)
      #expect(cache.rentLarge(4096) == nil)
      cache.release(blocks.removeLast())
      blocks.append(try #require(cache.rent()))
      #expect(cache.rent() == nil)
      #expect(pool.statistics.bytes == 10 * 4096)
      blocks.forEach(cache.release)
    }
  }

  @Test("Large blocks count against the limit until they are released")
  func largeBlocksCountAgainstLimit() throws {
    try withPool(limit: 100_000) { pool, cache in
      let large = try #require(cache.rentLarge(90_000))
      #expect(pool.statistics.large == 1 && pool.statistics.bytes == 90_000)
      #expect(cache.rentLarge(10_001) == nil)
      let block = try #require(cache.rent())
      #expect(pool.statistics.allocated == 2)
      cache.release(large)
      #expect(pool.statistics.large == 0 && pool.statistics.bytes == 8192)
      cache.release(block)
    }
  }

  @Test("A limit below one block makes no pool")
  func limitBelowOneBlock() {
    #expect(BlockPool.create(limit: 4095) == nil)
    #expect(BlockPool.create(limit: -1) == nil)
  }

  @Test("A cache keeps at most 64 free blocks and gives the others to the pool")
  func cacheIsBounded() throws {
    try withPool { pool, cache in
      var blocks: [BlockPointer] = []
      for _ in 0..<256 { blocks.append(try #require(cache.rent())) }
      blocks.forEach(cache.release)
      let other = try #require(pool.makeCache())
      var rented: [BlockPointer] = []
      for _ in 0..<(256 - 64) { rented.append(try #require(other.rent())) }
      #expect(pool.statistics.allocated == 256)
      rented.append(try #require(other.rent()))
      #expect(pool.statistics.allocated == 512, "the other 64 lay in the first cache")
      rented.forEach(other.release)
      other.destroy()
    }
  }

  @Test("A drained or destroyed cache leaves its free blocks to other caches")
  func drainedCacheSharesBlocks() throws {
    try withPool(limit: 4 * 4096) { pool, cache in
      let block = try #require(cache.rent())
      cache.release(block)
      let other = try #require(pool.makeCache())
      #expect(other.rent() == nil)
      cache.drain()
      let rented = try #require(other.rent())
      other.release(rented)
      #expect(cache.rent() == nil)
      other.destroy()
      cache.release(try #require(cache.rent()))
    }
  }

  @Test("A retained block goes back with its last owner")
  func retainedBlockStays() throws {
    try withPool { pool, cache in
      let block = try #require(cache.rent())
      cache.retain(block)
      cache.retain(block)
      cache.release(block)
      cache.release(block)
      #expect(pool.statistics.rented == 1)
      cache.release(block)
      #expect(pool.statistics.rented == 0)
    }
  }

  @Test("A large block has the capacity asked for and 16-byte alignment")
  func largeBlock() throws {
    try withPool { pool, cache in
      let block = try #require(cache.rentLarge(70_001))
      #expect(block.pointee.capacity == 70_001 && block.pointee.room == 70_001)
      #expect(block.pointee.references == 1)
      #expect(Int(bitPattern: block.pointee.bytes) % 16 == 0)
      block.pointee.bytes[0] = 1
      block.pointee.bytes[70_000] = 2
      cache.release(block)
      #expect(pool.statistics.large == 0)
    }
  }

  @Test("A large block of no, negative or too many bytes is nil", arguments: [0, -1, Int.min, Int.max, 1 << 32])
  func largeBlockOutOfRange(capacity: Int) throws {
    try withPool(limit: Int.max) { pool, cache in
      #expect(cache.rentLarge(capacity) == nil)
      #expect(pool.statistics.bytes == 0)
    }
  }

  @Test("An external block shows all its bytes, has no room, and calls release once, with the last owner")
  func externalBlock() throws {
    try withPool { pool, cache in
      let bytes: [UInt8] = [1, 2, 3]
      var calls = 0
      try bytes.withUnsafeBytes { bytes in
        try withUnsafeMutablePointer(to: &calls) { calls in
          let start = try #require(bytes.baseAddress)
          let block = try #require(
            cache.rentExternal(start, bytes.count, release: countCall, context: UnsafeMutableRawPointer(calls)))
          #expect(UnsafeRawPointer(block.pointee.bytes) == start)
          #expect(block.pointee.unread == 3 && block.pointee.room == 0)
          #expect(pool.statistics.external == 1)
          cache.retain(block)
          cache.release(block)
          #expect(calls.pointee == 0)
          cache.release(block)
          #expect(calls.pointee == 1)
        }
      }
      #expect(pool.statistics.external == 0 && pool.statistics.bytes == 0)
    }
  }

  @Test("An external block of a negative count or above 4 GiB is nil and its release stays the caller's")
  func externalBlockOutOfRange() throws {
    try withPool { _, cache in
      var calls = 0
      try withUnsafeMutablePointer(to: &calls) { calls in
        let context = UnsafeMutableRawPointer(calls)
        #expect(cache.rentExternal(context, -1, release: countCall, context: context) == nil)
        #expect(cache.rentExternal(context, 1 << 32, release: countCall, context: context) == nil)
        let empty = try #require(cache.rentExternal(context, 0, release: nil, context: nil))
        cache.release(empty)
        #expect(calls.pointee == 0)
      }
    }
  }

  @Test("Headers of external blocks are used again and travel between caches")
  func externalHeadersAreReused() throws {
    try withPool { pool, cache in
      let other = try #require(pool.makeCache())
      var byte: UInt8 = 0
      try withUnsafePointer(to: &byte) { byte in
        var seen: Set<BlockPointer> = []
        for _ in 0..<20 {
          var blocks: [BlockPointer] = []
          for _ in 0..<200 {
            blocks.append(try #require(cache.rentExternal(byte, 1, release: nil, context: nil)))
          }
          seen.formUnion(blocks)
          #expect(pool.statistics.external == 200)
          blocks.forEach(other.release)
          #expect(pool.statistics.external == 0)
        }
        #expect(seen.count <= 6 * 63)
      }
      other.destroy()
    }
  }

  @Test("trim gives back the pages of free blocks in the pool once, and they can be used again")
  func trimEvictsFreePages() throws {
    try withPool { pool, cache in
      var blocks: [BlockPointer] = []
      for _ in 0..<64 { blocks.append(try #require(cache.rent())) }
      for block in blocks { block.pointee.bytes.update(repeating: 7, count: 4096) }
      let held = blocks[0]
      let returned = blocks.dropFirst()
      returned.forEach(cache.release)
      cache.drain()
      #expect(pool.trim() == 255)
      #expect(pool.trim() == 0)
      #expect(pool.statistics.evicted == 255)
      #expect(pool.statistics.pooled == 255 && pool.statistics.rented == 1)
      #expect(returned.allSatisfy { $0.pointee.bytes[0] == 0 && $0.pointee.bytes[4095] == 0 })
      #expect(held.pointee.bytes[0] == 7)
      var again: [BlockPointer] = []
      for _ in 0..<255 { again.append(try #require(cache.rent())) }
      #expect(pool.statistics.allocated == 256)
      again.forEach(cache.release)
      cache.release(held)
    }
  }

  @Test("destroy tells how many blocks and caches were never given back, and frees nothing then")
  func destroyCountsLeaks() throws {
    let pool = try #require(BlockPool.create(limit: BlockPoolTests.mebibyte * 4))
    let cache = try #require(pool.makeCache())
    let block = try #require(cache.rent())
    let large = try #require(cache.rentLarge(10_000))
    let external = try #require(cache.rentExternal(block.pointee.bytes, 1, release: nil, context: nil))
    #expect(pool.destroy() == 4)
    block.pointee.bytes[0] = 1
    cache.release(external)
    cache.release(large)
    cache.release(block)
    #expect(pool.destroy() == 1)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("Two threads that return each other's blocks lose none and share none")
  func twoThreadsReturnEachOthersBlocks() throws {
    let pool = try #require(BlockPool.create(limit: 64 * BlockPoolTests.mebibyte))
    let boxes = [BlockMailbox(), BlockMailbox()]
    let rounds = 20_000
    let failures = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 2) { side in
      guard let cache = pool.makeCache() else {
        failures.add(1, ordering: .relaxed)
        return
      }
      var generator = SeededGenerator(seed: UInt64(side) + 1)
      for round in 0..<rounds {
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
          guard let block = cache.rent() else { continue }
          // A block in two hands would show the other's stamp.
          let stamp = UInt64(side) << 32 | UInt64(round)
          UnsafeMutableRawPointer(block.pointee.bytes).storeBytes(of: stamp, as: UInt64.self)
          if UnsafeRawPointer(block.pointee.bytes).load(as: UInt64.self) != stamp || block.pointee.references != 1 {
            failures.add(1, ordering: .relaxed)
          }
          boxes[1 - side].put(block)
        }
        for block in boxes[side].takeAll() { cache.release(block) }
        if round % 1000 == 0, pool.statistics.rented < 0 { failures.add(1, ordering: .relaxed) }
      }
      cache.destroy()
    }
    let cache = try #require(pool.makeCache())
    for box in boxes { box.takeAll().forEach(cache.release) }
    #expect(failures.load(ordering: .relaxed) == 0)
    #expect(pool.misuseCount == 0)
    #expect(pool.statistics.rented == 0)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("The lock lets one thread in at a time")
  func lockExcludes() throws {
    let lock = try #require(PoolLock.create())
    let counter = Counter()
    nonisolated(unsafe) let shared = lock
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      for _ in 0..<50_000 {
        shared.lock()
        counter.value += 1
        shared.unlock()
      }
    }
    #expect(counter.value == 200_000)
    lock.destroy()
  }
}

private final class Counter: @unchecked Sendable {
  var value = 0
}

/// Blocks on their way from one thread to the other.
private final class BlockMailbox: @unchecked Sendable {
  private let lock = NSLock()
  private var blocks: [BlockPointer] = []

  func put(_ block: BlockPointer) {
    lock.withLock { blocks.append(block) }
  }

  func takeAll() -> [BlockPointer] {
    lock.withLock {
      defer { blocks = [] }
      return blocks
    }
  }
}
