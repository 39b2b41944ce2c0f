import Glibc

/// Memory that ends at an unreadable page: a read past the last byte crashes the test.
final class GuardedBytes {
  private let mapping: UnsafeMutableRawPointer
  private let mappingLength: Int
  private let capacity: Int

  init(capacity: Int) {
    let page = sysconf(Int32(_SC_PAGESIZE))
    let readable = (max(capacity, 1) + page - 1) / page * page
    mappingLength = readable + page
    guard let memory = mmap(nil, mappingLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      memory != MAP_FAILED, mprotect(memory + readable, page, PROT_NONE) == 0
    else { preconditionFailure("no memory for a guarded mapping") }
    mapping = memory
    self.capacity = readable
  }

  deinit { munmap(mapping, mappingLength) }

  /// Room for `count` bytes that ends at the unreadable page.
  func room(_ count: Int) -> UnsafeMutablePointer<UInt8> {
    precondition(count <= capacity)
    return (mapping + (capacity - count)).assumingMemoryBound(to: UInt8.self)
  }

  /// A copy of bytes that ends at the unreadable page.
  func place(_ bytes: ArraySlice<UInt8>) -> UnsafeMutablePointer<UInt8> {
    let pointer = room(bytes.count)
    for (index, byte) in bytes.enumerated() { pointer[index] = byte }
    return pointer
  }

  /// Runs a function on a copy of bytes that ends at an unreadable page.
  static func with<Result>(_ bytes: [UInt8], _ body: (UnsafeMutablePointer<UInt8>, Int) -> Result) -> Result {
    let guarded = GuardedBytes(capacity: bytes.count)
    return withExtendedLifetime(guarded) { body(guarded.place(bytes[...]), bytes.count) }
  }
}

func text(_ bytes: UnsafePointer<UInt8>, _ offset: Int, _ count: Int) -> String {
  String(decoding: UnsafeBufferPointer(start: bytes + offset, count: count), as: UTF8.self)
}
