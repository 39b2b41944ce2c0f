/// A place for one pointer for each thread that may run handlers, each on a cache line of its own.
final class WorkerSlots: @unchecked Sendable {
  private static let stride = 64 / MemoryLayout<UnsafeMutableRawPointer?>.stride
  private let places: UnsafeMutableBufferPointer<UnsafeMutableRawPointer?>
  private let count: Int

  init(count: Int) {
    self.count = count
    places = .allocate(capacity: count * Self.stride)
    places.initialize(repeating: nil)
  }

  deinit { places.deallocate() }

  func slot(_ index: Int) -> UnsafeMutablePointer<UnsafeMutableRawPointer?>? {
    guard index >= 0, index < count else { return nil }
    return places.baseAddress.map { $0 + index * Self.stride }
  }
}
