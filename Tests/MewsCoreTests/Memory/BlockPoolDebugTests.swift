import Testing

@testable import MewsCore

@Suite("Block pool, debug modes")
struct BlockPoolDebugTests {
  @Test(
    "A block released twice is counted once and harms nothing, in every mode but malloc's",
    arguments: [[], BlockPoolDebug.poison])
  func doubleReturnIsCounted(mode: BlockPoolDebug) throws {
    let pool = try #require(BlockPool.create(limit: 1 << 20, debug: mode))
    let cache = try #require(pool.makeCache())
    let block = try #require(cache.rent())
    cache.release(block)
    cache.release(block)
    #expect(pool.misuseCount == 1)
    let first = try #require(cache.rent())
    let second = try #require(cache.rent())
    #expect(first != second)
    cache.release(first)
    cache.release(second)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("An external block released twice is counted and its release function called once")
  func doubleReturnOfExternalIsCounted() throws {
    let pool = try #require(BlockPool.create(limit: 1 << 20))
    let cache = try #require(pool.makeCache())
    var calls = 0
    try withUnsafeMutablePointer(to: &calls) { calls in
      let block = try #require(cache.rentExternal(calls, 1, release: countCall, context: calls))
      cache.release(block)
      cache.release(block)
      #expect(calls.pointee == 1)
    }
    #expect(pool.misuseCount == 1)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("Returned blocks are filled with 0xDB")
  func returnedBlocksArePoisoned() throws {
    try withPool(debug: .poison) { _, cache in
      let block = try #require(cache.rent())
      block.pointee.bytes.update(repeating: 1, count: 4096)
      cache.release(block)
      #expect((0..<4096).allSatisfy { block.pointee.bytes[$0] == 0xDB })
    }
  }

  @Test("A write after the return is counted when the block is rented again", arguments: [0, 1234, 4095])
  func useAfterReturnIsCounted(offset: Int) throws {
    let pool = try #require(BlockPool.create(limit: 4096, debug: .poison))
    let cache = try #require(pool.makeCache())
    let block = try #require(cache.rent())
    cache.release(block)
    block.pointee.bytes[offset] = 0
    #expect(pool.misuseCount == 0)
    let again = try #require(cache.rent())
    #expect(again == block)
    #expect(pool.misuseCount == 1)
    cache.release(again)
    cache.destroy()
    #expect(pool.destroy() == 0)
  }

  @Test("With poison the block that was returned first is rented first, after those never used")
  func poisonedBlocksRest() throws {
    try withPool(limit: 3 * 4096, debug: .poison) { pool, cache in
      let blocks = [try #require(cache.rent()), try #require(cache.rent()), try #require(cache.rent())]
      #expect(cache.rent() == nil)
      #expect(pool.statistics.rented == 3 && pool.statistics.allocated == 3)
      for block in blocks { cache.release(block) }
      #expect(pool.statistics.pooled == 3)
      let again = [try #require(cache.rent()), try #require(cache.rent()), try #require(cache.rent())]
      #expect(again == blocks)
      again.forEach(cache.release)
    }
  }

  @Test("With a malloc for every block each rent is an allocation, counted and limited")
  func everyBlockFromMalloc() throws {
    try withPool(limit: 2 * 4096, debug: .everyBlockFromMalloc) { pool, cache in
      let first = try #require(cache.rent())
      let second = try #require(cache.rent())
      #expect(cache.rent() == nil)
      #expect(pool.statistics.rented == 2 && pool.statistics.allocated == 2 && pool.statistics.pooled == 0)
      #expect(first.pointee.room == 4096 && first.pointee.kind == .separate)
      cache.release(second)
      cache.release(first)
      #expect(pool.statistics.allocated == 0 && pool.statistics.bytes == 0)
    }
  }

  @Test("Large blocks and the arena work in each mode", arguments: [BlockPoolDebug.poison, .everyBlockFromMalloc])
  func modesServeEverything(mode: BlockPoolDebug) throws {
    try withPool(debug: mode) { _, cache in
      var arena = Arena()
      for size in 1...3000 {
        let memory = arena.allocate(size, from: cache)
        try #require(memory != nil)
        memory?.initializeMemory(as: UInt8.self, repeating: 9, count: size)
      }
      arena.reset(to: cache)
    }
  }
}
