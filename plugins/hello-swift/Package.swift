// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "hello-swift",
  products: [
    .library(name: "hello-swift", type: .dynamic, targets: ["Hello"])
  ],
  dependencies: [
    .package(name: "mews", path: "../..")
  ],
  targets: [
    .target(
      name: "Hello",
      dependencies: [.product(name: "MewsKit", package: "mews")],
      cSettings: [
        .define("MEWS_PLUGIN_NAME", to: "\"hello-swift\""),
        .define("MEWS_PLUGIN_VERSION", to: "\"1.0.0\""),
      ])
  ]
)
