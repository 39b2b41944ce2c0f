import CMewsShims

/// Who was where, in the order in which it happened.
struct ScheduleTrace: Equatable {
  private var entries: [UInt16] = []

  init() { entries.reserveCapacity(256) }

  var count: Int { entries.count }

  mutating func append(thread: Int, point: UInt32) {
    entries.append(UInt16(truncatingIfNeeded: thread) << 8 | UInt16(truncatingIfNeeded: point))
  }

  /// The end of it, to be read.
  func description(last count: Int = 60) -> String {
    entries.suffix(count).map { entry in
      let thread = Int(entry >> 8)
      guard thread != SchedulePolicy.clock else { return "time" }
      return "\(thread):\(Self.name(UInt32(entry & 0xff)))"
    }.joined(separator: " ")
  }

  private static func name(_ point: UInt32) -> String {
    let names = ["lock", "spin", "unlock", "load", "store", "wait", "wake", "clock", "poll", "interrupt", "test"]
    return names[Int(point)]
  }
}
