import CMewsShims
import Glibc
import MewsCore

/// How the layer above answers "whose request is this?": it sets the exchange's route, or responds itself.
public struct Application: Sendable {
  public nonisolated(unsafe) var context: UnsafeMutableRawPointer
  /// Called on the I/O thread for each request, with `context` and the exchange.
  public var select: @convention(c) (UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void

  public init(
    context: UnsafeMutableRawPointer,
    select: @escaping @convention(c) (UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void
  ) {
    self.context = context
    self.select = select
  }
}

/// What one I/O thread knows of its server: memory, connections, exchanges, the port. Only that thread touches it, but
/// for the thread's mailbox and the word that says that the server stops.
public struct IOContext {
  /// Those of the thread that does the work now.
  public internal(set) var resources: ThreadResourcesPointer
  /// For the time before the first thread and after the last one.
  let ownResources: ThreadResourcesPointer
  /// How the thread is watched that does the work now.
  var watch: RunWatchPointer
  public let thread: IOThread
  public var port: CompletionPort
  public var application: Application
  public var limits: ServerLimits
  public var log: Unmanaged<ServerLog>
  /// Runs every route on workers, whatever it was declared.
  public var forcesWorkers: Bool
  /// What the thread's ring uses, if it has one.
  public var ringFeatures: RingFeatures?
  /// Whether that is all that a `RingConnection` needs.
  var hasRingConnections: Bool
  /// Whether the server stops. Atomic: workers read it.
  private let draining: UnsafeMutablePointer<UInt64>

  public var connections: ConnectionPointer?
  public var connectionCount: Int
  /// Exchanges that are read, run or pending. Those that only tokens hold do not count.
  public var exchangeCount: Int
  var freeExchanges: ExchangePointer?

  /// Packets of this pass for the port.
  var firstPacket: PacketPointer?
  var lastPacket: PacketPointer?
  var packetCount: Int

  var life: UnsafeMutablePointer<ServerLife.State>?
  /// What is no plain data, out of the hot path's way.
  let belongings: Unmanaged<IOContextBelongings>
  /// Posted once each, to begin to drain and to cut off what is left.
  var drainPacket: Packet
  var abortPacket: Packet
  /// Ends the time in which connections still come in while the server drains.
  var lastConnectionsTimer: Timer
  /// Whether listening sockets are watched.
  var isListening: Bool
  /// See `ServerOptions`.
  var isLastOnAddresses: Bool
  /// The I/O thread's number among those of its server.
  var number = 0
  /// Hands the packets of a pass to the port.
  var portNode: PortNode
  /// When the log was last told that another thread took over, on the I/O thread's clock.
  var takeoverReportTime: UInt64?
  /// When the log was last told that completions were lost, on the same clock.
  var lossReportTime: UInt64?

  public init(
    resources: ThreadResourcesPointer, thread: IOThread, port: CompletionPort, application: Application,
    limits: ServerLimits,
    log: ServerLog, forcesWorkers: Bool
  ) {
    self.resources = resources
    ownResources = resources
    watch = thread.watch
    self.thread = thread
    self.port = port
    self.application = application
    self.limits = limits
    self.log = Unmanaged.passRetained(log)
    self.forcesWorkers = forcesWorkers
    ringFeatures = nil
    hasRingConnections = false
    draining = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    draining.initialize(to: 0)
    connections = nil
    connectionCount = 0
    exchangeCount = 0
    freeExchanges = nil
    firstPacket = nil
    lastPacket = nil
    packetCount = 0
    life = nil
    belongings = Unmanaged.passRetained(IOContextBelongings())
    drainPacket = Packet()
    abortPacket = Packet()
    lastConnectionsTimer = Timer(
      action: { timer in
        if let context = timer.pointee.context?.assumingMemoryBound(to: IOContext.self) {
          IOContext.endListening(context)
        }
      }, context: nil)
    isListening = false
    isLastOnAddresses = true
    portNode = PortNode()
  }

  public var cache: BlockCache {
    @_noLocks @inline(__always) get { resources.pointee.cache }
  }

  public var isDraining: Bool {
    @_noLocks @inline(__always) get { shim_load_relaxed(draining) != 0 }
  }

  /// Frees what the context owns, its thread included, which has ended.
  public mutating func destroy() {
    let chunks = belongings.takeUnretainedValue().chunks
    for chunk in chunks {
      // First, so that no token that is released meanwhile sends an exchange home while it is reset.
      ExchangeDirectory.disown(chunk)
      for index in 0..<ExchangeDirectory.chunkCount { Exchange.reset(chunk + index, resources) }
    }
    // Tokens that were released late have sent exchanges to the thread: they leave its mailbox before another server
    // can get them.
    thread.destroy()
    for chunk in chunks { ExchangeDirectory.returnChunk(chunk) }
    freeExchanges = nil
    belongings.release()
    draining.deallocate()
    log.release()
  }
}

/// What a context holds that has reference counts; the context itself stays plain data.
final class IOContextBelongings {
  /// The rows of exchanges this context took from the directory.
  var chunks: [ExchangePointer] = []
  var listeners: [ListenerPointer] = []
}

/// A node of the pass that knows its context.
struct PortNode {
  var node = PassNode(action: nil)
  var context: IOContextPointer?
}

public typealias IOContextPointer = UnsafeMutablePointer<IOContext>

// MARK: Exchanges

extension IOContext {
  /// An exchange for a request, open; nil when memory is exhausted.
  @_noLocks
  static func rentExchange(_ context: IOContextPointer) -> ExchangePointer? {
    if context.pointee.freeExchanges == nil {
      guard _unsafePerformance({ refill(context) }) else { return nil }
    }
    guard let exchange = context.pointee.freeExchanges else { return nil }
    context.pointee.freeExchanges = exchange.pointee.next
    context.pointee.exchangeCount &+= 1
    Exchange.open(exchange)
    return exchange
  }

  /// Ends an exchange: at once, or when its last token is released.
  @_noLocks
  static func endExchange(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    if Exchange.close(exchange) {
      reuse(exchange, context)
    } else if !endHeldExchange(exchange, context) {
      return
    }
    context.pointee.exchangeCount &-= 1
    if context.pointee.isDraining { _unsafePerformance { checkDrained(context) } }
  }

  /// The same for an exchange that is held. False: a completion that comes too late holds it, and ends it once more
  /// when it has been dealt with.
  @_noLocks @inline(never)
  private static func endHeldExchange(_ exchange: ExchangePointer, _ context: IOContextPointer) -> Bool {
    exchange.pointee.connection = nil
    switch Exchange.closeHeld(exchange) {
    case .free:
      reuse(exchange, context)
      return true
    case .retained: return true
    case .claimed: return false
    case .ready:
      _unsafePerformance { Exchange.deliver(exchange) }
      return false
    }
  }

  /// Gives the memory behind an exchange back and the slot to the next request.
  @_noLocks
  private static func reuse(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    Exchange.reset(exchange, context.pointee.resources)
    exchange.pointee.next = context.pointee.freeExchanges
    context.pointee.freeExchanges = exchange
  }

  @inline(never)
  private static func refill(_ context: IOContextPointer) -> Bool {
    guard let chunk = ExchangeDirectory.takeChunk() else { return false }
    for index in (0..<ExchangeDirectory.chunkCount).reversed() {
      let exchange = chunk + index
      Exchange.prepare(exchange, context)
      exchange.pointee.next = context.pointee.freeExchanges
      context.pointee.freeExchanges = exchange
    }
    context.pointee.belongings._withUnsafeGuaranteedRef { $0.chunks.append(chunk) }
    return true
  }

  /// The last token of an exchange that is over was released, on any thread: sends it home. The caller holds the
  /// directory's lock, so that the server cannot go meanwhile.
  static func returnExchange(_ exchange: ExchangePointer, to context: IOContextPointer) {
    exchange.pointee.packet.action = { packet in
      let exchange = Exchange.of(packet)
      guard let context = exchange.pointee.context else { return }
      Exchange.retire(exchange)
      IOContext.reuse(exchange, context)
    }
    context.pointee.thread.post(Exchange.packet(exchange))
  }
}

// MARK: Connections

extension IOContext {
  /// Says what the thread's ring uses, which has buffers to receive into if it uses any.
  static func useRing(_ context: IOContextPointer, _ features: RingFeatures) {
    context.pointee.ringFeatures = features
    context.pointee.hasRingConnections = RingConnection.features.isSubset(of: features)
  }

  /// Takes over a connected, non-blocking socket.
  ///
  /// - Returns: 0, or `EBADF` when it is none.
  static func open(_ descriptor: Int32, _ context: IOContextPointer) -> Int32 {
    let result = shim_set_no_delay(descriptor)
    guard result != -EBADF, result != -ENOTSOCK else { return EBADF }
    if context.pointee.hasRingConnections, let proactor = context.pointee.thread.proactor {
      RingConnection.open(descriptor, proactor, context)
    } else {
      SocketConnection.open(descriptor, context)
    }
    return 0
  }

  static func add(_ connection: ConnectionPointer, to context: IOContextPointer) {
    connection.pointee.previous = nil
    connection.pointee.next = context.pointee.connections
    context.pointee.connections?.pointee.previous = connection
    context.pointee.connections = connection
    context.pointee.connectionCount += 1
  }

  static func remove(_ connection: ConnectionPointer, from context: IOContextPointer) {
    if let previous = connection.pointee.previous {
      previous.pointee.next = connection.pointee.next
    } else {
      context.pointee.connections = connection.pointee.next
    }
    connection.pointee.next?.pointee.previous = connection.pointee.previous
    connection.pointee.previous = nil
    connection.pointee.next = nil
    context.pointee.connectionCount -= 1
    if context.pointee.isDraining { checkDrained(context) }
  }

  /// Begins to listen. On the I/O thread, before its first pass.
  static func listen(_ context: IOContextPointer) {
    let listeners = context.pointee.belongings.takeUnretainedValue().listeners
    context.pointee.isListening = !listeners.isEmpty
    for listener in listeners { Listener.open(listener) }
  }

  /// Starts to drain: takes no more connections but those that are on their way, closes the idle ones, and the others
  /// after their response. The thread ends with the last of them.
  static func drain(_ context: IOContextPointer) {
    shim_store_relaxed(context.pointee.draining, 1)
    if context.pointee.isLastOnAddresses {
      for listener in context.pointee.belongings.takeUnretainedValue().listeners { Listener.admitNoMore(listener) }
    }
    forEachConnection(context) { Connection.drain($0) }
    guard context.pointee.isListening else { return checkDrained(context) }
    withUnsafeMutablePointer(to: &context.pointee.lastConnectionsTimer) { timer in
      timer.pointee.context = UnsafeMutableRawPointer(context)
      context.pointee.thread.start(timer, deadline: context.pointee.thread.now + Listener.handshakeMilliseconds)
    }
  }

  /// Takes what the kernel has queued, and nothing more.
  private static func endListening(_ context: IOContextPointer) {
    for listener in context.pointee.belongings.takeUnretainedValue().listeners { Listener.close(listener) }
    context.pointee.isListening = false
    if let life = context.pointee.life { ServerLife.threadDidCloseListeners(life) }
    checkDrained(context)
  }

  /// Closes every connection, whatever it is doing. Those that are closed already are only here for a handler that
  /// runs; aborted a second time, they would go from under it.
  static func abortAll(_ context: IOContextPointer) {
    if context.pointee.isListening {
      withUnsafeMutablePointer(to: &context.pointee.lastConnectionsTimer) { _ = context.pointee.thread.cancel($0) }
      endListening(context)
    }
    forEachConnection(context) { if $0.pointee.phase != .closed { $0.pointee.transport.abort($0) } }
  }

  static func forEachConnection(_ context: IOContextPointer, _ body: (ConnectionPointer) -> Void) {
    var connection = context.pointee.connections
    while let current = connection {
      connection = current.pointee.next
      body(current)
    }
  }

  static func checkDrained(_ context: IOContextPointer) {
    guard context.pointee.isDraining, !context.pointee.isListening, context.pointee.connectionCount == 0,
      context.pointee.exchangeCount == 0
    else { return }
    context.pointee.thread.stop()
  }
}

// MARK: The port

extension IOContext {
  /// Puts an exchange's packet with those of this pass.
  @_noLocks @inline(__always)
  static func queue(_ packet: PacketPointer, _ context: IOContextPointer) {
    packet.pointee.next = nil
    if let last = context.pointee.lastPacket {
      last.pointee.next = packet
    } else {
      context.pointee.firstPacket = packet
    }
    context.pointee.lastPacket = packet
    context.pointee.packetCount &+= 1
    if context.pointee.packetCount == 1 {
      context.pointee.thread.runBeforeHandlers(withUnsafeMutablePointer(to: &context.pointee.portNode.node) { $0 })
    }
  }

  /// Gives the context's own packets and node their work, once it is at its place.
  static func prepare(_ context: IOContextPointer) {
    context.pointee.drainPacket = Packet(operation: context) { packet in
      if let context = packet.pointee.operation?.assumingMemoryBound(to: IOContext.self) { IOContext.drain(context) }
    }
    context.pointee.abortPacket = Packet(operation: context) { packet in
      if let context = packet.pointee.operation?.assumingMemoryBound(to: IOContext.self) { IOContext.abortAll(context) }
    }
    context.pointee.portNode.context = context
    context.pointee.portNode.node = PassNode { node in
      // The node is the first field of its struct.
      let portNode = UnsafeMutableRawPointer(node).assumingMemoryBound(to: PortNode.self)
      if let context = portNode.pointee.context { IOContext.postPackets(context) }
    }
  }

  /// Posts the packets of this pass: one lock and as few wakes as they need.
  @_noLocks
  static func postPackets(_ context: IOContextPointer) {
    guard let first = context.pointee.firstPacket, let last = context.pointee.lastPacket else { return }
    context.pointee.port.post(first: first, last: last, count: context.pointee.packetCount)
    context.pointee.firstPacket = nil
    context.pointee.lastPacket = nil
    context.pointee.packetCount = 0
  }
}
