import Glibc

/// A place for one pointer for each thread that may run handlers, each on a cache line of its own. A place is there
/// when its thread first asks for it, since few of the threads that there may be are ever needed.
final class WorkerSlots: @unchecked Sendable {
  typealias Place = UnsafeMutablePointer<UnsafeMutableRawPointer?>

  private static let placeSize = 64
  private let places: UnsafeMutableBufferPointer<Place?>

  init(count: Int) {
    places = .allocate(capacity: count)
    places.initialize(repeating: nil)
  }

  deinit {
    for place in places { free(place) }
    places.deallocate()
  }

  /// The place of the calling thread, whose index this is; nil when memory is out or the index out of range.
  func slot(_ index: Int) -> Place? {
    guard places.indices.contains(index) else { return nil }
    if let place = places[index] { return place }
    let memory = aligned_alloc(Self.placeSize, Self.placeSize)
    let place = memory?.bindMemory(to: UnsafeMutableRawPointer?.self, capacity: 1)
    place?.initialize(to: nil)
    places[index] = place
    return place
  }
}
