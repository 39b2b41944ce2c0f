/// Who goes on, at each point of a schedule. The clock takes part like a thread: when it is its turn, time passes.
///
/// Two kinds, for they find different bugs. A walk picks anybody, or keeps who runs for a while. A schedule by
/// priorities lets the first in an order of its own run until it waits, and changes the order at a few points only:
/// most bugs of order need one or two such changes, and a walk rarely leaves all others alone for long enough.
/// (Burckhardt and others, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010.)
struct SchedulePolicy {
  /// The number that stands for the clock.
  static let clock = 31

  private enum Kind {
    /// One decision in so many may change who runs.
    case walk(changes: Int)
    case priorities
  }

  var random: RandomSource
  private let kind: Kind
  /// By number; the highest runs.
  private var priorities: InlineArray<32, Int32> = InlineArray(repeating: 0)
  private var lowest: Int32 = 0
  /// The steps at which who runs becomes the last in the order.
  private var changes = InlineArray<3, Int>(repeating: -1)

  /// How many steps a schedule usually has: changes come within these.
  private static let usualSteps = 160

  init(seed: UInt64) {
    random = RandomSource(seed: seed)
    switch random.below(6) {
    case 0: kind = .walk(changes: 1)
    case 1: kind = .walk(changes: 2)
    case 2: kind = .walk(changes: 6)
    default: kind = .priorities
    }
    for index in 0..<32 { priorities[index] = Int32(truncatingIfNeeded: random.next() >> 34) }
    for index in 0..<1 + random.below(3) { changes[index] = random.below(Self.usualSteps) }
  }

  /// Picks one of the numbers in a mask.
  ///
  /// - Parameters:
  ///   - current: who has run up to now.
  ///   - step: how many decisions there were before.
  mutating func pick(_ mask: UInt32, current: Int, step: Int) -> Int {
    switch kind {
    case .walk(let changes):
      if mask & (1 << UInt32(current)) != 0, changes > 1, !random.isOne(in: changes) { return current }
      return random.bit(of: mask)
    case .priorities:
      for index in 0..<3 where changes[index] == step {
        lowest -= 1
        priorities[current] = lowest
      }
      return first(of: mask)
    }
  }

  private func first(of mask: UInt32) -> Int {
    var left = mask
    var best = left.trailingZeroBitCount
    while left != 0 {
      let candidate = left.trailingZeroBitCount
      if priorities[candidate] > priorities[best] { best = candidate }
      left &= left &- 1
    }
    return best
  }
}
