import CMews
import CMewsShims
import Glibc
import MewsCore

/// How a server is set up; zeros are replaced by defaults.
public struct ServerOptions: Sendable {
  public var ioThreads = 0
  /// How many handlers run at once on workers.
  public var workers = 0
  /// How many worker threads there may be, those included whose handlers sleep.
  public var workersMaximum = 0
  /// How many sockets listen on an address.
  public var listenSockets = ListenSocketPolicy.automatic
  /// Whether nobody listens on the server's addresses after it. False where another process keeps the sockets open for
  /// a successor.
  public var isLastOnAddresses = true
  public var drainTimeoutMilliseconds: UInt32 = 30_000
  public var forcesWorkers = false
  /// Whether the class of routes that declare none is learned; otherwise they are run on workers.
  public var learnsExecution = true
  /// How long handlers may take whose routes say nothing of it; 0 for as long as they like.
  public var handlerTimeoutMilliseconds: UInt32 = 0
  /// What the io_urings of the I/O threads use; nil for epoll.
  public var ringFeatures: RingFeatures?
  public var limits = ServerLimits()

  public init() {}

  /// One I/O thread for two processors: the workers need some, too, and fewer threads that are awake cost less a
  /// request.
  public var effectiveIOThreads: Int { ioThreads > 0 ? ioThreads : min(16, (ProcessorCount.available + 1) / 2) }
  public var effectiveWorkers: Int { workers > 0 ? workers : ProcessorCount.available }
  var workerLimits: WorkerLimits { WorkerLimits(concurrency: effectiveWorkers, maximum: workersMaximum) }
  public var effectiveWorkersMaximum: Int { workerLimits.maximum }
  /// How many threads may stand by for I/O threads, or be stuck in handlers that ran on one. None are needed where no
  /// handler does.
  public var effectiveStandbys: Int { forcesWorkers ? 0 : min(effectiveWorkersMaximum, 64) }
  /// Replaces zeros by what they stand for now: to find that takes reading files, and the machine may change.
  mutating func settle() {
    ioThreads = effectiveIOThreads
    workers = effectiveWorkers
    workersMaximum = effectiveWorkersMaximum
  }

  /// The number of sockets that listen on an address.
  public var listenSocketCount: Int { listenSockets.socketCount(ioThreads: effectiveIOThreads) }
}

/// The server: I/O threads with their connections, workers on a completion port, and the memory under them.
///
/// Made, given listening sockets, started, stopped, waited for, destroyed: in this order. Only `stop` may be called at
/// any time and from anywhere.
public final class Server: @unchecked Sendable {
  public let options: ServerOptions
  public let log: ServerLog
  public let port: CompletionPort
  public let pool: BlockPool
  /// What is common to the records of its routes.
  public let learning: RouteLearning
  public private(set) var listeningSets: [ListeningSet] = []
  let life: ServerLife
  let workGate = Gate()
  var contexts: [IOContextPointer] = []
  var workers: WorkerPool?
  var runners: IORunnerPool?
  var listeners: [ListenerPointer] = []
  var isStarted = false
  public internal(set) var isJoined = false

  public init(options: ServerOptions, log: ServerLog) throws(SystemError) {
    var options = options
    options.settle()
    self.options = options
    self.log = log
    threadCount = options.effectiveIOThreads + options.effectiveWorkersMaximum + options.effectiveStandbys
    learning = RouteLearning(ioThreads: options.effectiveIOThreads, log: log)
    guard let port = CompletionPort.create(concurrency: options.effectiveWorkers) else {
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    guard let pool = BlockPool.create(limit: options.limits.poolBytes, debug: .fromEnvironment) else {
      port.destroy()
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    self.port = port
    self.pool = pool
    do throws(SystemError) {
      life = try ServerLife()
    } catch {
      port.destroy()
      pool.destroy()
      throw error
    }
  }

  /// The thread that timers of the layers above go to; nil before the start.
  public var firstThread: IOThread? { contexts.first?.pointee.thread }

  /// How many threads may run handlers, if as many are needed. Found once: it takes reading files.
  public let threadCount: Int

  /// Adds sockets that listen already. Before the start. The server owns them from now on.
  public func add(_ listeningSet: ListeningSet) { listeningSets.append(listeningSet) }

  /// A descriptor that becomes readable when the last I/O thread has ended.
  public var endedDescriptor: Int32 { life.ended }

  /// Starts the threads. After an error none of them runs, and the server can only be destroyed.
  public func start(_ application: Application) throws(SystemError) {
    do throws(SystemError) {
      for index in 0..<options.effectiveIOThreads { contexts.append(try makeContext(index, application)) }
      if options.isLastOnAddresses { life.becomeLastOnAddresses() }
      life.adopt(contexts, listeningSets.flatMap(\.descriptors))
      isStarted = true
      try startWorkers()
      try startIOThreads()
    } catch {
      abandonStart()
      throw error
    }
  }

  /// Ends the I/O threads that have started, and the workers.
  private func abandonStart() {
    stop()
    life.abort()
    runners?.join()
    endWorkers()
    isJoined = true
  }

  /// Has the workers finish what is queued, waits for them, and closes the port.
  func endWorkers() {
    // What was let in before is queued before the end of the workers, who therefore still run it.
    workGate.close()
    workers?.stop()
    workers?.join()
    port.close()
  }

  private func startWorkers() throws(SystemError) {
    let hooks = ThreadHooks(
      start: { argument in Server.threadDidStart(argument) }, exit: { _ in Server.threadWillExit() },
      context: Unmanaged.passUnretained(self).toOpaque())
    let pool = WorkerPool.create(
      port: port, limits: options.workerLimits, firstIndex: UInt32(options.effectiveIOThreads),
      server: Unmanaged.passUnretained(self).toOpaque(), hooks: hooks)
    guard let pool else { throw SystemError(call: "malloc", code: ENOMEM) }
    let error = pool.start()
    guard error == 0 else {
      pool.destroy()
      throw SystemError(call: "pthread_create", code: error)
    }
    workers = pool
  }

  private func startIOThreads() throws(SystemError) {
    let hooks = IORunnerHooks(
      start: { argument in Server.threadDidStart(argument) },
      ring: { argument, ring in Server.threadDidOpenRing(argument, ring.load(as: Ring.self)) },
      exit: { _ in Server.threadWillExit() },
      stranded: { argument, ioThread in Server.ioThreadIsStranded(argument, ioThread) },
      context: Unmanaged.passUnretained(self).toOpaque())
    let pool = IORunnerPool.create(
      ioThreads: contexts.map(\.pointee.thread), standbys: options.effectiveStandbys,
      firstStandbyIndex: UInt32(options.effectiveIOThreads + options.effectiveWorkersMaximum),
      server: Unmanaged.passUnretained(self).toOpaque(), hooks: hooks, ringFeatures: options.ringFeatures)
    guard let pool else { throw SystemError(call: "malloc", code: ENOMEM) }
    runners = pool
    let error = pool.start()
    guard error == 0 else { throw SystemError(call: "pthread_create", code: error) }
    learning.mayPromote = pool.canTakeOver
  }

  /// Gives a thread of the server its memory. Returns whether there was some.
  @discardableResult
  private static func threadDidStart(_ argument: UnsafeMutableRawPointer?) -> Bool {
    guard let argument else { return false }
    let server = Unmanaged<Server>.fromOpaque(argument).takeUnretainedValue()
    guard let resources = ThreadResources.create(server.pool) else { return false }
    ThreadContext.current?.pointee.cache = UnsafeMutableRawPointer(resources)
    return true
  }

  /// Gives a thread's new ring memory to receive into. Returns whether there was some.
  private static func threadDidOpenRing(_ argument: UnsafeMutableRawPointer?, _ ring: Ring) -> Bool {
    guard let argument, let resources = ThreadResources.current else { return false }
    guard RingConnection.features.isSubset(of: ring.features) else { return true }
    let server = Unmanaged<Server>.fromOpaque(argument).takeUnretainedValue()
    return ring.provideBuffers(server.options.limits.receiveBuffers, from: resources.pointee.cache) == 0
  }

  /// A handler holds up an I/O thread, and nobody can go on in its place.
  private static func ioThreadIsStranded(_ argument: UnsafeMutableRawPointer?, _ ioThread: Int) {
    guard let argument else { return }
    let server = Unmanaged<Server>.fromOpaque(argument).takeUnretainedValue()
    server.log.write(
      Int(MEWS_LEVEL_ERROR),
      "I/O thread \(ioThread) waits for a handler that does not return: the \(server.options.effectiveStandbys) "
        + "threads that could go on in its place do as well, or cannot; its connections are not served meanwhile")
  }

  private static func threadWillExit() {
    guard let resources = ThreadResources.current else { return }
    ThreadContext.current?.pointee.cache = nil
    ThreadResources.destroy(resources)
  }

  private func makeContext(_ index: Int, _ application: Application) throws(SystemError) -> IOContextPointer {
    guard let resources = ThreadResources.create(pool) else { throw SystemError(call: "malloc", code: ENOMEM) }
    let context = IOContextPointer.allocate(capacity: 1)
    let hooks = IOThreadHooks(
      start: { argument in Server.ioThreadDidStart(argument) },
      adopt: { argument, adoption in Server.ioThreadWasAdopted(argument, adoption) },
      lost: { argument in Server.ioThreadDidLoseCompletions(argument) },
      exit: { argument in Server.ioThreadWillExit(argument) }, context: UnsafeMutableRawPointer(context))
    let thread: IOThread
    do throws(SystemError) {
      thread = try IOThread.create(hooks: hooks)
    } catch {
      context.deallocate()
      ThreadResources.destroy(resources)
      throw error
    }
    context.initialize(
      to: IOContext(
        resources: resources, thread: thread, port: port, application: application, limits: options.limits, log: log,
        forcesWorkers: options.forcesWorkers))
    if let features = options.ringFeatures { IOContext.useRing(context, features) }
    context.pointee.life = life.state
    context.pointee.number = index
    context.pointee.isLastOnAddresses = options.isLastOnAddresses
    IOContext.prepare(context)
    for listeningSet in listeningSets {
      for descriptor in listeningSet.descriptors(forThread: index, of: options.effectiveIOThreads) {
        let listener = ListenerPointer.allocate(capacity: 1)
        listener.initialize(to: Listener(descriptor: descriptor, context: context))
        listeners.append(listener)
        context.pointee.belongings._withUnsafeGuaranteedRef { $0.listeners.append(listener) }
      }
    }
    return context
  }
}
