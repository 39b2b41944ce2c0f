import Glibc

/// Connected sockets that nobody looks after yet, by their descriptors, oldest first.
struct SocketQueue {
  private var descriptors: UnsafeMutablePointer<Int32>?
  /// A power of two, or 0.
  private var capacity = 0
  private var first = 0
  private(set) var count = 0

  private static let initialCapacity = 64

  /// Adds a socket. False: there is no memory for it.
  mutating func append(_ descriptor: Int32) -> Bool {
    guard count < capacity || grow(), let descriptors else { return false }
    descriptors[(first + count) & (capacity - 1)] = descriptor
    count += 1
    return true
  }

  mutating func removeFirst() -> Int32? {
    guard count > 0, let descriptors else { return nil }
    let descriptor = descriptors[first]
    first = (first + 1) & (capacity - 1)
    count -= 1
    return descriptor
  }

  /// Frees the memory of an empty queue. It can be used again.
  mutating func release() {
    free(descriptors)
    self = SocketQueue()
  }

  private mutating func grow() -> Bool {
    let larger = max(Self.initialCapacity, capacity * 2)
    guard let memory = malloc(larger * MemoryLayout<Int32>.stride) else { return false }
    let moved = memory.bindMemory(to: Int32.self, capacity: larger)
    if let descriptors {
      for index in 0..<count { moved[index] = descriptors[(first + index) & (capacity - 1)] }
      free(descriptors)
    }
    descriptors = moved
    capacity = larger
    first = 0
    return true
  }
}
