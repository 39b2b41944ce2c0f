import Testing

@testable import MewsCore

/// Runs a test with a pool and a cache, and checks afterwards that every block came back and nobody was caught misusing
/// one.
func withPool(
  limit: Int = 64 << 20, debug: BlockPoolDebug = [], _ body: (BlockPool, BlockCache) throws -> Void
) throws {
  let pool = try #require(BlockPool.create(limit: limit, debug: debug))
  let cache = try #require(pool.makeCache())
  try body(pool, cache)
  #expect(pool.misuseCount == 0)
  cache.destroy()
  #expect(pool.destroy() == 0)
}

/// A release function that counts its calls in the `Int` that is its context.
let countCall: BlockRelease = { context in
  context?.assumingMemoryBound(to: Int.self).pointee += 1
}

/// The same random numbers at each run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
