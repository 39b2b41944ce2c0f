import CMewsShims
import Glibc
import Synchronization

/// The threads that read, write and sync files for an operation port: epoll has nothing to say of files.
///
/// They wait on a completion port of their own, so that the one that came last is used first and few are awake. They
/// are created when they are needed, up to a limit, with signals blocked.
struct FileThreads {
  private struct State: ~Copyable {
    let queue: CompletionPort
    let lock: FutexLock
    /// Operations with the threads; who waits for none sleeps on it.
    let inFlight = Atomic<UInt32>(0)
    /// Guarded by the lock.
    var threadCount = 0
    var threads = InlineArray<4, pthread_t>(repeating: 0)

    init(queue: CompletionPort) {
      self.queue = queue
      lock = FutexLock(spins: false)
    }
  }

  private let state: UnsafeMutablePointer<State>

  static var threadLimit: Int { 4 }
  private static var stackSize: Int { 128 << 10 }

  /// - Parameter processors: how many CPUs this process may use.
  static func create(processors: Int) -> FileThreads? {
    guard let queue = CompletionPort.create(concurrency: threadLimit, driver: nil, processors: processors) else {
      return nil
    }
    guard let memory = malloc(MemoryLayout<State>.size) else {
      queue.destroy()
      return nil
    }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    state.initialize(to: State(queue: queue))
    return FileThreads(state: state)
  }

  /// Releases the memory, after `finish` or before the first operation.
  func destroy() {
    state.pointee.queue.destroy()
    state.deinitialize(count: 1)
    free(state)
  }

  /// Sees to it that a thread will take an operation.
  ///
  /// - Returns: 0 or an errno.
  func prepare() -> Int32 {
    state.pointee.lock.lock()
    defer { state.pointee.lock.unlock() }
    let count = state.pointee.threadCount
    guard count < Self.threadLimit, count == 0 || state.pointee.queue.waiterCount == 0 else { return 0 }
    var thread: pthread_t = 0
    let error = shim_thread_create(&thread, Self.stackSize, Self.body, state)
    guard error == 0 else { return count == 0 ? error : 0 }
    state.pointee.threads[count] = thread
    state.pointee.threadCount = count + 1
    return 0
  }

  /// Notes an operation that `submit` will hand over. The handle's slot is locked.
  func expect() {
    state.pointee.inFlight.add(1, ordering: .relaxed)
  }

  func submit(_ operation: OperationPointer) {
    state.pointee.queue.post(Operation.packet(operation))
  }

  /// Notes that an operation is complete, its packet included.
  func complete() {
    if state.pointee.inFlight.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
      shim_futex_wake(inFlightAddress, Int32.max)
    }
  }

  /// Waits until no operation is in flight, and ends the threads. No further operation may come.
  func finish() {
    while true {
      let count = state.pointee.inFlight.load(ordering: .acquiring)
      if count == 0 { break }
      _ = shim_futex_wait_until(inFlightAddress, count, -1)
    }
    state.pointee.queue.close()
    for index in 0..<state.pointee.threadCount { pthread_join(state.pointee.threads[index], nil) }
    state.pointee.threadCount = 0
  }

  private var inFlightAddress: UnsafeRawPointer {
    withUnsafePointer(to: state.pointee.inFlight) { UnsafeRawPointer($0) }
  }

  private static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let state = argument?.assumingMemoryBound(to: State.self) else { return nil }
    shim_thread_set_name("mews-file", 0)
    let queue = state.pointee.queue
    while case .packet(let packet) = queue.get(timeoutNanoseconds: -1) {
      FileOperation.perform(shim_operation_of_packet(packet))
    }
    return nil
  }
}
