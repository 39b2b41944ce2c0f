import Glibc
import Testing

@testable import MewsCore

@Suite("Segment chain")
struct SegmentChainTests {
  @Test("An empty chain has no bytes, no block and no vectors")
  func emptyChain() throws {
    try withChain { chain, _ in
      #expect(chain.count == 0 && chain.chain.holdsNoBlock)
      #expect(chain.chain.first.isEmpty)
      #expect(chain.chain.firstBlock == nil)
      #expect(chain.bytes == [])
      chain.consume(10)
      chain.removeAll()
    }
  }

  @Test("Reserving gives all the room of the tail, and advancing commits the part that was written")
  func reserveAndAdvance() throws {
    try withChain { chain, _ in
      let room = try #require(chain.reserve(10))
      #expect(room.count == 4096)
      room.copyBytes(from: pattern(10))
      #expect(chain.count == 0)
      #expect(chain.advance(10))
      #expect(chain.count == 10 && chain.bytes == pattern(10))
      let more = try #require(chain.reserve(1))
      #expect(more.count == 4086)
      #expect(more.baseAddress == room.baseAddress.map { $0 + 10 })
    }
  }

  @Test("Reserving 0 or less gives room all the same")
  func reserveIsNeverEmpty() throws {
    try withChain { chain, _ in
      #expect(chain.write(pattern(4096)))
      #expect(chain.reserve(0)?.count == 4096)
      #expect(chain.reserve(-5)?.count == 4096)
    }
  }

  @Test("Too little room in the tail makes a new block; the bytes of the old one stay")
  func reserveBeyondTail() throws {
    try withChain { chain, pool in
      #expect(chain.write(pattern(4000)))
      #expect(chain.reserve(97)?.count == 4096)
      #expect(chain.write(pattern(97, from: 4000)))
      #expect(chain.bytes == pattern(4097))
      #expect(pool.statistics.rented == 2)
    }
  }

  @Test("Reserving more than 4 KiB gives a large block")
  func reserveLarge() throws {
    try withChain { chain, pool in
      #expect(chain.reserve(4097)?.count == 4097)
      #expect(pool.statistics.large == 1)
    }
  }

  @Test("Advancing by more than was reserved, by less than 0 or twice changes nothing")
  func advanceOutOfRange() throws {
    try withChain { chain, _ in
      #expect(!chain.advance(1))
      #expect(chain.advance(0))
      _ = try #require(chain.reserve(1))
      #expect(!chain.advance(4097))
      #expect(!chain.advance(-1))
      #expect(chain.advance(4096))
      #expect(!chain.advance(1))
      #expect(chain.count == 4096)
    }
  }

  @Test("At the limit reserve answers nil and append false, and the bytes stay")
  func limitIsAnswered() throws {
    try withChain(limit: 2 * 4096) { chain, _ in
      #expect(chain.write(pattern(100)))
      #expect(!chain.append(pattern(8093)))
      #expect(chain.bytes == pattern(100))
      #expect(chain.append(pattern(8092, from: 100)))
      #expect(chain.bytes == pattern(8192))
      #expect(chain.reserve(1) == nil)
      #expect(chain.bytes == pattern(8192))
    }
  }

  @Test("Appended bytes fill the tail first and go on in new blocks", arguments: [1, 4095, 4096, 4097, 20_000])
  func appendSpansBlocks(count: Int) throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(50)))
      #expect(chain.append(pattern(count, from: 50)))
      #expect(chain.bytes == pattern(50 + count))
      #expect(pool.statistics.rented == (50 + count + 4095) / 4096)
    }
  }

  @Test("Consuming releases blocks as they are read, the last one too")
  func consumeReleases() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(10_000)))
      #expect(pool.statistics.rented == 3)
      chain.consume(4095)
      #expect(pool.statistics.rented == 3)
      chain.consume(1)
      #expect(pool.statistics.rented == 2)
      #expect(chain.bytes == pattern(10_000 - 4096, from: 4096))
      chain.consume(10_000 - 4096)
      #expect(pool.statistics.rented == 0 && chain.chain.holdsNoBlock)
    }
  }

  @Test("Consuming more than there is empties the chain; less than nothing changes nothing")
  func consumeOutOfRange() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(10)))
      chain.consume(-3)
      #expect(chain.count == 10)
      chain.consume(11)
      #expect(chain.count == 0 && chain.chain.holdsNoBlock)
    }
  }

  @Test("A reservation keeps the tail through a full read; giving it up releases it")
  func reservationPinsTail() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(10)))
      let room = try #require(chain.reserve(1))
      chain.consume(10)
      #expect(pool.statistics.rented == 1)
      room.copyBytes(from: pattern(5))
      #expect(chain.advance(5))
      #expect(chain.bytes == pattern(5))
      _ = try #require(chain.reserve(1))
      chain.consume(5)
      chain.cancelReservation()
      #expect(pool.statistics.rented == 0)
    }
  }

  @Test("Giving a reservation up keeps unread bytes")
  func cancelReservationKeepsBytes() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(10)))
      _ = try #require(chain.reserve(1))
      chain.cancelReservation()
      #expect(!chain.advance(1))
      #expect(chain.bytes == pattern(10))
    }
  }

  @Test("A tail that is read to its end is written again from its start")
  func readTailIsRewound() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(4000)))
      let room = try #require(chain.reserve(1))
      chain.consume(4000)
      #expect(room.count == 96)
      #expect(chain.reserve(97)?.count == 4096)
      #expect(pool.statistics.rented == 1)
    }
  }

  @Test("A pinned tail is appended to behind the pinned bytes, and never rewound")
  func pinnedTailIsNotRewound() throws {
    try withChain { chain, pool in
      #expect(chain.append(pattern(4000)))
      let pinned = try #require(chain.chain.firstBlock)
      chain.cache.retain(pinned)
      #expect(chain.append([1, 2]))
      #expect(pool.statistics.rented == 1)
      _ = try #require(chain.reserve(1))
      chain.consume(4002)
      let room = try #require(chain.reserve(4096))
      #expect(room.baseAddress != UnsafeMutableRawPointer(pinned.pointee.bytes))
      #expect((0..<4000).allSatisfy { pinned.pointee.bytes[$0] == pattern(1, from: $0)[0] })
      chain.cache.release(pinned)
    }
  }

  @Test("An appended block is taken over: its bytes are read in order and it is released when read")
  func appendBlock() throws {
    try withChain { chain, _ in
      let external = Array("external".utf8)
      var calls = 0
      try withUnsafeMutablePointer(to: &calls) { calls in
        try external.withUnsafeBytes { bytes in
          let start = try #require(bytes.baseAddress)
          let block = try #require(
            chain.cache.rentExternal(start, bytes.count, release: countCall, context: calls))
          #expect(chain.append([1]))
          chain.append(block)
          #expect(chain.append([2]))
          #expect(chain.bytes == [1] + external + [2])
          #expect(chain.blocks.count == 3, "nothing is written into external bytes")
          chain.consume(1 + external.count - 1)
          #expect(calls.pointee == 0)
          chain.consume(1)
          #expect(calls.pointee == 1)
        }
      }
    }
  }

  @Test("Blocks without bytes are passed over by every reader and released on the way")
  func emptyBlocksAreSkipped() throws {
    try withChain { chain, pool in
      chain.append(try #require(chain.cache.rent()))
      chain.append(try #require(chain.cache.rentExternal(chain.blocks[0], 0, release: nil, context: nil)))
      #expect(chain.count == 0 && chain.chain.first.isEmpty && chain.bytes == [])
      #expect(chain.append([7, 8]))
      #expect(Array(chain.chain.first) == [7, 8])
      #expect(chain.bytes == [7, 8])
      chain.consume(1)
      #expect(pool.statistics.external == 0)
      #expect(chain.bytes == [8])
    }
  }

  @Test("Moving a chain to the end of another takes its blocks and leaves it empty")
  func appendChain() throws {
    try withChain { chain, pool in
      let other = ChainBox(chain.cache)
      chain.append(contentsOf: other)
      #expect(chain.chain.holdsNoBlock)
      #expect(other.append(pattern(5000)))
      chain.append(contentsOf: other)
      #expect(other.chain.holdsNoBlock && other.count == 0)
      #expect(other.append(pattern(5000, from: 5000)))
      chain.append(contentsOf: other)
      #expect(chain.append(pattern(10, from: 10_000)))
      #expect(chain.bytes == pattern(10_010))
      #expect(pool.statistics.rented == 4)
    }
  }

  @Test("gather fills as many vectors as it may and stops at the limit, inside a block too")
  func gatherLimits() throws {
    try withChain { chain, _ in
      #expect(chain.append(pattern(9000)))
      var vectors = [iovec](repeating: iovec(), count: 4)
      let gathered = vectors.withUnsafeMutableBufferPointer { buffer in
        buffer.baseAddress.map { start in
          [
            chain.chain.gather(start, 0), chain.chain.gather(start, 2), chain.chain.gather(start, 4),
            chain.chain.gather(start, 4, limit: 0), chain.chain.gather(start, 4, limit: 4100),
          ]
        }
      }
      #expect(gathered == [0, 2, 3, 0, 2])
      #expect(vectors[0].iov_len == 4096 && vectors[1].iov_len == 4)
    }
  }

  private func withChain(limit: Int = 64 << 20, _ body: (ChainBox, BlockPool) throws -> Void) throws {
    try withPool(limit: limit) { pool, cache in
      let chain = ChainBox(cache)
      try body(chain, pool)
      chain.removeAll()
      #expect(chain.chain.holdsNoBlock)
    }
  }
}
