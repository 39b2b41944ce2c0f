import Glibc
import MewsCore

/// Why a directory could not be read.
public struct PluginDirectoryError: Error, Equatable, CustomStringConvertible {
  /// The directory, as it was named.
  public let path: String
  /// What the system said: errno.
  public let code: Int32

  /// One sentence without a full stop, naming the directory.
  public var description: String { "cannot read the plugin directory \(printable(path)): \(SystemError.text(code))" }
}

/// The directory that plugins are found in.
public enum PluginDirectory {
  /// What the names of plugins end in.
  public static let fileExtension = ".so"

  /// Finds the files that may be plugins: regular files, or symbolic links to such, whose names end in `.so` and do not
  /// start with a dot. Nothing is opened. A link that leads nowhere is found too, so that loading it reports it.
  ///
  /// - Returns: their paths, the directory included, in the order of the bytes of their names.
  public static func scan(_ path: String) throws(PluginDirectoryError) -> [String] {
    guard let directory = opendir(path) else { throw PluginDirectoryError(path: path, code: errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else { break }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
        field.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: field.pointee)) {
          String(cString: $0)
        }
      }
      if isCandidate(name), isFile(name, in: dirfd(directory)) { names.append(name) }
    }
    guard errno == 0 else { throw PluginDirectoryError(path: path, code: errno) }
    let prefix = path.hasSuffix("/") ? path : path + "/"
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { prefix + $0 }
  }

  private static func isCandidate(_ name: String) -> Bool {
    !name.hasPrefix(".") && name.hasSuffix(fileExtension)
  }

  private static func isFile(_ name: String, in directory: Int32) -> Bool {
    var status = stat()
    // A file that cannot be looked at is for the loader to report.
    guard fstatat(directory, name, &status, 0) == 0 else { return true }
    return status.st_mode & S_IFMT == S_IFREG
  }
}
