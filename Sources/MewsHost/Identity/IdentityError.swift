import MewsCore

/// Why a file is no plugin that this host can load.
public struct IdentityError: Error, Equatable, CustomStringConvertible {
  /// What is wrong with the file.
  public enum Cause: Error, Equatable, Sendable {
    /// A system call failed: what was tried, and errno.
    case unreadable(action: String, code: Int32)
    /// It is a directory, a device or the like.
    case notRegularFile
    /// More bytes than a plugin may have.
    case tooLarge(size: Int)
    /// It does not start as an ELF file does.
    case notELF
    /// The file ends before what its headers announce.
    case truncated(size: Int, expected: UInt64)
    /// Another processor, word size or byte order.
    case foreignMachine(String)
    /// An ELF file of another kind.
    case notSharedObject(String)
    /// A part of the file contradicts the others.
    case damaged(String)
    /// No note with the owner "Mews".
    case noIdentity
    /// Several notes with the owner "Mews".
    case severalIdentities
    /// The identity's name is empty or has other bytes than letters, digits, "-", "_" and ".".
    case badName(String)
    /// The identity's version is not printable ASCII.
    case badVersion(String)
    /// The entry function is not exported.
    case noEntry
    /// The plugin was linked with another major version of the library.
    case foreignLibrary(String)
    /// The plugin was compiled for an ABI that this host does not have; the functions it misses, if any.
    case foreignABI(needed: ABIVersion, host: ABIVersion, missing: [NeededSymbol])
    /// Functions of the library that this host does not have; never empty.
    case missingSymbols([NeededSymbol])
  }

  /// The file, as it was named.
  public let path: String
  /// What is wrong with it.
  public let cause: Cause

  /// Names a file and what is wrong with it.
  public init(path: String, cause: Cause) {
    self.path = path
    self.cause = cause
  }

  /// One sentence without a full stop, naming the file.
  public var description: String { "\(printable(path)): \(cause.clause)" }
}

extension IdentityError.Cause {
  /// The cause in words, without the file's name.
  public var clause: String {
    switch self {
    case .unreadable(let action, let code): "cannot \(action): \(SystemError.text(code))"
    case .notRegularFile: "not a regular file"
    case .tooLarge(let size): "too large for a plugin: \(size) bytes of at most \(PluginIdentity.maximumFileSize)"
    case .notELF: "not an ELF file"
    case .truncated(let size, let expected): "truncated: it has \(size) of at least \(expected) bytes"
    case .foreignMachine(let machine): "built for \(machine), this host is \(ELFMachine.host.name)"
    case .notSharedObject(let kind): "not a shared object but \(kind)"
    case .damaged(let detail): "damaged: \(detail)"
    case .noIdentity: "no Mews identity (is MEWS_PLUGIN missing?)"
    case .severalIdentities: "more than one Mews identity (is MEWS_PLUGIN used twice?)"
    case .badName(let name):
      "the plugin's name '\(printable(name))' is not 1 to 63 letters, digits, '-', '_' and '.'"
    case .badVersion(let version): "the plugin's version '\(printable(version))' is not at most 31 printable characters"
    case .noEntry: "does not export \(PluginIdentity.entryName) (does a version script hide it?)"
    case .foreignLibrary(let library): "linked with \(printable(library)), this host is \(PluginIdentity.libraryName)"
    case .foreignABI(let needed, let host, let missing):
      "needs ABI \(needed), this host has \(host)" + (missing.isEmpty ? "" : " (\(Self.list(missing)) missing)")
    case .missingSymbols(let symbols): "needs \(Self.list(symbols)), which this host does not have"
    }
  }

  /// The first three, and how many more.
  private static func list(_ symbols: [NeededSymbol]) -> String {
    let names = symbols.prefix(3).map(\.description).joined(separator: ", ")
    return symbols.count > 3 ? "\(names) and \(symbols.count - 3) more" : names
  }
}
