import CMewsShims
import Glibc

/// What a pool of workers knows of each place for a thread, and how many there are. The pool's lock guards all of it.
struct WorkerRoster: ~Copyable {
  /// A place for one thread. Its number decides the thread's `ThreadContext.index`.
  struct Entry {
    /// The memory of the place's threads, from the first on.
    var worker: WorkerPointer?
    /// Whether a thread has the place, or is about to.
    var isTaken = false
    /// The thread's record with the port; nil while it has not begun, or has ended.
    var thread: PortThreadPointer?
    var sample = WorkerSample()
  }

  let capacity: Int
  let entries: UnsafeMutablePointer<Entry>
  /// All places that are taken have smaller numbers.
  private(set) var end = 0
  /// Threads that were created and have not begun to work.
  var starting = 0
  var isStopping = false
  /// No thread may be added any more.
  var isClosed = false
  /// The thread that ended last. The next one that ends joins it.
  var lastEnded: pthread_t?

  /// - Parameters:
  ///   - entries: memory from `malloc` for as many entries as the capacity. The roster frees it.
  ///   - capacity: how many places there are.
  init(entries: UnsafeMutableRawPointer, capacity: Int) {
    self.capacity = capacity
    self.entries = entries.bindMemory(to: Entry.self, capacity: capacity)
    self.entries.initialize(repeating: Entry(), count: capacity)
  }

  deinit {
    for number in 0..<capacity {
      guard let worker = entries[number].worker else { continue }
      worker.deinitialize(count: 1)
      free(worker)
    }
    free(entries)
  }

  /// Takes the free place with the smallest number, so that numbers, and what plugins keep by them, are used again.
  mutating func takePlace() -> Int? {
    guard let number = (0..<capacity).first(where: { !entries[$0].isTaken }) else { return nil }
    (entries + number).pointee.isTaken = true
    end = max(end, number &+ 1)
    return number
  }

  mutating func freePlace(_ number: Int) {
    let entry = entries + number
    entry.pointee.sample.close()
    entry.pointee.thread = nil
    entry.pointee.isTaken = false
    while end > 0, !entries[end &- 1].isTaken { end &-= 1 }
  }
}
