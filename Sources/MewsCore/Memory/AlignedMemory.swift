import Glibc

enum CacheLine {
  /// Bytes that processors move and lock as one.
  static let size = 64
}

/// Memory aligned to a power of two; nil when there is none. The standard library's allocation would end the process
/// instead. Free it with `freeAligned`.
func allocateAligned(_ byteCount: Int, alignment: Int) -> UnsafeMutableRawPointer? {
  var memory: UnsafeMutableRawPointer?
  return posix_memalign(&memory, alignment, byteCount) == 0 ? memory : nil
}

/// Frees memory of `allocateAligned`.
func freeAligned(_ memory: UnsafeMutableRawPointer) {
  free(memory)
}
