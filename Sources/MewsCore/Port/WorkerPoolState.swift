import CMewsShims
import Glibc
import Synchronization

/// The memory behind a `WorkerPool`, and the life of its threads.
///
/// The lock and what it guards are fields apart, the guarded one first, for the reasons that `PortState` has.
struct WorkerPoolState: ~Copyable {
  typealias Pointer = UnsafeMutablePointer<WorkerPoolState>

  var roster: WorkerRoster
  let lock: FutexLock
  /// Threads that have been created and have not ended. `join` sleeps on it.
  let running = Atomic<UInt32>(0)
  /// Those of them that have not decided to end. Changed under the lock.
  let staying = Atomic<Int>(0)
  /// See `WorkerStatistics`. The monitor counts.
  let looks = Atomic<Int>(0)
  let released = Atomic<Int>(0)
  let reclaimed = Atomic<Int>(0)
  let port: CompletionPort
  let limits: WorkerLimits
  let firstIndex: UInt32
  let server: UnsafeMutableRawPointer?
  let hooks: ThreadHooks
  /// Guarded by the lock.
  let rounds: UnsafeMutablePointer<MonitorRounds>
  /// Passed from one worker to the next when all are to end.
  let stopPacket: PacketPointer

  static var stackSize: Int { 1 << 20 }
  /// Workers of smaller numbers have the file of their state kept open once the monitor has read it. More would take
  /// descriptors from connections.
  static var keptDescriptors: Int { 16 }

  /// Adds a thread. Any thread may call this; it takes as long as creating one does.
  ///
  /// - Returns: 0 or an errno: EAGAIN when there are as many as may be, ESRCH when the pool ends.
  static func addThread(_ pool: Pointer) -> Int32 {
    pool.pointee.lock.lock()
    guard !pool.pointee.roster.isClosed, !pool.pointee.isFinished else {
      pool.pointee.lock.unlock()
      return ESRCH
    }
    guard let number = pool.pointee.roster.takePlace() else {
      pool.pointee.lock.unlock()
      return EAGAIN
    }
    pool.pointee.roster.starting &+= 1
    pool.pointee.staying.add(1, ordering: .relaxed)
    pool.pointee.running.add(1, ordering: .relaxed)
    let known = pool.pointee.roster.entries[number].worker
    pool.pointee.lock.unlock()

    var error = ENOMEM
    if let worker = known ?? Worker.create(number: number, pool: pool) {
      let index = pool.pointee.firstIndex &+ UInt32(truncatingIfNeeded: number)
      worker.pointee.context = ThreadContext(kind: .worker, index: index, server: pool.pointee.server)
      if known == nil { withLock(pool) { ($0.entries + number).pointee.worker = worker } }
      var thread: pthread_t = 0
      error = shim_thread_create(&thread, stackSize, Worker.body, worker)
    }
    if error != 0 { cancelThread(pool, number) }
    return error
  }

  /// Undoes what was counted for a thread that could not be created.
  private static func cancelThread(_ pool: Pointer, _ number: Int) {
    withLock(pool) {
      $0.starting &-= 1
      $0.freePlace(number)
    }
    willLeave(pool)
    didLeave(pool)
  }

  private static func withLock(_ pool: Pointer, _ body: (inout WorkerRoster) -> Void) {
    pool.pointee.lock.lock()
    defer { pool.pointee.lock.unlock() }
    body(&pool.pointee.roster)
  }

  /// Whether the last thread has taken the stop packet off the port, so that a further one would wait for ever.
  private var isFinished: Bool { roster.isStopping && staying.load(ordering: .relaxed) == 0 }
}

// MARK: On the workers

extension WorkerPoolState {
  /// The thread has its context and is about to take packets.
  static func didBegin(_ worker: WorkerPointer) {
    let (pool, number) = (worker.pointee.pool, worker.pointee.number)
    let sample = WorkerSample(keepsDescriptor: number < keptDescriptors)
    withLock(pool) {
      $0.starting &-= 1
      ($0.entries + number).pointee.sample = sample
      ($0.entries + number).pointee.thread = PortThread.current
    }
  }

  /// How long a worker waits for a packet, in nanoseconds.
  @_noLocks @inline(__always)
  static func patience(_ pool: Pointer) -> Int64 {
    let hasSurplus = pool.pointee.staying.load(ordering: .relaxed) > pool.pointee.limits.minimum
    return hasSurplus ? pool.pointee.limits.idleNanoseconds : -1
  }

  /// Whether a worker that has waited in vain may end; it has to, then.
  @_noLocks
  static func mayRetire(_ pool: Pointer) -> Bool {
    pool.pointee.lock.lock()
    defer { pool.pointee.lock.unlock() }
    guard pool.pointee.staying.load(ordering: .relaxed) > pool.pointee.limits.minimum else { return false }
    pool.pointee.staying.subtract(1, ordering: .relaxed)
    return true
  }

  /// A worker ends for good reason.
  @_noLocks
  static func willLeave(_ pool: Pointer) {
    pool.pointee.lock.lock()
    defer { pool.pointee.lock.unlock() }
    pool.pointee.staying.subtract(1, ordering: .relaxed)
  }

  /// A worker has taken the stop packet and ends: hands it on, if there is another.
  @_noLocks
  static func passStopOn(_ pool: Pointer) {
    pool.pointee.lock.lock()
    pool.pointee.staying.subtract(1, ordering: .relaxed)
    let isLast = pool.pointee.staying.load(ordering: .relaxed) == 0
    pool.pointee.lock.unlock()
    if !isLast { pool.pointee.port.post(pool.pointee.stopPacket) }
  }

  /// The thread has left the port and does nothing more but this. Its place is free for another from here on.
  static func didEnd(_ worker: WorkerPointer) {
    let (pool, number) = (worker.pointee.pool, worker.pointee.number)
    var previous: pthread_t?
    withLock(pool) {
      $0.freePlace(number)
      previous = $0.lastEnded
      $0.lastEnded = pthread_self()
    }
    // Of the threads that have ended, one at most waits to be joined.
    if let previous { pthread_join(previous, nil) }
    didLeave(pool)
  }

  /// The pool may be gone as soon as the count has been changed: nothing but the word's address is used after that.
  private static func didLeave(_ pool: Pointer) {
    let address = withUnsafePointer(to: pool.pointee.running) { UnsafeRawPointer($0) }
    pool.pointee.running.subtract(1, ordering: .releasing)
    shim_futex_wake_one(address)
  }

  // MARK: For the owner

  /// Waits until no thread is left and none can come.
  static func awaitEnd(_ pool: Pointer) {
    let address = withUnsafePointer(to: pool.pointee.running) { UnsafeRawPointer($0) }
    var lastEnded: pthread_t?
    var isOver = false
    while !isOver {
      let running = pool.pointee.running.load(ordering: .acquiring)
      if running > 0 {
        _ = shim_futex_wait_until(address, running, -1)
        continue
      }
      withLock(pool) {
        // The monitor may have added one meanwhile.
        guard pool.pointee.running.load(ordering: .acquiring) == 0 else { return }
        $0.isClosed = true
        lastEnded = $0.lastEnded
        $0.lastEnded = nil
        isOver = true
      }
    }
    if let lastEnded { pthread_join(lastEnded, nil) }
  }
}
