// swift-tools-version: 6.2
// The Swift SDK as it is installed: MewsKit with the public headers. A plugin's package depends on this folder by path.
import PackageDescription

let strict: [SwiftSetting] = [.enableExperimentalFeature("Lifetimes")]

// As in the package of Mews itself: the Swift runtime goes into the plugin, nothing but the entry function comes out of
// it, and a name that libmews does not have fails when the plugin is linked, not when it is loaded.
let pluginLink: LinkerSetting = .unsafeFlags([
  "-use-ld=lld", "-static-stdlib", "-no-toolchain-stdlib-rpath",
  "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/MewsKitEntry/plugin.map",
  "-Xlinker", "-z", "-Xlinker", "defs", "-L\(Context.packageDirectory)/../../../lib", "-lmews",
])

let package = Package(
  name: "MewsKit",
  products: [
    .library(name: "MewsKit", targets: ["MewsKit", "MewsKitEntry"])
  ],
  targets: [
    .systemLibrary(name: "CMews", path: "Include"),
    .systemLibrary(name: "CMewsKit", path: "Sources/CMewsKit"),
    .target(
      name: "MewsKit", dependencies: ["CMews", "CMewsKit"], cSettings: [.define("MEWSKIT_ITSELF")],
      swiftSettings: strict),
    .target(
      name: "MewsKitEntry", dependencies: ["MewsKit", "CMews", "CMewsKit"], exclude: ["plugin.map"],
      swiftSettings: strict, linkerSettings: [pluginLink]),
  ],
  swiftLanguageModes: [.v6]
)
