/// An ELF shared object for this machine (System V gABI; 64 bits, little-endian), read without running any of it.
///
/// Any bytes may come: every access is checked, every loop is bounded by the size of the file, and nothing traps.
struct ELFImage {
  /// What is used of a program header.
  struct Segment {
    static let loadable: UInt32 = 1
    static let dynamic: UInt32 = 2
    static let note: UInt32 = 4

    let type: UInt32
    let offset: UInt64
    let address: UInt64
    let fileSize: UInt64
    let alignment: UInt64
  }

  /// What is used of a section header.
  struct Section {
    static let note: UInt32 = 7
    static let dynamicSymbols: UInt32 = 11

    let type: UInt32
    let offset: UInt64
    let size: UInt64
    let alignment: UInt64
  }

  private static let headerSize: UInt64 = 64
  private static let segmentSize: UInt64 = 56
  private static let sectionSize: UInt64 = 64

  let file: ELFView
  let segments: [Segment]
  /// Empty in a file that was stripped of its section headers.
  let sections: [Section]

  /// Reads and checks the headers.
  init(_ bytes: [UInt8]) throws(IdentityError.Cause) {
    file = ELFView(file: bytes)
    guard file.starts(with: [0x7F, 0x45, 0x4C, 0x46], at: 0) else { throw .notELF }
    guard bytes.count >= Self.headerSize else { throw .truncated(size: bytes.count, expected: Self.headerSize) }
    try Self.checkMachine(file)
    try Self.checkType(file)
    segments = try Self.segments(file)
    sections = try Self.sections(file)
  }

  /// The part of the file that an address of the loaded image comes from, to the end of its segment.
  func view(address: UInt64, named name: String) throws(IdentityError.Cause) -> ELFView {
    for segment in segments
    where segment.type == Segment.loadable && address >= segment.address && address - segment.address < segment.fileSize
    {
      let skipped = address - segment.address
      let (offset, overflow) = segment.offset.addingReportingOverflow(skipped)
      guard !overflow else { break }
      return try file.view(at: offset, count: segment.fileSize - skipped, named: name)
    }
    throw .damaged("its \(name) lies outside the file")
  }

  private static func checkMachine(_ file: ELFView) throws(IdentityError.Cause) {
    let wordSize = try file.integer(UInt8.self, at: 4)
    let byteOrder = try file.integer(UInt8.self, at: 5)
    let code = try file.integer(UInt16.self, at: 18)
    guard (1...2).contains(wordSize), (1...2).contains(byteOrder) else {
      throw .damaged("its header has an unknown word size or byte order")
    }
    let machine = ELFMachine(code: byteOrder == 2 ? code.byteSwapped : code)
    if byteOrder == 2 { throw .foreignMachine("big-endian \(machine.name)") }
    if wordSize == 1 { throw .foreignMachine("32-bit \(machine.name)") }
    guard machine == .host else { throw .foreignMachine(machine.name) }
  }

  private static func checkType(_ file: ELFView) throws(IdentityError.Cause) {
    switch try file.integer(UInt16.self, at: 16) {
    case 1: throw .notSharedObject("an object file (link it with -shared)")
    case 2: throw .notSharedObject("an executable program")
    case 3: break
    case 4: throw .notSharedObject("a core dump")
    case let type: throw .notSharedObject("of ELF type \(type)")
    }
  }

  /// The part of the file that a table of the header takes; a table behind the end means that the file was cut.
  private static func table(
    _ file: ELFView, offset: UInt64, count: UInt16, entrySize: UInt64, named name: String
  ) throws(IdentityError.Cause) -> ELFView {
    let size = UInt64(count) * entrySize
    let (end, overflow) = offset.addingReportingOverflow(size)
    guard !overflow else { throw .damaged("its \(name) lies outside the file") }
    guard end <= file.count else { throw .truncated(size: file.count, expected: end) }
    return try file.view(at: offset, count: size, named: name)
  }

  private static func segments(_ file: ELFView) throws(IdentityError.Cause) -> [Segment] {
    let count = try file.integer(UInt16.self, at: 56)
    guard count > 0 else { throw .damaged("it has no program headers") }
    guard try file.integer(UInt16.self, at: 54) == segmentSize else {
      throw .damaged("its program headers have an unknown size")
    }
    let table = try table(
      file, offset: try file.integer(UInt64.self, at: 32), count: count, entrySize: segmentSize,
      named: "program header table")
    var segments: [Segment] = []
    for index in 0..<UInt64(count) {
      let start = index * segmentSize
      let segment = Segment(
        type: try table.integer(UInt32.self, at: start), offset: try table.integer(UInt64.self, at: start + 8),
        address: try table.integer(UInt64.self, at: start + 16),
        fileSize: try table.integer(UInt64.self, at: start + 32),
        alignment: try table.integer(UInt64.self, at: start + 48))
      let (end, overflow) = segment.offset.addingReportingOverflow(segment.fileSize)
      guard !overflow else { throw .damaged("a segment lies outside the file") }
      guard end <= file.count || segment.type != Segment.loadable else {
        throw .truncated(size: file.count, expected: end)
      }
      segments.append(segment)
    }
    return segments
  }

  private static func sections(_ file: ELFView) throws(IdentityError.Cause) -> [Section] {
    let count = try file.integer(UInt16.self, at: 60)
    let offset = try file.integer(UInt64.self, at: 40)
    guard count > 0, offset > 0 else { return [] }
    guard try file.integer(UInt16.self, at: 58) == sectionSize else {
      throw .damaged("its section headers have an unknown size")
    }
    let table = try table(
      file, offset: offset, count: count, entrySize: sectionSize, named: "section header table")
    var sections: [Section] = []
    for index in 0..<UInt64(count) {
      let start = index * sectionSize
      sections.append(
        Section(
          type: try table.integer(UInt32.self, at: start + 4), offset: try table.integer(UInt64.self, at: start + 24),
          size: try table.integer(UInt64.self, at: start + 32),
          alignment: try table.integer(UInt64.self, at: start + 48)))
    }
    return sections
  }
}
