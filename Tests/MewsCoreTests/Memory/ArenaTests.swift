import Testing

@testable import MewsCore

@Suite("Arena")
struct ArenaTests {
  @Test("An arena that allocated nothing holds nothing, and resetting it is free")
  func emptyArena() throws {
    try withPool { pool, cache in
      let arena = ArenaBox(cache)
      #expect(arena.isEmpty)
      arena.reset()
      #expect(pool.statistics.allocated == 0)
    }
  }

  @Test("Allocations are aligned to 16 bytes, do not overlap and keep their bytes until the reset")
  func allocationsAreApart() throws {
    try withPool { pool, cache in
      let arena = ArenaBox(cache)
      var generator = SeededGenerator(seed: 7)
      var allocations: [UnsafeMutableRawBufferPointer] = []
      for index in 0..<2000 {
        let size = Int.random(in: 1...3000, using: &generator)
        let memory = try #require(arena.allocate(size))
        #expect(Int(bitPattern: memory) % 16 == 0)
        let buffer = UnsafeMutableRawBufferPointer(start: memory, count: size)
        for offset in buffer.indices { buffer[offset] = UInt8(truncatingIfNeeded: index &+ offset) }
        allocations.append(buffer)
      }
      for (index, buffer) in allocations.enumerated() {
        #expect(buffer.indices.allSatisfy { buffer[$0] == UInt8(truncatingIfNeeded: index &+ $0) })
      }
      arena.reset()
      #expect(arena.isEmpty)
      #expect(pool.statistics.rented == 0 && pool.statistics.large == 0)
    }
  }

  @Test("Small allocations share a block; those above 2 KiB that do not fit have one of their own")
  func smallAllocationsShareBlocks() throws {
    try withPool { pool, cache in
      let arena = ArenaBox(cache)
      for _ in 0..<256 { _ = try #require(arena.allocate(16)) }
      #expect(pool.statistics.rented == 1)
      _ = try #require(arena.allocate(1))
      #expect(pool.statistics.rented == 2)
      _ = try #require(arena.allocate(4090))
      #expect(pool.statistics.rented == 2 && pool.statistics.large == 1)
      let before = try #require(arena.allocate(16))
      _ = try #require(arena.allocate(100_000))
      let after = try #require(arena.allocate(16))
      #expect(after == before + 16, "a large allocation does not end the shared block")
      arena.reset()
    }
  }

  @Test("Sizes of 0 and below and above 1 GiB are nil", arguments: [0, -1, Int.min, (1 << 30) + 1, Int.max])
  func sizeOutOfRange(size: Int) throws {
    try withPool(limit: Int.max) { _, cache in
      let arena = ArenaBox(cache)
      #expect(arena.allocate(size) == nil)
      #expect(arena.isEmpty)
    }
  }

  @Test("1 GiB is within range")
  func largestSize() throws {
    try withPool(limit: Int.max) { _, cache in
      let arena = ArenaBox(cache)
      let memory = try #require(arena.allocate(Arena.maximumSize))
      memory.storeBytes(of: 1, toByteOffset: Arena.maximumSize - 1, as: UInt8.self)
      arena.reset()
    }
  }

  @Test("At the limit allocation answers nil, and what was allocated stays")
  func limitIsAnswered() throws {
    try withPool(limit: 2 * 4096) { _, cache in
      let arena = ArenaBox(cache)
      let first = try #require(arena.allocate(2048))
      first.storeBytes(of: 0x5A, as: UInt8.self)
      var count = 1
      while arena.allocate(2048) != nil { count += 1 }
      #expect(count == 4)
      #expect(arena.allocate(8192) == nil)
      #expect(first.load(as: UInt8.self) == 0x5A)
      arena.reset()
      #expect(arena.allocate(1) != nil)
      arena.reset()
    }
  }
}

/// An arena with its cache, by reference, so that expectations can call what changes it.
private final class ArenaBox {
  private var arena = Arena()
  private let cache: BlockCache

  init(_ cache: BlockCache) {
    self.cache = cache
  }

  var isEmpty: Bool { arena.isEmpty }

  func allocate(_ size: Int) -> UnsafeMutableRawPointer? { arena.allocate(size, from: cache) }

  func reset() { arena.reset(to: cache) }
}
