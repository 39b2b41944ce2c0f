import CMewsShims
import Glibc
import Synchronization

/// A completion port with input and output: operations are started on handles and complete with packets, and the
/// threads that wait for the packets drive them.
///
/// Sockets, pipes and the like are watched by epoll, edge-triggered, from association to close. An operation tries its
/// system call at once, unless the kernel has said already that there is nothing to do; what cannot be done yet waits
/// in its handle's queue, reads and writes apart, until the leader hears that it can. Files have threads of their own:
/// one with a ring (`RingThread`), or where the machine has no ring, several that block (`FileThreads`).
///
/// On a port that is to use the ring for everything, what cannot be done at once is in its handle's queue as well, and
/// the first of each queue in the ring. The leader then only turns the timers.
///
/// Locks are taken in this order: a handle's slot or the timers, then the port's queue. Every function may be called
/// from any thread.
public struct OperationPort: @unchecked Sendable {
  let state: UnsafeMutablePointer<OperationPortState>

  /// Creates a port.
  ///
  /// - Parameters:
  ///   - concurrency: how many threads may be busy with packets at once; 0 for one a CPU that this process may use.
  ///   - backend: what moves input and output.
  ///   - withoutFeatures: features of io_uring that are treated as if the machine lacked them.
  /// - Returns: the port, to be released with `close()`.
  /// - Throws: `ENOSYS` when the ring is asked for and the machine has none; others, when it is short of something.
  public static func create(
    concurrency: Int, backend: PortBackend = .automatic, withoutFeatures: RingFeatures = []
  ) throws(SystemError) -> OperationPort {
    var options = RingThread.Options()
    options.without = withoutFeatures
    return try create(concurrency: concurrency, backend: backend, ring: options)
  }

  static func create(
    concurrency: Int, backend: PortBackend, ring ringOptions: RingThread.Options
  ) throws(SystemError) -> OperationPort {
    var isComplete = false
    let poll = try EventPoll.create()
    defer { if !isComplete { poll.destroy() } }
    let interruption = try WakeDescriptor.create()
    defer { if !isComplete { interruption.destroy() } }
    let error = poll.add(interruption.descriptor, data: OperationPortState.interruptionData)
    guard error == 0 else { throw SystemError(call: "epoll_ctl", code: error) }
    let processors = ProcessorCount.available
    guard
      let parts = OperationPortState.Parts.create(
        processors: processors, ring: backend == .epoll ? nil : ringOptions)
    else {
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    defer { if !isComplete { parts.destroy() } }
    guard let memory = aligned_alloc(128, (MemoryLayout<OperationPortState>.size + 127) & ~127) else {
      throw SystemError(call: "aligned_alloc", code: ENOMEM)
    }
    let state = memory.bindMemory(to: OperationPortState.self, capacity: 1)
    let driver = PortDriver(
      shim_port_driver(
        context: memory, wait: OperationPortState.wait, interrupt: OperationPortState.interrupt,
        release: OperationPortState.release),
      forkMark: parts.forkMark)
    guard let port = CompletionPort.create(concurrency: concurrency, driver: driver, processors: processors) else {
      free(memory)
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    state.initialize(
      to: OperationPortState(
        port: port, driver: driver, poll: poll, interruption: interruption, parts: parts, backend: backend))
    isComplete = true
    let created = OperationPort(state: state)
    guard backend == .ring, let ring = parts.ring else { return created }
    do throws(SystemError) {
      try ring.start(state)
      return created
    } catch {
      created.close()
      throw error
    }
  }

  /// The port behind a pointer that `pointer` gave.
  @_noLocks @inline(__always)
  public init(pointer: UnsafeMutableRawPointer) {
    state = pointer.assumingMemoryBound(to: OperationPortState.self)
  }

  init(state: UnsafeMutablePointer<OperationPortState>) { self.state = state }

  /// What stands for the port in C.
  public var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

  /// The queue of packets and the threads that wait.
  public var port: CompletionPort { @_noLocks @inline(__always) get { state.pointee.port } }

  /// What moves the input and output of sockets and pipes: `epoll` or `ring`.
  public var backend: PortBackend { state.pointee.backend == .ring ? .ring : .epoll }

  /// Whether this is a child process: nothing of the port works there.
  public var isInChild: Bool { @_noLocks @inline(__always) get { state.pointee.driver.isInChild } }

  /// The first phase of the end. Waiting threads return `abandoned`; every operation in flight is cancelled, every
  /// handle closed; and every packet that is left goes to the sink, once each. When it returns, nothing is in flight.
  /// The second call does nothing.
  ///
  /// - Parameter sink: called on this thread. It may call everything of the port; a `close` in it is done behind it.
  public func shutdown(_ sink: (PortPacket) -> Void) {
    guard !isInChild, let slots = state.pointee.parts.table.shut() else { return }
    port.abandon()
    for index in 0..<slots { closeSlot(index) }
    state.pointee.parts.ring?.finish()
    state.pointee.parts.timers.shut(port: port)
    state.pointee.parts.files.finish()
    port.waitForLeader()
    state.pointee.sinking = .callsSink
    while let packet = port.removeFirst() { sink(packet) }
    let isToClose = state.pointee.sinking == .closesBehindSink
    state.pointee.sinking = .over
    if isToClose { close() }
  }

  /// The second phase: releases the port, after `shutdown` or in its stead. No other thread may call a function of the
  /// port from here on; threads that are associated with it may still be busy with packets.
  public func close() {
    guard !isInChild else { return }
    guard state.pointee.sinking == .over else {
      state.pointee.sinking = .closesBehindSink
      return
    }
    shutdown { _ in }
    state.pointee.closeDescriptors()
    port.destroy()
  }
}

/// The memory behind an `OperationPort`. It is freed with the port's queue: when the last associated thread has left.
struct OperationPortState: ~Copyable {
  /// What a port consists of besides descriptors.
  struct Parts {
    let forkMark: UnsafeMutablePointer<UInt64>
    let table: HandleTable
    let timers: OperationTimers
    let files: FileThreads
    /// Nil for a port that is to have none. It may not run, and may not be to be had.
    let ring: RingThread?

    static func create(processors: Int, ring ringOptions: RingThread.Options?) -> Parts? {
      let spins = processors > 1
      guard let forkMark = shim_fork_mark_create() else { return nil }
      let table = HandleTable.create(spins: spins)
      let timers = OperationTimers.create(spins: spins)
      let files = FileThreads.create(processors: processors)
      let ring = ringOptions.flatMap { RingThread.create($0) }
      if let table, let timers, let files, ringOptions == nil || ring != nil {
        return Parts(forkMark: forkMark, table: table, timers: timers, files: files, ring: ring)
      }
      ring?.destroy()
      files?.destroy()
      timers?.destroy()
      table?.destroy()
      shim_fork_mark_destroy(forkMark)
      return nil
    }

    func destroy() {
      ring?.destroy()
      files.destroy()
      timers.destroy()
      table.destroy()
      shim_fork_mark_destroy(forkMark)
    }
  }

  /// How far a shutdown is with the packets that are left.
  enum Sinking {
    case over
    case callsSink
    /// The sink has asked for the port's close.
    case closesBehindSink
  }

  /// Guarded by the port's lock. First, because the thread sanitizer takes the change of a field for a change at the
  /// address of the whole, and every call reads `port`.
  var pollable = PollableDescriptors()
  let port: CompletionPort
  let driver: PortDriver
  let poll: EventPoll
  let interruption: WakeDescriptor
  let parts: Parts
  let backend: PortBackend
  /// Whether a thread waits in the driver, or is about to, with a timeout that a new timer may have to cut short.
  let isWaiting = Atomic<Bool>(false)
  /// Of the thread that shuts the port down: others may not call any more.
  var sinking = Sinking.over

  /// No handle: the data word of the interruption's events.
  static var interruptionData: UInt64 { @_noLocks get { 0 } }

  init(
    port: CompletionPort, driver: PortDriver, poll: EventPoll, interruption: WakeDescriptor, parts: Parts,
    backend: PortBackend
  ) {
    self.port = port
    self.driver = driver
    self.poll = poll
    self.interruption = interruption
    self.parts = parts
    self.backend = backend
  }

  mutating func closeDescriptors() {
    pollable.close()
    poll.destroy()
    interruption.destroy()
  }
}
