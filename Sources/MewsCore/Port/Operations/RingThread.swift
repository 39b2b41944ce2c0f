import CMewsShims
import Glibc
import Synchronization

/// The one thread of an operation port that has an io_uring: operations end with the thread that submitted them, and
/// the threads that use a port come and go.
///
/// Other threads ask it for something through a mailbox: to look at a lane, which is one direction of a handle, or to
/// do an operation on a file. It does what was asked since its last pass, enters the ring once, and hands on all that
/// is complete with one lock of the port's queue. It takes no part in associations, starts that succeed at once, posts
/// and timers.
///
/// A handle's slot may be locked while the mailbox is used, and this thread locks slots; it takes no other lock with
/// one.
struct RingThread {
  /// What a port's ring is like.
  struct Options {
    /// How many entries are submitted in one go, and how many completions may lie unread; powers of two.
    var submissions = Ring.submissionCapacity / 4
    var completions = Ring.completionCapacity / 4
    /// How many operations on files are in the ring at once; others wait.
    var files = 128
    /// Features that are treated as if the machine lacked them.
    var without: RingFeatures = []
    /// Whether the ring does what sockets have to wait for, rather than say when it can be done.
    var doesSockets = true
    /// Whether the port starts the thread; else somebody calls `work`.
    var startsThread = true
  }

  struct State: ~Copyable {
    let options: Options
    let mailbox = Mailbox()
    /// How far the thread is.
    let progress = Atomic<UInt32>(Progress.none)
    /// Guards the start.
    let startLock: FutexLock
    /// Of the start; valid when `progress` is `failed`.
    var startError = SystemError(call: "", code: 0)
    var thread: pthread_t = 0
    let stopRequest: PacketPointer
    /// Valid from before the start on.
    var owner: UnsafeMutablePointer<OperationPortState>?
    let waker: UnsafeMutablePointer<shim_ring_waker>
    /// What the ring uses; valid once the thread runs.
    var features: RingFeatures = []

    // From here on, the thread's alone.

    var proactor: Proactor?
    /// Whether the ring sends.
    var sends = false
    /// Packets of what is complete, to be queued at the pass's end.
    var completed = shim_packet_chain()
    /// Operations in the ring.
    var armed = 0
    var isStopping = false
    var files: UnsafeMutablePointer<shim_ring_file>?
    var freeFiles: UnsafeMutablePointer<shim_ring_file>?
    /// Operations on files that wait for one of those, through their packets, oldest first.
    var waitingFiles = shim_packet_chain()

    init(options: Options, stopRequest: PacketPointer, waker: UnsafeMutablePointer<shim_ring_waker>) {
      self.options = options
      self.stopRequest = stopRequest
      self.waker = waker
      startLock = FutexLock(spins: false)
    }
  }

  enum Progress {
    static var none: UInt32 { 0 }
    static var starting: UInt32 { 1 }
    static var running: UInt32 { @_noLocks get { 2 } }
    static var failed: UInt32 { 3 }
    static var ended: UInt32 { 4 }
  }

  let state: UnsafeMutablePointer<State>

  private static var stackSize: Int { 128 << 10 }

  /// - Returns: a thread that is not started; nil when memory is out.
  static func create(_ options: Options = Options()) -> RingThread? {
    guard let memory = calloc(1, MemoryLayout<State>.size) else { return nil }
    guard let waker = calloc(1, MemoryLayout<shim_ring_waker>.size) else {
      free(memory)
      return nil
    }
    guard let request = malloc(MemoryLayout<Packet>.size) else {
      free(waker)
      free(memory)
      return nil
    }
    let state = memory.bindMemory(to: State.self, capacity: 1)
    let stopRequest = request.bindMemory(to: Packet.self, capacity: 1)
    stopRequest.initialize(to: Packet(operation: UnsafeMutableRawPointer(state), action: stop))
    let boundWaker = waker.bindMemory(to: shim_ring_waker.self, capacity: 1)
    boundWaker.initialize(
      to: shim_ring_waker(
        node: RingOperation(prepare: prepareWaker, complete: completeWaker), thread: memory, descriptor: -1))
    state.initialize(to: State(options: options, stopRequest: stopRequest, waker: boundWaker))
    return RingThread(state: state)
  }

  /// Releases the memory, after `finish` or before the first operation.
  func destroy() {
    if state.pointee.waker.pointee.descriptor >= 0 { _ = shim_descriptor_close(state.pointee.waker.pointee.descriptor) }
    free(state.pointee.waker)
    free(state.pointee.stopRequest)
    state.deinitialize(count: 1)
    free(state)
  }

  /// Whether the thread runs.
  var isRunning: Bool {
    @_noLocks @inline(__always) get { state.pointee.progress.load(ordering: .acquiring) == Progress.running }
  }

  /// Whether the ring does operations on files. Only once the thread runs.
  var doesFiles: Bool { state.pointee.features.contains(.files) }

  /// Starts the thread, if it does not run yet. One that could not be started is not tried again.
  ///
  /// - Parameters:
  ///   - owner: the port, which stays where it is until `finish`.
  ///   - needed: features without which there is to be no thread.
  /// - Throws: why there is none.
  func start(
    _ owner: UnsafeMutablePointer<OperationPortState>, for needed: RingFeatures = []
  ) throws(SystemError) {
    if isRunning { return }
    state.pointee.startLock.lock()
    defer { state.pointee.startLock.unlock() }
    switch state.pointee.progress.load(ordering: .relaxed) {
    case Progress.running: return
    case Progress.failed: throw state.pointee.startError
    default: break
    }
    state.pointee.owner = owner
    do throws(SystemError) {
      try startThread(needed.union(.required))
    } catch {
      state.pointee.startError = error
      state.pointee.progress.store(Progress.failed, ordering: .releasing)
      throw error
    }
  }

  private func startThread(_ needed: RingFeatures) throws(SystemError) {
    let without = state.pointee.options.without
    // The kernel is not asked where that cannot change the answer: some sandboxes end who asks.
    guard needed.isDisjoint(with: without), RingProbe.ofThisProcess.isUsable else {
      throw SystemError(call: "io_uring_setup", code: ENOSYS)
    }
    state.pointee.features = RingProbe.ofThisProcess.features.subtracting(without)
    guard needed.isSubset(of: state.pointee.features) else {
      throw SystemError(call: "io_uring_setup", code: ENOSYS)
    }
    state.pointee.waker.pointee.descriptor = try WakeDescriptor.create().descriptor
    state.pointee.progress.store(Progress.starting, ordering: .relaxed)
    guard state.pointee.options.startsThread else { return }
    let error = shim_thread_create(&state.pointee.thread, Self.stackSize, Self.body, state)
    guard error == 0 else { throw SystemError(call: "pthread_create", code: error) }
    waitForProgress { $0 != Progress.starting }
    guard state.pointee.progress.load(ordering: .acquiring) != Progress.running else { return }
    pthread_join(state.pointee.thread, nil)
    throw state.pointee.startError
  }

  /// Waits until no operation is in the ring, and ends the thread. Every handle is closed, and no further operation may
  /// come.
  func finish() {
    let progress = state.pointee.progress.load(ordering: .acquiring)
    guard progress == Progress.running || progress == Progress.starting else { return }
    if state.pointee.mailbox.push(state.pointee.stopRequest) { signal() }
    waitForProgress { $0 == Progress.ended || $0 == Progress.failed }
    if state.pointee.options.startsThread { pthread_join(state.pointee.thread, nil) }
  }

  /// Ends the thread's sleep. After a push that answered that this is to be done.
  @_noLocks
  func signal() {
    Interleaving.reach(Interleaving.interrupt)
    shim_eventfd_signal(state.pointee.waker.pointee.descriptor)
  }

  /// Waits for the thread to come so far.
  private func waitForProgress(_ isReached: (UInt32) -> Bool) {
    while true {
      let progress = state.pointee.progress.load(ordering: .acquiring)
      if isReached(progress) { return }
      _ = Futex.wait(on: progressAddress, while: progress, until: -1)
    }
  }

  private func advance(to progress: UInt32) {
    Interleaving.reach(Interleaving.store)
    state.pointee.progress.store(progress, ordering: .releasing)
    // The memory may be gone already: the address is only a name here.
    Futex.wakeOne(progressAddress)
  }

  private var progressAddress: UnsafeRawPointer {
    withUnsafePointer(to: state.pointee.progress) { UnsafeRawPointer($0) }
  }
}

// MARK: The thread

extension RingThread {
  private static let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    guard let argument else { return nil }
    shim_thread_set_plain_name("mews-ring")
    RingThread(state: argument.assumingMemoryBound(to: State.self)).work()
    return nil
  }

  /// What the thread does from its start to its end.
  func work() {
    guard open() else { return advance(to: Progress.failed) }
    advance(to: Progress.running)
    while pass() {}
    closeRing()
    advance(to: Progress.ended)
  }

  /// Makes the ring. False when there is none; the error is noted.
  private func open() -> Bool {
    do throws(SystemError) {
      let options = state.pointee.options
      let ring = try Ring.create(
        state.pointee.features, submissions: options.submissions, completions: options.completions)
      guard let proactor = Proactor.create(ring: ring) else {
        ring.destroy()
        throw SystemError(call: "malloc", code: ENOMEM)
      }
      state.pointee.proactor = proactor
      state.pointee.sends = state.pointee.features.contains(.send)
      guard proactor.attach(shim_ring_waker_node(state.pointee.waker)) == 0, createFiles() else {
        closeRing()
        throw SystemError(call: "malloc", code: ENOMEM)
      }
      proactor.arm(shim_ring_waker_node(state.pointee.waker))
      return true
    } catch {
      state.pointee.startError = error
      return false
    }
  }

  private func closeRing() {
    free(state.pointee.files)
    state.pointee.files = nil
    guard let proactor = state.pointee.proactor else { return }
    let ring = proactor.ring
    proactor.destroy()
    ring.destroy()
    state.pointee.proactor = nil
  }

  /// Does what was asked for, submits it, waits, and hands on what is complete. False when all is done and no more will
  /// come.
  @_noLocks
  private func pass() -> Bool {
    takeRequests()
    postCompleted()
    if state.pointee.isStopping && state.pointee.armed == 0 && state.pointee.waitingFiles.first == nil { return false }
    guard let proactor = state.pointee.proactor else { return false }
    let isParked = state.pointee.mailbox.prepareToPark()
    let error = wait(proactor, mayWait: isParked)
    if isParked { state.pointee.mailbox.unpark() }
    // Short of memory, for instance. To come back at once would be to keep a processor busy with nothing.
    if error != 0 && error != EINTR && error != ETIME && error != EBUSY { pause() }
    if proactor.tellCompletions() < 0 { _unsafePerformance { recover(proactor) } }
    postCompleted()
    return true
  }

  /// Goes on when the kernel has lost completions. Operations whose completion that was fail, and others go on.
  @inline(never)
  private func recover(_ proactor: Proactor) {
    proactor.beginRecovery()
    // In the next pass again: until then the ring is not waited for.
    if !proactor.finishRecovery() { pause() }
  }

  @_noLocks
  private func wait(_ proactor: Proactor, mayWait: Bool) -> Int32 {
    #if DEBUG
      if shim_is_scheduled() {
        let error = proactor.wait(timeoutNanoseconds: 0)
        guard mayWait, proactor.ring.unread == 0 else { return error }
        shim_schedule_await_readable(proactor.ring.descriptor, -1)
        return proactor.wait(timeoutNanoseconds: 0)
      }
    #endif
    return proactor.wait(timeoutNanoseconds: mayWait ? -1 : 0)
  }

  @_noLocks
  private func takeRequests() {
    var request = state.pointee.mailbox.takeAll()
    while let current = request {
      request = current.pointee.next
      _ = run(current)
    }
  }

  @_noLocks
  private func postCompleted() {
    guard state.pointee.completed.first != nil, let owner = state.pointee.owner else { return }
    let completed = state.pointee.completed
    state.pointee.completed = shim_packet_chain()
    let port = owner.pointee.port
    port.wake(port.complete(completed))
  }

  @_noLocks
  private func pause() { _unsafePerformance { _ = usleep(1000) } }

  private static let stop: @convention(c) (PacketPointer) -> Void = { request in
    guard let state = request.pointee.operation?.assumingMemoryBound(to: State.self) else { return }
    state.pointee.isStopping = true
  }

  // The eventfd is not read: each signal is a change of its own.
  private static let prepareWaker: @convention(c) (RingOperationPointer, RingEntry) -> Void = { node, entry in
    shim_entry_poll(entry, shim_ring_waker_of(node).pointee.descriptor, ReadyEvents.readable)
  }

  private static let completeWaker: @convention(c) (RingOperationPointer, RingCompletion) -> Void = {
    node, completion in
    // It was woken. The kernel may end the watch at any time; then it is armed anew.
    guard completion.isLast else { return }
    let state = shim_ring_waker_of(node).pointee.thread.assumingMemoryBound(to: State.self)
    state.pointee.proactor?.arm(node)
  }
}
