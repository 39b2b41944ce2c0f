import Testing

@testable import MewsCore

@Suite("Segment chain, coalescing")
struct SegmentChainCoalesceTests {
  @Test("Bytes that lie together already stay where they are")
  func contiguousBytesStay() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(100)))
      let start = chain.chain.first.baseAddress
      #expect(chain.coalesce(100, room: 1000))
      #expect(chain.coalesce(0, room: 5))
      #expect(chain.chain.first.baseAddress == start)
      #expect(pool.statistics.rented == 1)
    }
  }

  @Test("Bytes over several blocks come to lie in one, with the room asked for behind them")
  func straddlingBytesAreJoined() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(9000)))
      #expect(chain.coalesce(9000, room: 100))
      #expect(Array(chain.chain.first) == pattern(9000))
      #expect(pool.statistics.rented == 0 && pool.statistics.large == 1)
      #expect((chain.reserve(1)?.count ?? 0) >= 100)
      #expect(chain.append(pattern(100, from: 9000)))
      #expect(chain.blocks.count == 1)
    }
  }

  @Test("When other bytes follow, only the first ones are moved")
  func followingBytesStay() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(12_000)))
      chain.consume(4000)
      #expect(chain.coalesce(200, room: 1 << 40), "room is of no use when other bytes follow")
      #expect(chain.chain.first.count == 200)
      #expect(chain.bytes == pattern(8000, from: 4000))
      #expect(chain.append(pattern(10, from: 12_000)))
      #expect(chain.bytes == pattern(8010, from: 4000))
    }
  }

  @Test("Bytes are moved to the start of their own block when that makes enough room")
  func bytesMoveWithinBlock() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(4200)))
      chain.consume(4000)
      let block = chain.blocks[0]
      #expect(chain.coalesce(200, room: 3000))
      #expect(chain.blocks == [block])
      #expect(Array(chain.chain.first) == pattern(200, from: 4000))
      #expect(block.pointee.start == 0 && pool.statistics.rented == 1)
    }
  }

  @Test("Bytes of a pinned block are copied and the pinned ones left as they are")
  func pinnedBytesStay() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(4096)))
      chain.consume(4000)
      let pinned = chain.blocks[0]
      chain.cache.retain(pinned)
      #expect(chain.coalesce(96, room: 1000))
      #expect(chain.blocks != [pinned])
      #expect(Array(chain.chain.first) == pattern(96, from: 4000))
      #expect(UnsafeBufferPointer(start: pinned.pointee.bytes, count: 4096).elementsEqual(pattern(4096)))
      chain.cache.release(pinned)
    }
  }

  @Test("External bytes are copied, never written to, and released")
  func externalBytesAreCopied() throws {
    try withChain { chain, pool in
      let external = pattern(3000)
      try external.withUnsafeBytes { bytes in
        let start = try #require(bytes.baseAddress)
        let block = try #require(chain.cache.rentExternal(start, bytes.count, release: nil, context: nil))
        chain.append(block)
        #expect(chain.append(pattern(10, from: 3000)))
        #expect(chain.coalesce(3010, room: 10))
        #expect(Array(chain.chain.first) == pattern(3010))
        #expect(external == pattern(3000))
        #expect(pool.statistics.external == 0)
      }
    }
  }

  @Test("A head that grows byte by byte to 64 KiB moves a handful of times")
  func growingHeadMovesSeldom() throws {
    try withChain { chain, _ in
      var moves = 0
      var place = chain.chain.first.baseAddress
      for index in 0..<65_536 {
        #expect(chain.append(pattern(1, from: index)))
        guard chain.chain.first.count < chain.count else { continue }
        #expect(chain.coalesce(chain.count, room: 1))
        if chain.chain.first.baseAddress != place { moves += 1 }
        place = chain.chain.first.baseAddress
      }
      #expect(chain.bytes == pattern(65_536))
      #expect(moves <= 5, "4 KiB to 64 KiB by doubling")
    }
  }

  @Test("A head that grows while other bytes follow moves a handful of times too")
  func growingHeadBeforeOthersMovesSeldom() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(70_000)))
      var moves = 0
      var place = chain.chain.first.baseAddress
      for count in 1...65_536 {
        #expect(chain.coalesce(count, room: 0))
        if chain.chain.first.baseAddress != place { moves += 1 }
        place = chain.chain.first.baseAddress
      }
      #expect(chain.bytes == pattern(70_000))
      #expect(moves <= 5)
    }
  }

  @Test("Counts out of range and negative room are refused", arguments: [(-1, 0), (11, 0), (5, -1), (10, Int.max)])
  func argumentsOutOfRange(count: Int, room: Int) throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(10)))
      #expect(!chain.coalesce(count, room: room))
      #expect(chain.bytes == pattern(10))
    }
  }

  @Test("At the limit the bytes stay where they are")
  func limitIsAnswered() throws {
    try withChain(limit: 3 * 4096) { chain, _ in
      #expect(chain.append(pattern(8000)))
      #expect(!chain.coalesce(8000, room: 0))
      #expect(chain.bytes == pattern(8000))
    }
  }

  private func withChain(limit: Int = 64 << 20, _ body: (ChainBox, BlockPool) throws -> Void) throws {
    try withPool(limit: limit) { pool, cache in
      let chain = ChainBox(cache)
      try body(chain, pool)
      chain.removeAll()
    }
  }
}
