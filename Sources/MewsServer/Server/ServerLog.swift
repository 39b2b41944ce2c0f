import CMews
import Glibc

/// Where the server's lines go: the function its owner gave, one line at a time.
public final class ServerLog: Sendable {
  private let function: mews_log_function?
  private nonisolated(unsafe) let context: UnsafeMutableRawPointer?
  private nonisolated(unsafe) let lock: UnsafeMutablePointer<pthread_mutex_t>
  public let level: UInt32

  public init(function: mews_log_function?, context: UnsafeMutableRawPointer?, level: UInt32) {
    self.function = function
    self.context = context
    self.level = level
    lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    lock.initialize(to: pthread_mutex_t())
    pthread_mutex_init(lock, nil)
  }

  deinit {
    pthread_mutex_destroy(lock)
    lock.deallocate()
  }

  /// Whether a line of that level is heard at all.
  public func isEnabled(_ level: UInt32) -> Bool { function != nil && level >= self.level }

  /// Writes a line. Any thread. Control characters in it are escaped, so that a line stays a line.
  public func write(_ level: Int, _ text: String, source: String = "mews") {
    guard let function, level >= 0, UInt32(truncatingIfNeeded: level) >= self.level else { return }
    var source = source
    var text = Self.isOneLine(text) ? text : Self.escaped(text)
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    source.withUTF8 { source in
      text.withUTF8 { text in
        function(context, UInt32(truncatingIfNeeded: level), Self.view(source), Self.view(text))
      }
    }
  }

  private static func view(_ bytes: UnsafeBufferPointer<UInt8>) -> mews_text {
    mews_text(data: UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self), length: bytes.count)
  }

  private static func isOneLine(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 32 && $0 != 127 } }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 10: result += "\\n"
      case 13: result += "\\r"
      case 9: result += "\\t"
      case 0..<32, 127: result += "\\x" + String(scalar.value >> 4, radix: 16) + String(scalar.value & 15, radix: 16)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
