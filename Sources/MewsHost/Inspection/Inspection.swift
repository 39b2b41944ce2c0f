import CMewsShims
import Glibc

/// How a running server is asked what it does: over a local socket, whose name says which server it is.
///
/// A client sends one line and gets text until the end of the stream. Only the server's user and root are answered.
enum Inspection {
  /// What can be asked.
  enum Question: String, CaseIterable {
    case routesTable = "routes table"
    case routesJSON = "routes json"

    /// As it is sent.
    var line: String { rawValue + "\n" }
    static let longestLine = 64
  }

  private static let prefix = "mews."

  /// The name of a server's socket.
  ///
  /// - Parameters:
  ///   - process: the process that was started: the supervisor, or the server itself where there is none.
  ///   - index: the number of the worker process.
  static func socketName(process: Int32, index: Int) -> String { "\(prefix)\(process).\(index)" }

  /// The processes for which there is a socket, ascending.
  static func runningServers() -> [Int32] {
    // "Num: RefCount Protocol Flags Type St Inode Path", a path of this kind behind an "@".
    let names = text(ofFile: "/proc/net/unix").split(separator: "\n").compactMap { line in
      line.split(separator: "@", maxSplits: 1).dropFirst().first
    }
    var processes: Set<Int32> = []
    for name in names where name.hasPrefix(prefix) {
      let parts = name.dropFirst(prefix.count).split(separator: ".")
      guard parts.count == 2, let process = DecimalNumber.parse(parts[0], in: 1...Int(Int32.max)) else { continue }
      processes.insert(Int32(process))
    }
    return processes.sorted()
  }

  /// A process's command line, for people to read; empty when it has ended.
  static func commandLine(of process: Int32) -> String {
    let arguments = text(ofFile: "/proc/\(process)/cmdline").split(separator: "\0")
    return printable(arguments.joined(separator: " "))
  }

  /// Whether a user may ask what another user's server does.
  static func mayAsk(_ user: UInt32, serverOf owner: UInt32) -> Bool { user == 0 || user == owner }

  /// A file of the kernel's making. Empty when it cannot be read.
  private static func text(ofFile path: String) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    return String(decoding: readAll(descriptor, limit: 16 << 20), as: UTF8.self)
  }

  /// Reads up to the end, an error, or the limit.
  static func readAll(_ descriptor: Int32, limit: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) { buffer in
      while bytes.count < limit {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        bytes += UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
      }
    }
    return bytes
  }
}
