// swift-tools-version: 6.2
import PackageDescription

// Public class properties and globals would otherwise pay for an access check at run time (only in release builds:
// debug builds and the sanitizers keep it).
let optimized: SwiftSetting = .unsafeFlags(
  ["-enforce-exclusivity=unchecked"], .when(configuration: .release))

let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableExperimentalFeature("Lifetimes"),
]

// The library's own build sees required arguments of the header as nullable, so that the compiler makes it check them.
let building: SwiftSetting = .unsafeFlags(["-Xcc", "-DMEWS_BUILDING_LIBRARY"])

// The archive by its name, so that it goes into the library, which then needs no liburing at run time.
let liburing: LinkerSetting = .linkedLibrary(":liburing.a")

let library = "\(Context.packageDirectory)/Sources/MewsLib"

// How a Swift plugin is linked; it reaches every package that uses the product MewsKit. The Swift runtime goes into the
// plugin, nothing but the entry function comes out of it, and a name that libmews lacks fails here and not at load.
let pluginLink: LinkerSetting = .unsafeFlags([
  "-use-ld=lld", "-static-stdlib", "-no-toolchain-stdlib-rpath",
  "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/MewsKitEntry/plugin.map",
  "-Xlinker", "-z", "-Xlinker", "defs", "-L\(Context.packageDirectory)/build/lib", "-lmews",
])

let package = Package(
  name: "mews",
  products: [
    .library(name: "mews", type: .dynamic, targets: ["MewsLib"]),
    .library(name: "MewsKit", targets: ["MewsKit", "MewsKitEntry"]),
  ],
  targets: [
    .systemLibrary(name: "CMews", path: "Include"),
    .target(name: "CMewsShims", cSettings: [.define("_GNU_SOURCE")], linkerSettings: [liburing]),
    .target(name: "CMewsVariadic", dependencies: ["CMews"], cSettings: [.headerSearchPath("../../Include")]),
    .target(
      name: "MewsCore", dependencies: ["CMewsShims"], swiftSettings: strict + [optimized]),
    .target(
      name: "MewsServer", dependencies: ["MewsCore", "CMews", "CMewsShims"],
      swiftSettings: strict + [optimized]),
    .target(
      name: "MewsHost", dependencies: ["MewsServer", "MewsCore", "CMews", "CMewsShims"],
      swiftSettings: strict + [optimized]),
    .target(
      name: "MewsABI",
      dependencies: ["MewsHost", "MewsServer", "MewsCore", "CMews", "CMewsShims", "CMewsVariadic"],
      swiftSettings: strict + [optimized, building]),
    .target(
      name: "MewsLib", dependencies: ["MewsABI"], exclude: ["mews.map"],
      linkerSettings: [
        .unsafeFlags([
          "-use-ld=lld", "-static-stdlib", "-Xlinker", "--version-script=\(library)/mews.map",
          "-Xlinker", "-soname=libmews.so.0",
        ]),
        // Not in debug builds: the functions of a sanitizer are in the program and not in the library.
        .unsafeFlags(["-Xlinker", "-z", "-Xlinker", "defs"], .when(configuration: .release)),
      ]),
    .systemLibrary(name: "CMewsKit", path: "Sources/CMewsKit"),
    .target(
      name: "MewsKit", dependencies: ["CMews", "CMewsKit"], cSettings: [.define("MEWSKIT_ITSELF")],
      swiftSettings: strict),
    .target(
      name: "MewsKitEntry", dependencies: ["MewsKit", "CMews", "CMewsKit"], exclude: ["plugin.map"],
      swiftSettings: strict, linkerSettings: [pluginLink]),
    .testTarget(name: "MewsCoreTests", dependencies: ["MewsCore", "CMewsShims"]),
    .testTarget(name: "MewsServerTests", dependencies: ["MewsServer", "MewsCore", "CMews", "CMewsShims"]),
    .testTarget(name: "MewsHostTests", dependencies: ["MewsHost", "MewsServer", "MewsCore", "CMews"]),
  ],
  swiftLanguageModes: [.v6]
)
