/// A named part of a file's bytes. Every access is checked against the part's end; what lies outside is a thrown error
/// that names the part.
struct ELFView {
  /// The longest name that is read, in bytes; without a limit, many names that share one end would take for ever.
  static let maximumStringSize = 4096

  private let bytes: [UInt8]
  private let range: Range<Int>
  private let name: String

  /// The whole of a file.
  init(file: [UInt8]) {
    self.init(bytes: file, range: 0..<file.count, name: "file")
  }

  private init(bytes: [UInt8], range: Range<Int>, name: String) {
    self.bytes = bytes
    self.range = range
    self.name = name
  }

  var count: Int { range.count }

  private var outside: IdentityError.Cause { .damaged("its \(name) ends too early") }

  /// A part of this part.
  func view(at offset: UInt64, count: UInt64, named name: String) throws(IdentityError.Cause) -> ELFView {
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= UInt64(range.count) else { throw .damaged("its \(name) lies outside the file") }
    // Both are at most the count of an array, so that neither conversion nor sum can overflow.
    let start = range.lowerBound + Int(offset)
    return ELFView(bytes: bytes, range: start..<(start + Int(count)), name: name)
  }

  /// A little-endian integer.
  func integer<Integer: FixedWidthInteger>(
    _ type: Integer.Type, at offset: UInt64
  ) throws(IdentityError.Cause) -> Integer {
    let size = UInt64(MemoryLayout<Integer>.size)
    let (end, overflow) = offset.addingReportingOverflow(size)
    guard !overflow, end <= UInt64(range.count) else { throw outside }
    let start = range.lowerBound + Int(offset)
    return bytes.withUnsafeBytes { Integer(littleEndian: $0.loadUnaligned(fromByteOffset: start, as: type)) }
  }

  /// The bytes from an offset to the next NUL, without it.
  func string(at offset: UInt64) throws(IdentityError.Cause) -> ArraySlice<UInt8> {
    guard offset < UInt64(range.count) else { throw outside }
    let tail = bytes[(range.lowerBound + Int(offset))..<range.upperBound].prefix(Self.maximumStringSize)
    guard let end = tail.firstIndex(of: 0) else { throw outside }
    return tail[..<end]
  }

  /// Whether certain bytes stand at an offset.
  func starts(with prefix: some Collection<UInt8>, at offset: UInt64) -> Bool {
    guard offset <= UInt64(range.count) else { return false }
    return bytes[(range.lowerBound + Int(offset))..<range.upperBound].starts(with: prefix)
  }
}
