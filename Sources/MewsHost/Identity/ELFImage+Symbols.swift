extension ELFImage {
  /// A version of another library that some symbols must have.
  struct NeededVersion {
    let library: String
    let version: String
  }

  /// A dynamic symbol.
  struct Symbol {
    let name: String
    /// Whether the file has it, and does not look for it elsewhere.
    let isDefined: Bool
    /// Whether the dynamic linker leaves it be when nobody has it.
    let isWeak: Bool
    /// The version that it must have.
    let version: NeededVersion?
  }

  /// As many versions as anybody needs; more are a damaged file.
  private static let maximumVersionCount = 65_536
  private static let symbolSize: UInt64 = 24

  /// The dynamic symbols whose names start with a prefix.
  func symbols(
    prefix: String, _ dynamic: Dynamic, _ strings: ELFView, _ versions: [UInt16: NeededVersion]
  ) throws(IdentityError.Cause) -> [Symbol] {
    guard let address = dynamic.values[Dynamic.Tag.symbols] else { throw .damaged("it has no symbol table") }
    let table = try view(address: address, named: "symbol table")
    let versionIndexes: ELFView?
    if let address = dynamic.values[Dynamic.Tag.symbolVersions] {
      versionIndexes = try view(address: address, named: "table of symbol versions")
    } else {
      versionIndexes = nil
    }
    var symbols: [Symbol] = []
    for index in 0..<(try symbolCount(dynamic)) {
      let start = index * Self.symbolSize
      let name = UInt64(try table.integer(UInt32.self, at: start))
      guard strings.starts(with: prefix.utf8, at: name) else { continue }
      let binding = try table.integer(UInt8.self, at: start + 4) >> 4
      let section = try table.integer(UInt16.self, at: start + 6)
      let version = try versionIndexes?.integer(UInt16.self, at: index * 2) ?? 0
      symbols.append(
        Symbol(
          name: String(decoding: try strings.string(at: name), as: UTF8.self), isDefined: section != 0,
          isWeak: binding == 2, version: versions[version & 0x7FFF]))
    }
    return symbols
  }

  /// The versions that the file needs of other libraries, by the index that symbols name them with (.gnu.version_r).
  func neededVersions(_ dynamic: Dynamic, _ strings: ELFView) throws(IdentityError.Cause) -> [UInt16: NeededVersion] {
    guard let address = dynamic.values[Dynamic.Tag.neededVersions] else { return [:] }
    let table = try view(address: address, named: "table of needed versions")
    var versions: [UInt16: NeededVersion] = [:]
    var visited = 0
    var entry: UInt64 = 0
    for _ in 0..<(dynamic.values[Dynamic.Tag.neededVersionCount] ?? 0) {
      // Offsets are 32 bits and the table is a part of a file, so that no sum can overflow.
      let count = try table.integer(UInt16.self, at: entry + 2)
      let library = try strings.string(at: UInt64(try table.integer(UInt32.self, at: entry + 4)))
      var version = entry + UInt64(try table.integer(UInt32.self, at: entry + 8))
      for _ in 0..<count {
        visited += 1
        guard visited <= Self.maximumVersionCount else { throw .damaged("it needs too many versions") }
        let index = try table.integer(UInt16.self, at: version + 6)
        let name = try strings.string(at: UInt64(try table.integer(UInt32.self, at: version + 8)))
        versions[index] = NeededVersion(
          library: String(decoding: library, as: UTF8.self), version: String(decoding: name, as: UTF8.self))
        let next = try table.integer(UInt32.self, at: version + 12)
        if next == 0 { break }
        version += UInt64(next)
      }
      let next = try table.integer(UInt32.self, at: entry + 12)
      if next == 0 { break }
      entry += UInt64(next)
    }
    return versions
  }

  /// How many dynamic symbols there are. Only the hash tables tell, or else the section headers.
  private func symbolCount(_ dynamic: Dynamic) throws(IdentityError.Cause) -> UInt64 {
    if let address = dynamic.values[Dynamic.Tag.hash] {
      // The chain array has an entry for every symbol.
      return UInt64(try view(address: address, named: "hash table").integer(UInt32.self, at: 4))
    }
    if let address = dynamic.values[Dynamic.Tag.gnuHash] {
      return try gnuSymbolCount(try view(address: address, named: "hash table"))
    }
    if let section = sections.first(where: { $0.type == Section.dynamicSymbols }) {
      return section.size / Self.symbolSize
    }
    throw .damaged("nothing tells the size of its symbol table")
  }

  /// The count from a GNU hash table: the first hashed symbol, the size of a filter, the buckets with the first symbol
  /// of each, and chains in which the lowest bit marks the last symbol of a bucket. Symbols that are not hashed come
  /// first.
  private func gnuSymbolCount(_ table: ELFView) throws(IdentityError.Cause) -> UInt64 {
    let bucketCount = UInt64(try table.integer(UInt32.self, at: 0))
    let firstHashed = UInt64(try table.integer(UInt32.self, at: 4))
    let filterWords = UInt64(try table.integer(UInt32.self, at: 8))
    let buckets = 16 + filterWords * 8
    var last: UInt64 = 0
    for bucket in 0..<bucketCount {
      last = max(last, UInt64(try table.integer(UInt32.self, at: buckets + bucket * 4)))
    }
    guard last >= firstHashed, last > 0 else { return firstHashed }
    let chains = buckets + bucketCount * 4
    while try table.integer(UInt32.self, at: chains + (last - firstHashed) * 4) & 1 == 0 { last += 1 }
    return last + 1
  }
}
