import Glibc
import Testing

@testable import MewsHost

@Suite("A plugin's identity")
struct PluginIdentityTests {
  let workshop: PluginWorkshop

  init() throws {
    workshop = try PluginWorkshop()
  }

  /// Why reading a file fails, without the file's name in front.
  func failure(_ name: String) -> String? {
    let path = workshop.path(name)
    do throws(IdentityError) {
      _ = try PluginIdentity.read(path: path)
      return nil
    } catch {
      #expect(error.path == path)
      #expect(error.description == "\(path): \(error.cause.clause)")
      return error.cause.clause
    }
  }

  @Test("is read from a linked plugin: name, version, ABI and what it needs", arguments: ["gnu", "sysv", "both"])
  func linked(hashStyle: String) throws {
    let library = try workshop.makeLibrary()
    try workshop.compile(
      PluginWorkshop.source(), to: "sample.so", ["-shared", "-Wl,-z,defs", "-Wl,--hash-style=\(hashStyle)", library])
    let identity = try PluginIdentity.read(path: workshop.path("sample.so"))
    #expect(identity.name == "sample")
    #expect(identity.version == "1.2.3")
    #expect(identity.abi == .current)
    #expect(identity.neededLibraries.contains("libmews.so.0"))
    #expect(identity.neededMewsVersions == ["MEWS_0"])
    #expect(
      Set(identity.neededMewsSymbols) == [
        NeededSymbol(name: "mews_route", version: "MEWS_0"), NeededSymbol(name: "mews_respond", version: "MEWS_0"),
      ])
  }

  @Test("is read from a plugin that was not linked with the library")
  func unlinked() throws {
    try workshop.compile(PluginWorkshop.source(), to: "sample.so")
    let identity = try PluginIdentity.read(path: workshop.path("sample.so"))
    #expect(identity.neededMewsVersions == [])
    #expect(
      Set(identity.neededMewsSymbols) == [
        NeededSymbol(name: "mews_route", version: nil), NeededSymbol(name: "mews_respond", version: nil),
      ])
  }

  @Test("is found in the sections when no segment shows it")
  func notesInSections() throws {
    try workshop.compile(PluginWorkshop.source(), to: "sample.so")
    var bytes = try workshop.bytes("sample.so")
    // Turn every PT_NOTE into PT_NULL.
    let count = Int(bytes[56])
    for index in 0..<count where bytes[64 + index * 56] == 4 { bytes[64 + index * 56] = 0 }
    #expect(try PluginIdentity(parsing: bytes).name == "sample")
  }

  @Test("is still there in a stripped plugin")
  func stripped() throws {
    try workshop.compile(PluginWorkshop.source(), to: "sample.so", ["-shared", "-s", "-O2"])
    #expect(failure("sample.so") == nil)
  }

  @Test("does not need what is only wanted weakly")
  func weak() throws {
    let source = """
      __attribute__((weak)) void mews_perhaps(void);

      """ + PluginWorkshop.source(body: "if (mews_perhaps) mews_perhaps();")
    try workshop.compile(source, to: "sample.so")
    let names = try PluginIdentity.read(path: workshop.path("sample.so")).neededMewsSymbols.map(\.name)
    #expect(!names.contains("mews_perhaps"))
  }

  // MARK: What is no plugin

  @Test("is not in a file that is missing, a directory or empty")
  func noFile() throws {
    #expect(failure("absent.so") == "cannot open it: No such file or directory")
    #expect(failure("") == "not a regular file")
    try workshop.write("", to: "empty.so")
    #expect(failure("empty.so") == "not an ELF file")
    try workshop.write("#!/bin/sh\n", to: "script.so")
    #expect(failure("script.so") == "not an ELF file")
  }

  @Test("does not wait for a named pipe")
  func namedPipe() throws {
    #expect(mkfifo(workshop.path("pipe.so"), 0o600) == 0)
    #expect(failure("pipe.so") == "not a regular file")
  }

  @Test("is not in a shared object without MEWS_PLUGIN")
  func noIdentity() throws {
    try workshop.compile("int answer(void) { return 42; }\n", to: "plain.so")
    #expect(failure("plain.so") == "no Mews identity (is MEWS_PLUGIN missing?)")
  }

  @Test("is not twice in a file")
  func severalIdentities() throws {
    let second = try workshop.write(
      "#include <mews/plugin.h>\n"
        + "__attribute__((section(\".note.mews\"), used, aligned(4))) static const mews_plugin_note second = "
        + "{5, 104, 1, \"Mews\", 0, 1, \"second\", \"1\"};\n", to: "second.c")
    try workshop.compile(PluginWorkshop.source(), to: "twice.so", ["-shared", second])
    #expect(failure("twice.so") == "more than one Mews identity (is MEWS_PLUGIN used twice?)")
  }

  @Test("is not in an object file or a program")
  func notShared() throws {
    try workshop.compile(PluginWorkshop.source(), to: "object.so", ["-c"])
    #expect(failure("object.so") == "not a shared object but an object file (link it with -shared)")
    let source = PluginWorkshop.source() + "int main(void) { return 0; }\n"
    let library = try workshop.makeLibrary()
    try workshop.compile(source, to: "program.so", ["-pie", library])
    #expect(failure("program.so") == "not a shared object but an executable program")
    try workshop.compile(source, to: "static.so", ["-no-pie", library])
    #expect(failure("static.so") == "not a shared object but an executable program")
  }

  @Test("is not in a plugin whose entry function is hidden")
  func hiddenEntry() throws {
    let map = try workshop.write("{ local: *; };\n", to: "hide.map")
    try workshop.compile(PluginWorkshop.source(), to: "hidden.so", ["-shared", "-Wl,--version-script,\(map)"])
    #expect(failure("hidden.so") == "does not export mews_plugin_entry (does a version script hide it?)")
  }

  @Test("has a name of certain characters and a printable version")
  func badNames() throws {
    try workshop.compile(PluginWorkshop.source(name: "two words"), to: "words.so")
    #expect(
      failure("words.so") == "the plugin's name 'two words' is not 1 to 63 letters, digits, '-', '_' and '.'")
    try workshop.compile(PluginWorkshop.source(name: "a\\nb"), to: "line.so")
    #expect(failure("line.so") == "the plugin's name 'a\\x0Ab' is not 1 to 63 letters, digits, '-', '_' and '.'")
    try workshop.compile(PluginWorkshop.source(version: "1\\t0"), to: "version.so")
    #expect(failure("version.so") == "the plugin's version '1\\x090' is not at most 31 printable characters")
  }

  // MARK: Bytes of a valid plugin, changed

  func sampleBytes() throws -> [UInt8] {
    try workshop.compile(PluginWorkshop.source(), to: "sample.so")
    return try workshop.bytes("sample.so")
  }

  func failure(_ bytes: [UInt8]) -> IdentityError.Cause? {
    do throws(IdentityError.Cause) {
      _ = try PluginIdentity(parsing: bytes)
      return nil
    } catch {
      return error
    }
  }

  @Test("is refused for other processors, word sizes and byte orders")
  func foreignMachines() throws {
    var bytes = try sampleBytes()
    let own = ELFMachine.host.code
    func patched(machine: UInt8, wordSize: UInt8 = 2, byteOrder: UInt8 = 1) -> String? {
      (bytes[4], bytes[5], bytes[18], bytes[19]) = (wordSize, byteOrder, machine, 0)
      if byteOrder == 2 { bytes.swapAt(18, 19) }
      return failure(bytes)?.clause
    }
    let host = ELFMachine.host.name
    #expect(patched(machine: 243) == "built for RISC-V, this host is \(host)")
    #expect(
      patched(machine: own == 183 ? 62 : 183) == "built for \(own == 183 ? "x86-64" : "AArch64"), this host is \(host)")
    #expect(patched(machine: 3, wordSize: 1) == "built for 32-bit x86, this host is \(host)")
    #expect(patched(machine: 22, byteOrder: 2) == "built for big-endian S/390, this host is \(host)")
    #expect(patched(machine: 99) == "built for machine type 99, this host is \(host)")
    #expect(patched(machine: UInt8(own), wordSize: 9) == "damaged: its header has an unknown word size or byte order")
    #expect(patched(machine: UInt8(own)) == nil)
  }

  @Test("is refused at every length that a copy may have been cut to")
  func truncations() throws {
    let bytes = try sampleBytes()
    for count in 0..<bytes.count {
      switch failure(Array(bytes[..<count])) {
      case .notELF: #expect(count < 4)
      case .truncated(let size, let expected):
        #expect(size == count)
        #expect(expected > UInt64(count) && expected <= UInt64(bytes.count))
      case let other: Issue.record("cut to \(count) bytes: \(String(describing: other))")
      }
    }
  }

  @Test("never crashes the reader, whatever became of the file's bytes", arguments: 0..<10)
  func mutations(seed: Int) throws {
    let bytes = try sampleBytes()
    var random = SeededGenerator(seed: UInt64(seed))
    // Where the reader looks, so that most changes hit something: the headers, the dynamic tables, the notes, the
    // sections.
    let image = try ELFImage(bytes)
    var places = [0..<64, 64..<(64 + image.segments.count * 56), 0..<bytes.count]
    places += image.segments.filter { $0.type == 2 || $0.type == 4 }
      .map { Int($0.offset)..<Int($0.offset + $0.fileSize) }
    places.append(Int(image.segments[0].offset)..<Int(image.segments[0].fileSize))
    let values: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF]
    var refused = 0
    for _ in 0..<1000 {
      var mutant = bytes
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let place = try #require(places.randomElement(using: &random))
        let index = Int.random(in: place, using: &random)
        let value =
          Bool.random(using: &random) ? values.randomElement(using: &random) : UInt8.random(in: 0...255, using: &random)
        let run = Bool.random(using: &random) ? 1 : Int.random(in: 1...8, using: &random)
        for position in index..<min(index + run, mutant.count) { mutant[position] = value ?? 0 }
      }
      if Int.random(in: 0..<10, using: &random) == 0 {
        mutant.removeLast(Int.random(in: 0..<mutant.count, using: &random))
      }
      if failure(mutant) != nil { refused += 1 }
    }
    // A reader that looked at nothing would not crash either.
    #expect(refused > 200)
  }

  @Test("never crashes the reader on random bytes behind an ELF header")
  func noise() throws {
    let header = Array(try sampleBytes()[..<64])
    var random = SeededGenerator(seed: 99)
    for _ in 0..<1000 {
      let size = Int.random(in: 0..<2000, using: &random)
      let noise = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(failure(header + noise) != nil)
    }
  }

  // MARK: What the host must have

  func refusal(_ name: String, by host: HostInterface) throws -> String? {
    let path = workshop.path(name)
    let identity = try PluginIdentity.read(path: path)
    do throws(IdentityError) {
      try identity.check(against: host, path: path)
      return nil
    } catch {
      return error.cause.clause
    }
  }

  @Test("fits a host that has all functions it needs, in their versions")
  func fits() throws {
    let library = try workshop.makeLibrary()
    try workshop.compile(PluginWorkshop.source(), to: "sample.so", ["-shared", library])
    let has: Set = [
      NeededSymbol(name: "mews_route", version: "MEWS_0"), NeededSymbol(name: "mews_respond", version: "MEWS_0"),
    ]
    #expect(try refusal("sample.so", by: HostInterface(provides: has.contains)) == nil)
    #expect(
      try refusal("sample.so", by: HostInterface { has.contains($0) && $0.name != "mews_route" })
        == "needs mews_route (MEWS_0), which this host does not have")
  }

  @Test("names the functions that a host does not have")
  func missingFunctions() throws {
    let source = """
      void mews_frobnicate(void);

      """ + PluginWorkshop.source(body: "mews_frobnicate();")
    try workshop.compile(source, to: "sample.so")
    #expect(
      try refusal("sample.so", by: HostInterface { $0.name != "mews_frobnicate" })
        == "needs mews_frobnicate, which this host does not have")
    let declarations = (1...5).map { "void mews_f\($0)(void);\n" }.joined()
    let calls = (1...5).map { "mews_f\($0)();" }.joined()
    try workshop.compile(declarations + PluginWorkshop.source(body: calls), to: "many.so")
    let text = try #require(try refusal("many.so", by: HostInterface { !$0.name.hasPrefix("mews_f") }))
    #expect(text.hasPrefix("needs mews_f") && text.hasSuffix(" and 2 more, which this host does not have"))
  }

  @Test("says which ABI it needs and which one the host has")
  func otherABI() throws {
    try workshop.compile(PluginWorkshop.source(), to: "sample.so")
    let newer = ABIVersion(major: ABIVersion.current.major, minor: ABIVersion.current.minor + 1)
    #expect(
      try refusal("sample.so", by: HostInterface(abi: newer) { _ in true })
        == "needs ABI \(ABIVersion.current), this host has \(newer)")
    #expect(
      try refusal("sample.so", by: HostInterface(abi: newer) { $0.name != "mews_route" })
        == "needs ABI \(ABIVersion.current), this host has \(newer) (mews_route missing)")
  }

  @Test("was linked with the library of this major version")
  func otherLibrary() throws {
    let library = try workshop.makeLibrary(version: "MEWS_1.0", name: "libmews.so.1")
    try workshop.compile(PluginWorkshop.source(), to: "sample.so", ["-shared", library])
    #expect(
      try refusal("sample.so", by: HostInterface { _ in true })
        == "linked with libmews.so.1, this host is libmews.so.0")
  }
}

@Suite("An ABI version")
struct ABIVersionTests {
  @Test("accepts older minors of its major, and in the drafts only itself")
  func accepts() {
    func version(_ major: UInt32, _ minor: UInt32) -> ABIVersion { ABIVersion(major: major, minor: minor) }
    #expect(version(1, 3).accepts(version(1, 3)))
    #expect(version(1, 3).accepts(version(1, 0)))
    #expect(!version(1, 3).accepts(version(1, 4)))
    #expect(!version(1, 3).accepts(version(2, 0)))
    #expect(!version(1, 3).accepts(version(0, 1)))
    #expect(version(0, 1).accepts(version(0, 1)))
    #expect(!version(0, 2).accepts(version(0, 1)))
    #expect(!version(0, 1).accepts(version(0, 2)))
  }
}
