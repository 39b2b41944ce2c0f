import Foundation
import Testing

@testable import MewsHost

@Suite("A plugin directory")
struct PluginDirectoryTests {
  let workshop: PluginWorkshop

  init() throws {
    workshop = try PluginWorkshop()
  }

  func names(_ suffix: String = "") throws -> [String] {
    try PluginDirectory.scan(workshop.directory.path + suffix).map { path in
      #expect(path.hasPrefix(workshop.directory.path + "/"))
      return String(path.dropFirst(workshop.directory.path.utf8.count + 1))
    }
  }

  @Test("gives the files that end in .so, in the order of their names")
  func order() throws {
    for name in ["b.so", "a.so", "B.so", "a10.so", "a-.so", "ä.so"] { try workshop.write("", to: name) }
    #expect(try names() == ["B.so", "a-.so", "a.so", "a10.so", "b.so", "ä.so"])
    #expect(try names("/") == ["B.so", "a-.so", "a.so", "a10.so", "b.so", "ä.so"])
  }

  @Test("skips hidden files, other endings, directories and pipes")
  func skipped() throws {
    for name in [".so", ".hidden.so", "a.so.1", "a.txt", "so", "README"] { try workshop.write("", to: name) }
    try FileManager.default.createDirectory(atPath: workshop.path("directory.so"), withIntermediateDirectories: false)
    #expect(mkfifo(workshop.path("pipe.so"), 0o600) == 0)
    try workshop.write("", to: "real.so")
    #expect(try names() == ["real.so"])
  }

  @Test("follows links, and gives one that leads nowhere for the loader to report")
  func links() throws {
    try workshop.write("", to: "target.bin")
    let manager = FileManager.default
    try manager.createSymbolicLink(atPath: workshop.path("link.so"), withDestinationPath: "target.bin")
    try manager.createSymbolicLink(atPath: workshop.path("directory.so"), withDestinationPath: "/")
    try manager.createSymbolicLink(atPath: workshop.path("broken.so"), withDestinationPath: "absent")
    #expect(try names() == ["broken.so", "link.so"])
    #expect(throws: IdentityError.self) { try PluginIdentity.read(path: workshop.path("broken.so")) }
  }

  @Test("may be empty")
  func empty() throws {
    #expect(try names() == [])
  }

  @Test("says why it cannot be read")
  func errors() throws {
    try workshop.write("", to: "file")
    func failure(_ path: String) -> String? {
      do throws(PluginDirectoryError) {
        _ = try PluginDirectory.scan(path)
        return nil
      } catch {
        return error.description
      }
    }
    let absent = workshop.path("absent")
    #expect(failure(absent) == "cannot read the plugin directory \(absent): No such file or directory")
    let file = workshop.path("file")
    #expect(failure(file) == "cannot read the plugin directory \(file): Not a directory")
  }
}
