import Foundation

/// A temporary directory with a compiler: makes the files that the tests load and read.
final class PluginWorkshop {
  struct CompilerFailed: Error {
    let arguments: [String]
    let output: String
  }

  let directory: URL

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("mews-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  deinit {
    try? FileManager.default.removeItem(at: directory)
  }

  func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

  /// The public headers.
  static let include = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Include").path

  @discardableResult
  func write(_ contents: String, to name: String) throws -> String {
    try contents.write(toFile: path(name), atomically: true, encoding: .utf8)
    return path(name)
  }

  @discardableResult
  func write(_ bytes: [UInt8], to name: String) throws -> String {
    try Data(bytes).write(to: directory.appendingPathComponent(name))
    return path(name)
  }

  func bytes(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: directory.appendingPathComponent(name)))
  }

  /// Compiles C source text into a file of the directory.
  @discardableResult
  func compile(_ source: String, to name: String, _ arguments: [String] = ["-shared"]) throws -> String {
    let input = try write(source, to: name + ".c")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      ["cc", "-fPIC", "-I", Self.include, input, "-o", path(name)] + arguments
    let output = Pipe()
    process.standardError = output
    process.standardOutput = output
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw CompilerFailed(arguments: arguments, output: String(decoding: text, as: UTF8.self))
    }
    return path(name)
  }

  /// A library that stands for libmews.so.0: it has the functions asked for, in one symbol version.
  @discardableResult
  func makeLibrary(
    functions: [String] = ["mews_route", "mews_respond"], version: String = "MEWS_0", name: String = "libmews.so.0"
  ) throws -> String {
    let map = try write("\(version) { global: mews_*; local: *; };\n", to: "\(name).map")
    return try compile(
      functions.map { "void \($0)(void) {}\n" }.joined(), to: name,
      ["-shared", "-Wl,-soname,\(name)", "-Wl,--version-script,\(map)"])
  }

  /// A plugin that registers one route.
  static func source(name: String = "sample", version: String = "1.2.3", body: String = "") -> String {
    """
    #include <mews/plugin.h>
    static mews_result answer(mews_exchange *exchange, void *state) {
        (void)state;
        return mews_respond(exchange, 200, NULL, NULL, 0);
    }
    static mews_result start(mews_plugin *self, void **state) {
        (void)state;
        \(body)
        return mews_route(self, "GET", "/", answer);
    }
    MEWS_PLUGIN("\(name)", "\(version)", start)

    """
  }
}
