import CMewsShims
import Glibc

/// The Swift runtime for plugins that do not carry it in themselves.
///
/// Such a plugin needs libswiftCore.so and its companions. Where the installation has them beside the library, in
/// `mews/swift`, they are loaded first; the dynamic linker then finds them by their names, whatever the plugin's own
/// search path says. Otherwise the plugin's search path decides.
final class SwiftRuntime {
  private var isPrepared = false

  /// Loads what is there of the libraries a plugin needs.
  func prepare(forLibraries needed: [String]) {
    guard !isPrepared, needed.contains(where: { $0.hasPrefix("libswift") }), let folder = Self.folder else { return }
    isPrepared = true
    // Each with its dependencies, in any order: a file that is not there is the plugin's search path's business.
    for name in needed where name.hasPrefix("libswift") { dlopen("\(folder)/\(name)", RTLD_NOW | RTLD_GLOBAL) }
  }

  /// `mews/swift` beside the file that this code is in.
  private static var folder: String? {
    guard let path = shim_library_path().map({ String(cString: $0) }) else { return nil }
    guard let slash = path.lastIndex(of: "/") else { return nil }
    return path[..<slash] + "/mews/swift"
  }
}
