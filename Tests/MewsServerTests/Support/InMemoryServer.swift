import CMews
import CMewsShims
import Glibc
import Synchronization
import Testing

@testable import MewsCore
@testable import MewsServer

/// One I/O thread of a server with its port and its memory, without the thread: its passes are run by the test, its
/// clock stands still unless the test moves it, and its connections are `InMemoryConnection`s.
///
/// What a handler does on a worker is run by `runWorkers`, on the test's thread, but as a worker.
final class InMemoryServer {
  /// Sunday, 6 November 1994, 08:49:37 GMT: the example of RFC 9110.
  static let initialTime: Int64 = 784_111_777

  let pool: BlockPool
  let context: IOContextPointer
  let learning: RouteLearning
  private let port: CompletionPort
  private let thread: IOThread
  private let threadContext: UnsafeMutablePointer<ThreadContext>
  private let workerContext: UnsafeMutablePointer<ThreadContext>
  private let workerResources: ThreadResourcesPointer
  private let clock: UnsafeMutablePointer<Int64>
  private let wakePacket: PacketPointer
  private let logLines = LogLines()
  private let routes = RouteList()
  private var clients: [InMemoryConnection] = []
  private var listeners: [ListenerPointer] = []
  private var listeningSets: [ListeningSet] = []
  private var stoppedClock: StoppedClock?
  /// How the threads are watched that have taken over the I/O thread's work.
  private var watches: [RunWatchPointer] = []
  /// The thread's ring, if it has one. The test's thread has made it, and has to stay the same.
  private let ring: Ring?

  /// Whether servers have a ring where a test does not say.
  static let usesRing = getenv("MEWS_TEST_IO").map { String(cString: $0) } == "io_uring"

  init(
    limits: ServerLimits = ServerLimits(), forcesWorkers: Bool = false, debug: BlockPoolDebug = .poison,
    usesRing: Bool = InMemoryServer.usesRing, without switchedOff: RingFeatures = []
  ) throws {
    pool = try #require(BlockPool.create(limit: limits.poolBytes, debug: debug))
    port = try #require(CompletionPort.create(concurrency: 64))
    context = .allocate(capacity: 1)
    thread = try IOThread.create(
      hooks: IOThreadHooks(lost: { argument in Server.ioThreadDidLoseCompletions(argument) }, context: context))
    threadContext = .allocate(capacity: 1)
    threadContext.initialize(to: ThreadContext(kind: .ioThread, index: 0))
    clock = .allocate(capacity: 1)
    clock.initialize(to: Self.initialTime)
    wakePacket = .allocate(capacity: 1)
    wakePacket.initialize(to: Packet(action: { _ in }))
    let resources = try Self.makeResources(pool)
    workerResources = try Self.makeResources(pool)
    workerContext = .allocate(capacity: 1)
    workerContext.initialize(to: ThreadContext(kind: .worker, index: 1))
    Self.prepare(workerContext, workerResources, clock)
    Self.prepare(threadContext, resources, clock)
    let log = ServerLog(
      function: { context, _, _, text in LogLines.append(text, to: context) },
      context: Unmanaged.passUnretained(logLines).toOpaque(), level: UInt32(MEWS_LEVEL_DEBUG))
    learning = RouteLearning(ioThreads: 1, log: log)
    context.initialize(
      to: IOContext(
        resources: resources, thread: thread, port: port, application: routes.application, limits: limits, log: log,
        forcesWorkers: forcesWorkers))
    IOContext.prepare(context)
    guard usesRing else {
      ring = nil
      return
    }
    let features = RingProbe.ofThisProcess.features.subtracting(switchedOff)
    let ring = try Ring.createFitting(features)
    self.ring = ring
    try #require(ring.provideBuffers(limits.receiveBuffers, from: resources.pointee.cache) == 0)
    IOThreadState.startProactor(thread.state, ring)
    IOContext.useRing(context, features)
  }

  // MARK: What the server serves

  /// Registers a handler for a method and an exact path, run on the I/O thread unless something else is said.
  func handle(
    _ method: String = "GET", _ path: String, on execution: Int = MEWS_EXECUTION_INLINE, timeout: UInt32 = 0,
    _ body: @escaping (HandledExchange) -> mews_result
  ) {
    routes.add(method, path, execution: mews_execution(execution), timeout: timeout, body)
  }

  /// Registers a handler for GET whose runs are counted, and whose class is what the policy makes it.
  func learn(
    _ path: String, policy: RoutePolicy = RoutePolicy(), _ body: @escaping (HandledExchange) -> mews_result
  ) throws -> RouteRecordPointer {
    let names = RouteNames(
      method: "GET", pattern: path, plugin: "test", declared: policy.isLearned ? "auto" : policy.execution.name)
    let record = try #require(RouteRecord.create(names, policy: policy, learning: learning))
    routes.add("GET", path, execution: mews_execution(MEWS_EXECUTION_DEFAULT), record: record, body)
    return record
  }

  /// How many requests of a path were answered with 504 because their time was over.
  func missedDeadlines(_ path: String) -> UInt64 { routes.missedCount(path) }

  /// Blocks that are in use. Those that the ring has to receive into are not.
  var rentedBlocks: Int { pool.statistics.rented - (ring?.providedBlocks ?? 0) }

  var log: [String] { logLines.lines }

  /// Seconds since 1970, as responses are dated.
  var time: Int64 {
    get { clock.pointee }
    set { clock.pointee = newValue }
  }

  // MARK: Running it

  /// A new connection with the test as its client.
  func connect() -> InMemoryConnection {
    let client = InMemoryConnection(to: self)
    clients.append(client)
    return client
  }

  /// Takes connections from listening sockets, which the server closes at its end.
  func listen(on sockets: ListeningSet) {
    for descriptor in sockets.descriptors {
      let listener = ListenerPointer.allocate(capacity: 1)
      listener.initialize(to: Listener(descriptor: descriptor, context: context))
      listeners.append(listener)
      context.pointee.belongings._withUnsafeGuaranteedRef { $0.listeners.append(listener) }
    }
    listeningSets.append(sockets)
    onIOThread { IOContext.listen(context) }
  }

  /// Closes the sockets that it listens on, as whoever runs it does once it has stopped.
  func closeListeningSets() {
    for listeningSet in listeningSets { listeningSet.close() }
    // Closed again, their numbers would be somebody else's.
    listeningSets = []
  }

  /// Does something as the I/O thread.
  func onIOThread<Result>(_ body: () throws -> Result) rethrows -> Result {
    try with(threadContext, body)
  }

  /// Does something as a worker.
  func onWorker<Result>(_ body: () throws -> Result) rethrows -> Result { try with(workerContext, body) }

  /// Stops the clock that timers go by. From now on only `passTime` moves it.
  func stopClock() {
    stoppedClock = StoppedClock()
    // The I/O thread knows the time from its last pass.
    runPass()
  }

  /// Moves the clock, which was stopped, and runs what has become due. Any handler may do that to itself: it is then as
  /// if it ran for so long while the I/O thread went on.
  func passTime(milliseconds: Int64) {
    moveClock(milliseconds: milliseconds)
    runPasses()
  }

  /// Moves the clock, which was stopped.
  func moveClock(milliseconds: Int64) { stoppedClock?.advance(milliseconds: milliseconds) }

  /// Runs passes of the I/O thread until none is asked for.
  func runPasses() {
    repeat { runPass() } while isDue
  }

  /// Whether the I/O thread would run another pass without waiting for anything from outside.
  private var isDue: Bool {
    guard thread.state.pointee.nextPass.isEmpty, thread.state.pointee.handlers.isEmpty,
      thread.state.pointee.mailbox.prepareToPark()
    else { return true }
    thread.state.pointee.mailbox.unpark()
    return false
  }

  /// Runs one pass. It never waits: it always finds a packet.
  func runPass() {
    onIOThread {
      let watch = thread.state.pointee.watch
      thread.post(wakePacket)
      let isComplete = IOThreadState.runPass(thread.state)
      #expect(isComplete || watch.pointee.is_lost)
    }
  }

  /// For an inline handler: another thread takes over the I/O thread's work from it, as from one that is stuck. What is
  /// run as the I/O thread from now on, inside of the handler too, is that one's doing.
  func takeOver() {
    let stuck = thread.state.pointee.watch
    #expect(RunWatch.enter(stuck))
    shim_run_give_up(stuck)
    let watch = RunWatchPointer.allocate(capacity: 1)
    watch.initialize(to: RunWatch(isWatched: stuck.pointee.is_watched))
    watches.append(watch)
    thread.state.pointee.watch = watch
    context.pointee.watch = watch
  }

  /// Runs the handlers that wait on the port, and returns how many there were. Their responses reach the I/O thread's
  /// mailbox; `runPasses` takes them from there.
  @discardableResult
  func runHandlersOfWorkers() -> Int {
    onWorker {
      var count = 0
      while case .packet(let packet) = port.get(timeoutNanoseconds: 0) {
        _ = MewsCore.run(packet)
        count += 1
      }
      port.leave()
      return count
    }
  }

  /// Runs the handlers that wait on the port as a further worker does, on the calling thread, until it is told to end.
  func workUntil(_ isOver: borrowing Atomic<Bool>, index: UInt32) throws {
    let resources = try Self.makeResources(pool)
    let worker = UnsafeMutablePointer<ThreadContext>.allocate(capacity: 1)
    worker.initialize(to: ThreadContext(kind: .worker, index: index))
    Self.prepare(worker, resources, clock)
    shim_set_thread_context(worker)
    while !isOver.load(ordering: .acquiring) {
      if case .packet(let packet) = port.get(timeoutNanoseconds: 1_000_000) { _ = MewsCore.run(packet) }
    }
    port.leave()
    shim_set_thread_context(nil)
    ThreadResources.destroy(resources)
    worker.deallocate()
  }

  /// Runs workers and passes until no handler waits.
  func runWorkers() {
    repeat { runPasses() } while runHandlersOfWorkers() > 0
  }

  /// Begins to drain, as when the server is asked to stop.
  func drain() {
    thread.post(withUnsafeMutablePointer(to: &context.pointee.drainPacket) { $0 })
    runPasses()
  }

  /// Cuts off what is left, as when the drain timeout has passed.
  func abort() {
    thread.post(withUnsafeMutablePointer(to: &context.pointee.abortPacket) { $0 })
    runPasses()
  }

  /// Whether the I/O thread was told to end.
  var hasStopped: Bool { thread.state.pointee.isStopping.load(ordering: .relaxed) }

  /// Packets that wait for a worker.
  var queuedHandlers: Int { port.depth }

  /// How many system calls were made to wake the I/O thread since this was last asked. Nobody else reads the
  /// descriptor, so the kernel has counted.
  func takeWakeCalls() -> UInt64 {
    var count: UInt64 = 0
    return read(thread.state.pointee.wake.descriptor, &count, 8) == 8 ? count : 0
  }

  /// Does something while the I/O thread sleeps, as far as those know who post to it.
  func whileParked(_ body: () -> Void) {
    let isParked = thread.state.pointee.mailbox.prepareToPark()
    #expect(isParked, "packets wait for the I/O thread")
    body()
    thread.state.pointee.mailbox.unpark()
  }

  // MARK: The end

  /// Has every client leave, ends the server, and checks that nothing was leaked: no exchange, no block, no misuse.
  func finish(sourceLocation: SourceLocation = #_sourceLocation) {
    for client in clients { client.disconnect() }
    runWorkers()
    abort()
    // Handlers may well hold the server that holds them.
    clients = []
    routes.removeAll()
    #expect(context.pointee.connectionCount == 0, "connections are left", sourceLocation: sourceLocation)
    #expect(context.pointee.exchangeCount == 0, "exchanges are left", sourceLocation: sourceLocation)
    IOThreadState.endProactor(thread.state)
    ring?.destroy()
    let statistics = pool.statistics
    #expect(statistics.rented == 0, "blocks are rented", sourceLocation: sourceLocation)
    #expect(statistics.large == 0, "large blocks are held", sourceLocation: sourceLocation)
    #expect(statistics.external == 0, "external blocks are held", sourceLocation: sourceLocation)
    let resources = context.pointee.resources
    context.pointee.destroy()
    ThreadResources.destroy(resources)
    ThreadResources.destroy(workerResources)
    context.deinitialize(count: 1)
    context.deallocate()
    for listener in listeners { listener.deallocate() }
    closeListeningSets()
    workerContext.deallocate()
    threadContext.deallocate()
    for watch in watches { watch.deallocate() }
    port.destroy()
    clock.deallocate()
    wakePacket.deallocate()
    #expect(pool.misuseCount == 0, "a block was misused", sourceLocation: sourceLocation)
    #expect(pool.destroy() == 0, "memory was not given back", sourceLocation: sourceLocation)
  }

  // MARK: Threads that are none

  private static func makeResources(_ pool: BlockPool) throws -> ThreadResourcesPointer {
    let resources = ThreadResourcesPointer.allocate(capacity: 1)
    let cache = try #require(pool.makeCache())
    // A C function has no context of its own; the thread's leads to the time that the test has set.
    resources.initialize(
      to: ThreadResources(cache: cache, clock: { ThreadContext.current?.pointee.current?.load(as: Int64.self) ?? 0 }))
    return resources
  }

  private static func prepare(
    _ context: UnsafeMutablePointer<ThreadContext>, _ resources: ThreadResourcesPointer,
    _ clock: UnsafeMutablePointer<Int64>
  ) {
    context.pointee.cache = UnsafeMutableRawPointer(resources)
    context.pointee.current = UnsafeMutableRawPointer(clock)
  }

  private func with<Result>(
    _ context: UnsafeMutablePointer<ThreadContext>, _ body: () throws -> Result
  ) rethrows -> Result {
    let previous = shim_thread_context()
    shim_set_thread_context(context)
    defer { shim_set_thread_context(previous) }
    guard let stoppedClock else { return try body() }
    return try stoppedClock.run(body)
  }
}

/// Runs a test with a server, and checks afterwards that it leaked nothing.
func withServer(
  limits: ServerLimits = ServerLimits(), forcesWorkers: Bool = false, debug: BlockPoolDebug = .poison,
  without switchedOff: RingFeatures = [], sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (InMemoryServer) throws -> Void
) throws {
  let server = try InMemoryServer(
    limits: limits, forcesWorkers: forcesWorkers, debug: debug, without: switchedOff)
  try body(server)
  server.finish(sourceLocation: sourceLocation)
}

/// The lines of a server's log.
private final class LogLines {
  var lines: [String] = []

  static func append(_ text: mews_text, to context: UnsafeMutableRawPointer?) {
    guard let context, let bytes = text.data else { return }
    let line = UnsafeRawBufferPointer(start: bytes, count: text.length)
    Unmanaged<LogLines>.fromOpaque(context).takeUnretainedValue().lines.append(String(decoding: line, as: UTF8.self))
  }
}
