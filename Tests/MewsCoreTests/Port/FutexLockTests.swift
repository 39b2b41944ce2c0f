import Testing

@testable import MewsCore

@Suite("Futex lock")
struct FutexLockTests {
  private struct Shared: ~Copyable {
    var count = 0
    var inside = 0
    var mostInside = 0
    let lock: FutexLock

    init(spins: Bool) { lock = FutexLock(spins: spins) }
  }

  @Test("One thread at a time is inside, and no update is lost", arguments: [false, true])
  func excludes(spins: Bool) {
    let shared = UnsafeMutablePointer<Shared>.allocate(capacity: 1)
    shared.initialize(to: Shared(spins: spins))
    defer {
      shared.deinitialize(count: 1)
      shared.deallocate()
    }
    nonisolated(unsafe) let pointer = shared
    withThreads(4) { threads in
      let done = threads.map { thread in
        thread.begin {
          for _ in 0..<20_000 {
            pointer.pointee.lock.lock()
            pointer.pointee.inside += 1
            pointer.pointee.mostInside = max(pointer.pointee.mostInside, pointer.pointee.inside)
            pointer.pointee.count += 1
            pointer.pointee.inside -= 1
            pointer.pointee.lock.unlock()
          }
          return true
        }
      }
      #expect(done.map(\.value) == [true, true, true, true])
    }
    #expect(shared.pointee.count == 80_000)
    #expect(shared.pointee.mostInside == 1)
  }
}
