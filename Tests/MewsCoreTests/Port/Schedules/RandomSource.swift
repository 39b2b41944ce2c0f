/// Numbers that look random and follow from a seed alone.
struct RandomSource {
  private var state: UInt64

  init(seed: UInt64) {
    // Seeds that lie close together have nothing to do with each other.
    state = Self.mix(seed &+ 0x1234_5678_9abc_def1)
  }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return Self.mix(state)
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var mixed = value
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// A number from 0 up to, but not including, the limit.
  mutating func below(_ limit: Int) -> Int {
    Int(truncatingIfNeeded: (next() >> 33) % UInt64(truncatingIfNeeded: limit))
  }

  mutating func isOne(in count: Int) -> Bool { below(count) == 0 }

  /// The number of one of the bits that are set. There is at least one.
  mutating func bit(of mask: UInt32) -> Int {
    var left = mask
    for _ in 0..<below(mask.nonzeroBitCount) { left &= left &- 1 }
    return left.trailingZeroBitCount
  }
}
