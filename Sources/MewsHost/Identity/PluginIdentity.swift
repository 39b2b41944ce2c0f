import CMews
import CMewsShims

/// A version of the plugin ABI: MEWS_ABI_MAJOR and MEWS_ABI_MINOR.
public struct ABIVersion: Equatable, Sendable, CustomStringConvertible {
  public let major: UInt32
  public let minor: UInt32

  public init(major: UInt32, minor: UInt32) {
    self.major = major
    self.minor = minor
  }

  /// The one that this host was built with.
  public static let current = ABIVersion(major: UInt32(MEWS_ABI_MAJOR), minor: UInt32(MEWS_ABI_MINOR))

  /// Such as `0.1`.
  public var description: String { "\(major).\(minor)" }

  /// Whether a host of this version runs a plugin that was compiled for another: the majors are equal and the plugin's
  /// minor is not above the host's; in the drafts of major 0 the minors are equal too.
  public func accepts(_ plugin: ABIVersion) -> Bool {
    guard plugin.major == major else { return false }
    return major == 0 ? plugin.minor == minor : plugin.minor <= minor
  }
}

/// A function of the library that a plugin calls.
public struct NeededSymbol: Hashable, Sendable, CustomStringConvertible {
  /// The function's name.
  public let name: String
  /// The ELF symbol version that it must have; nil when the plugin was not linked with the library.
  public let version: String?

  public init(name: String, version: String?) {
    self.name = name
    self.version = version
  }

  /// Such as `mews_log (MEWS_0)`.
  public var description: String { version.map { "\(printable(name)) (\(printable($0)))" } ?? printable(name) }
}

/// What a plugin is compared with before it is loaded.
public struct HostInterface {
  /// The ABI of the host.
  public let abi: ABIVersion
  /// Whether the host has a function in that version.
  public let provides: (NeededSymbol) -> Bool

  public init(abi: ABIVersion = .current, provides: @escaping (NeededSymbol) -> Bool) {
    self.abi = abi
    self.provides = provides
  }

  /// This very library.
  public static var running: HostInterface {
    HostInterface { symbol in shim_library_provides(symbol.name, symbol.version) }
  }
}

/// Who a shared object is and what it needs of the host, read from the file without running any of its code.
public struct PluginIdentity: Equatable, Sendable {
  /// The name of the library that hosts and plugins share.
  public static let libraryName = "libmews.so.0"
  /// The name of the function that a plugin exports.
  public static let entryName = "mews_plugin_entry"
  /// The largest file that is read, in bytes.
  public static let maximumFileSize = 1 << 30

  /// The plugin's name: 1 to 63 letters, digits, "-", "_" and ".".
  public let name: String
  /// The plugin's version: at most 31 printable ASCII characters.
  public let version: String
  /// The ABI that it was compiled for.
  public let abi: ABIVersion
  /// The libraries that it was linked with, as their names stand in the file (DT_NEEDED).
  public let neededLibraries: [String]
  /// The symbol versions of the Mews library that it needs, sorted.
  public let neededMewsVersions: [String]
  /// The functions of the Mews library that it needs, in the order of its symbol table; not those that may be missing
  /// (weak symbols).
  public let neededMewsSymbols: [NeededSymbol]

  /// Reads the identity of a file.
  ///
  /// - Throws: what keeps the file from being a plugin at all. Whether this host fits is for ``check(against:)``.
  public static func read(path: String) throws(IdentityError) -> PluginIdentity {
    do throws(IdentityError.Cause) {
      return try PluginIdentity(parsing: try FileContents.read(path: path, limit: maximumFileSize))
    } catch {
      throw IdentityError(path: path, cause: error)
    }
  }

  /// Reads the identity from the bytes of a file. Any bytes may come.
  public init(parsing bytes: [UInt8]) throws(IdentityError.Cause) {
    let image = try ELFImage(bytes)
    let dynamic = try image.dynamic()
    let notes = try image.notes(owner: "Mews", type: UInt32(MEWS_PLUGIN_NOTE_TYPE))
    guard let note = notes.first else { throw .noIdentity }
    guard notes.count == 1 else { throw .severalIdentities }
    let abi = ABIVersion(
      major: try note.integer(UInt32.self, at: Self.noteMajorOffset),
      minor: try note.integer(UInt32.self, at: Self.noteMinorOffset))
    name = try Self.name(note)
    version = try Self.version(note)
    self.abi = abi

    let strings = try image.strings(dynamic)
    neededLibraries = try image.neededLibraries(dynamic, strings)
    let versions = try image.neededVersions(dynamic, strings)
    neededMewsVersions = Set(versions.values.filter { $0.library == Self.libraryName }.map(\.version)).sorted()
    let symbols = try image.symbols(prefix: "mews_", dynamic, strings, versions)
    neededMewsSymbols = symbols.filter { !$0.isDefined && !$0.isWeak }.map { symbol in
      NeededSymbol(name: symbol.name, version: symbol.version?.version)
    }
    guard symbols.contains(where: { $0.isDefined && $0.name == Self.entryName }) else { throw .noEntry }
  }

  /// Checks that a host has what the plugin needs.
  ///
  /// - Parameter path: the file, for the error.
  public func check(against host: HostInterface, path: String) throws(IdentityError) {
    do throws(IdentityError.Cause) {
      try check(against: host)
    } catch {
      throw IdentityError(path: path, cause: error)
    }
  }

  private func check(against host: HostInterface) throws(IdentityError.Cause) {
    if let library = neededLibraries.first(where: { $0.hasPrefix("libmews.so") && $0 != Self.libraryName }) {
      throw .foreignLibrary(library)
    }
    let missing = neededMewsSymbols.filter { !host.provides($0) }
    guard host.abi.accepts(abi) else { throw .foreignABI(needed: abi, host: host.abi, missing: missing) }
    guard missing.isEmpty else { throw .missingSymbols(missing) }
  }

  // The descriptor of the note: mews_plugin_note of the public header, from abi_major on.
  private static let noteMajorOffset: UInt64 = 0
  private static let noteMinorOffset: UInt64 = 4
  private static let noteNameOffset: UInt64 = 8
  private static let noteNameSize: UInt64 = 64
  private static let noteVersionOffset: UInt64 = 72
  private static let noteVersionSize: UInt64 = 32

  private static func name(_ note: ELFView) throws(IdentityError.Cause) -> String {
    let field = try note.view(at: noteNameOffset, count: noteNameSize, named: "Mews identity")
    let bytes = try field.string(at: 0)
    let isName = !bytes.isEmpty && bytes.allSatisfy(isNameByte)
    let name = String(decoding: bytes, as: UTF8.self)
    guard isName else { throw .badName(name) }
    return name
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  private static func version(_ note: ELFView) throws(IdentityError.Cause) -> String {
    let field = try note.view(at: noteVersionOffset, count: noteVersionSize, named: "Mews identity")
    let bytes = try field.string(at: 0)
    let version = String(decoding: bytes, as: UTF8.self)
    guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { throw .badVersion(version) }
    return version
  }
}
