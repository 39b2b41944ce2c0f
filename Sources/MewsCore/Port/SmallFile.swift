import Glibc

/// Files that are read whole: what the kernel says of itself in /proc and /sys.
public enum SmallFile {
  /// The text of a file; nil when it cannot be read. Reads files: not for the hot path.
  public static func text(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count > 0 { text += buffer[..<count] }
      if count == 0 { return String(decoding: text, as: UTF8.self) }
      if count < 0 && errno != EINTR { return nil }
    }
  }
}
