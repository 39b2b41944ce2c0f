/// Why a route has the class it has: what was seen when it got it. Times are nanoseconds.
public enum RouteReason: Equatable, Sendable {
  /// Its plugin says so.
  case declared
  /// The operator says so, for all routes that it did not leave alone.
  case ordered
  /// It is learned, and nothing that was seen so far has changed it.
  case initial
  /// So many runs in a row were short; the longest used so much CPU time.
  case shortRuns(count: Int, longest: Int64)
  /// So many of the last runs were mostly sleep; the longest wait.
  case sleeps(count: Int, of: Int, longest: Int64)
  /// So few of the last runs were mostly sleep.
  case seldomSleeps(count: Int, of: Int)
  /// So many of the last runs of a blocking route used CPU time for long; the longest.
  case burns(count: Int, of: Int, longest: Int64)
  /// So many of the measured inline runs waited; the longest wait.
  case waitedInline(count: Int, of: Int, longest: Int64)
  /// So many of the measured inline runs used CPU time for long; the longest.
  case longInline(count: Int, of: Int, longest: Int64)
  /// An inline run did not return for so long that its I/O thread was looked after.
  case stuckInline(time: Int64)
  /// An inline run called a function that may wait.
  case calledBlocking
}

extension RouteReason: CustomStringConvertible {
  /// A clause: "26 of 32 runs slept, longest 10.2 ms".
  public var description: String {
    switch self {
    case .declared: "declared"
    case .ordered: "ordered by --execution"
    case .initial: "not known long enough"
    case .shortRuns(let count, let longest): "\(count) runs in a row were short, longest \(duration(longest))"
    case .sleeps(let count, let total, let longest): "\(count) of \(total) runs slept, longest \(duration(longest))"
    case .seldomSleeps(let count, let total): "only \(count) of \(total) runs slept"
    case .burns(let count, let total, let longest):
      "\(count) of \(total) runs used the processor for long, longest \(duration(longest))"
    case .waitedInline(let count, let total, let longest):
      "\(count) of \(total) inline runs waited, longest \(duration(longest))"
    case .longInline(let count, let total, let longest):
      "\(count) of \(total) inline runs were long, longest \(duration(longest))"
    case .stuckInline(let time): "an inline run had not returned after \(duration(time))"
    case .calledBlocking: "an inline run called mews_blocking_begin"
    }
  }
}

/// Nanoseconds in the unit that suits them, with a decimal: "50.1 ms".
func duration(_ nanoseconds: Int64) -> String {
  let (unit, name): (Int64, String) =
    switch nanoseconds {
    case ..<1_000_000: (1_000, "us")
    case ..<1_000_000_000: (1_000_000, "ms")
    default: (1_000_000_000, "s")
    }
  let tenths = max(0, nanoseconds) / (unit / 10)
  return "\(tenths / 10).\(tenths % 10) \(name)"
}
