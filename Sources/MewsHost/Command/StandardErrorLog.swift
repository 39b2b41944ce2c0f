import CMews
import Glibc
import MewsServer

/// The log of the command: lines on the standard error, each in one write, with time, level and who speaks.
///
/// Threads that serve write to it, so a pipe whose reader has stopped reading must not stop them: lines that find no
/// room are dropped, and the next one that finds some says how many.
enum StandardErrorLog {
  /// How long a line waits for room, unless the one before it has waited in vain.
  private static let patienceMilliseconds: Int32 = 100
  /// What a pipe takes without waiting once it has room at all (PIPE_BUF of Linux).
  private static let pieceSize = 4096

  /// Lines dropped since the last that was written. `ServerLog` lets one thread at a time write.
  private nonisolated(unsafe) static var droppedCount = 0

  static func make(level: LogLevel) -> ServerLog {
    ServerLog(
      function: { _, level, source, text in StandardErrorLog.write(level, source, text) }, context: nil,
      level: level.rawValue)
  }

  private static func write(_ level: mews_level, _ source: mews_text, _ text: mews_text) {
    let name = LogLevel(rawValue: level)?.name ?? "error"
    let time = time()
    if droppedCount > 0 {
      guard write("\(time) warning mews: \(droppedCount) lines of the log were dropped: nobody read them\n") else {
        droppedCount += 1
        return
      }
      droppedCount = 0
    }
    if !write("\(time) \(name) \(string(source)): \(string(text))\n") { droppedCount += 1 }
  }

  /// Writes a whole line. False: there was no room.
  private static func write(_ line: String) -> Bool {
    var bytes = Array(line.utf8)[...]
    while !bytes.isEmpty {
      guard hasRoom() else { return false }
      let piece = bytes.prefix(pieceSize)
      let count = piece.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0 && (errno == EINTR || errno == EAGAIN) { continue }
      // Nobody is left to tell that the standard error is closed.
      guard count > 0 else { return true }
      bytes = bytes.dropFirst(count)
    }
    return true
  }

  /// Whether a piece can be written without waiting. It can also when the write will fail.
  private static func hasRoom() -> Bool {
    var entry = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
    while true {
      let count = poll(&entry, 1, droppedCount == 0 ? patienceMilliseconds : 0)
      if count >= 0 || errno != EINTR { return count != 0 }
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
