import CMews
import Glibc
import MewsServer

/// The log of the command: lines on the standard error, each in one write, with time, level and who speaks.
enum StandardErrorLog {
  static func make(level: LogLevel) -> ServerLog {
    ServerLog(
      function: { _, level, source, text in StandardErrorLog.write(level, source, text) }, context: nil,
      level: level.rawValue)
  }

  private static func write(_ level: mews_level, _ source: mews_text, _ text: mews_text) {
    let name = LogLevel(rawValue: level)?.name ?? "error"
    let line = "\(time()) \(name) \(string(source)): \(string(text))\n"
    var bytes = Array(line.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      // Nobody is left to tell that the standard error is closed.
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }

  private static func string(_ text: mews_text) -> String {
    String(
      decoding: UnsafeRawBufferPointer(start: text.data, count: text.length), as: UTF8.self)
  }

  /// The time in UTC, with milliseconds, as RFC 3339 writes it.
  private static func time() -> String {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var parts = tm()
    gmtime_r(&now.tv_sec, &parts)
    func padded(_ number: Int, _ width: Int) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    let date = [Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1, Int(parts.tm_mday)].map { padded($0, 2) }
    let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }
    return "\(date.joined(separator: "-"))T\(clock.joined(separator: ":")).\(padded(now.tv_nsec / 1_000_000, 3))Z"
  }
}
