extension ELFImage {
  /// The dynamic section: where the tables are that the dynamic linker uses.
  struct Dynamic {
    /// The tags that are read.
    enum Tag {
      static let needed: UInt64 = 1
      static let hash: UInt64 = 4
      static let strings: UInt64 = 5
      static let symbols: UInt64 = 6
      static let stringsSize: UInt64 = 10
      static let gnuHash: UInt64 = 0x6FFF_FEF5
      static let symbolVersions: UInt64 = 0x6FFF_FFF0
      static let flags1: UInt64 = 0x6FFF_FFFB
      static let neededVersions: UInt64 = 0x6FFF_FFFE
      static let neededVersionCount: UInt64 = 0x6FFF_FFFF
    }

    /// DF_1_PIE: the file is a program, although its type is that of a shared object.
    static let flagProgram: UInt64 = 0x0800_0000
    /// As many libraries as anybody links; more are a damaged file.
    static let maximumLibraryCount = 4096

    /// The last value of each tag.
    private(set) var values: [UInt64: UInt64] = [:]
    /// Where the names of the needed libraries start in the string table.
    private(set) var libraryNames: [UInt64] = []

    fileprivate init(_ table: ELFView) throws(IdentityError.Cause) {
      let entrySize: UInt64 = 16
      for index in 0..<(UInt64(table.count) / entrySize) {
        let tag = try table.integer(UInt64.self, at: index * entrySize)
        let value = try table.integer(UInt64.self, at: index * entrySize + 8)
        switch tag {
        case 0: return
        case Tag.needed:
          guard libraryNames.count < Self.maximumLibraryCount else { throw .damaged("it needs too many libraries") }
          libraryNames.append(value)
        default: values[tag] = value
        }
      }
    }
  }

  /// Reads the dynamic section.
  func dynamic() throws(IdentityError.Cause) -> Dynamic {
    guard let segment = segments.first(where: { $0.type == Segment.dynamic && $0.fileSize > 0 }) else {
      throw .notSharedObject("a file without a dynamic section")
    }
    let table = try file.view(at: segment.offset, count: segment.fileSize, named: "dynamic section")
    let dynamic = try Dynamic(table)
    if (dynamic.values[Dynamic.Tag.flags1] ?? 0) & Dynamic.flagProgram != 0 {
      throw .notSharedObject("an executable program")
    }
    return dynamic
  }

  /// The table of the names that symbols, versions and libraries have.
  func strings(_ dynamic: Dynamic) throws(IdentityError.Cause) -> ELFView {
    guard let address = dynamic.values[Dynamic.Tag.strings], let size = dynamic.values[Dynamic.Tag.stringsSize] else {
      throw .damaged("it has no string table")
    }
    return try view(address: address, named: "string table").view(at: 0, count: size, named: "string table")
  }

  /// The names of the libraries that the file needs, in its order.
  func neededLibraries(_ dynamic: Dynamic, _ strings: ELFView) throws(IdentityError.Cause) -> [String] {
    var names: [String] = []
    for offset in dynamic.libraryNames { names.append(String(decoding: try strings.string(at: offset), as: UTF8.self)) }
    return names
  }
}
