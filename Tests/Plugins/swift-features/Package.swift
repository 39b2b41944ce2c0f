// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "swift-features",
  products: [
    .library(name: "swift-features", type: .dynamic, targets: ["Features"])
  ],
  dependencies: [
    .package(name: "mews", path: "../../..")
  ],
  targets: [
    .target(
      name: "Features",
      dependencies: [.product(name: "MewsKit", package: "mews")],
      cSettings: [
        .define("MEWS_PLUGIN_NAME", to: "\"swift-features\""),
        .define("MEWS_PLUGIN_VERSION", to: "\"0.1.0\""),
      ])
  ]
)
