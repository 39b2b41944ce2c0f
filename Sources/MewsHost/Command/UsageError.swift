/// Wrong arguments. The command prints the description on the standard error and exits with status 2.
public struct UsageError: Error, Equatable, CustomStringConvertible {
  /// What was expected and what was given: one clause without a full stop.
  public let text: String

  init(_ text: String) {
    self.text = text
  }

  /// One line, such as `mews: --workers: expected a number from 1 to 1024, got 'x'`.
  public var description: String { "mews: \(text)" }

  /// A word that is none of those known; names the nearest of them when it is near.
  static func unknown(_ kind: String, _ word: String, among known: [String]) -> UsageError {
    guard let nearest = nearest(to: word, among: known) else {
      return UsageError("unknown \(kind) '\(printable(word))'; see 'mews help'")
    }
    return UsageError("unknown \(kind) '\(printable(word))'; did you mean '\(nearest)'?")
  }

  /// The known word that a third of the letters or fewer, and at least one, turn the given word into.
  private static func nearest(to word: String, among known: [String]) -> String? {
    let given = Array(word.utf8.prefix(64))
    let distances = known.map { (word: $0, distance: distance(given, Array($0.utf8))) }
    guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(1, best.word.utf8.count / 3) ? best.word : nil
  }

  /// How many letters must be put in, left out, exchanged or swapped with their neighbour (optimal string alignment).
  private static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...second.count)
    for (row, letter) in first.enumerated() {
      var current = [row + 1]
      for (column, other) in second.enumerated() {
        var best = min(previous[column] + (letter == other ? 0 : 1), previous[column + 1] + 1, current[column] + 1)
        if row > 0, column > 0, letter == second[column - 1], other == first[row - 1] {
          best = min(best, beforePrevious[column - 1] + 1)
        }
        current.append(best)
      }
      (beforePrevious, previous) = (previous, current)
    }
    return previous[second.count]
  }
}
