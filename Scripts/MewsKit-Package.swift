// swift-tools-version: 6.2
// The Swift SDK as it is installed: the sources of MewsKit with the public headers. A package depends on it by path.
import PackageDescription

let package = Package(
  name: "MewsKit",
  products: [.library(name: "MewsKit", targets: ["MewsKit"])],
  targets: [
    .systemLibrary(name: "CMews", path: "Include"),
    .target(
      name: "MewsKit", dependencies: ["CMews"],
      linkerSettings: [
        .unsafeFlags(["-L\(Context.packageDirectory)/../../../lib"]), .linkedLibrary("mews"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
