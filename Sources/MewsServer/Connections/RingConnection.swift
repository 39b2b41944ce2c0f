import CMewsShims
import Glibc
import MewsCore

/// A connection over a stream socket of an I/O thread with a ring: the transport under an HTTP connection.
///
/// One operation receives whatever comes, into blocks that the kernel takes from the thread's ring only where there are
/// bytes: an idle connection has none. While the input pipe is full, another one takes its place, which only tells that
/// the connection broke off. At most one send is in flight, of all that the output pipe held when it began; more would
/// get out of order.
///
/// The descriptor is closed when both operations have ended, and no sooner: an entry that is not submitted yet would
/// find the next connection under its number.
struct RingConnection {
  /// Receives, or watches while the input is paused.
  var input: RingOperation
  var output: RingOperation
  /// The connection's place among what is to be flushed when the pass ends.
  var flushNode: PassNode
  var releaseNode: PassNode
  /// Ends the wait for the peer's close, and the one for its first request.
  var lingerTimer: Timer
  var connection: Connection
  let proactor: Proactor
  var descriptor: Int32
  var lingeredBytes = 0
  /// What the kernel still sends from, of a connection that is closed.
  var unsent = SegmentChain()
  /// The input pipe is full; the socket may hold more.
  var isReadPaused = false
  /// The operation of the input watches and does not receive.
  var isWatching = false
  var isLingering = false
  /// The peer has sent something.
  var hasReceived = false
  var isClosed = false
  /// A handler runs, so the memory stays although the socket is closed.
  var isHeldByHandler = false

  init(descriptor: Int32, proactor: Proactor, context: IOContextPointer) {
    input = RingOperation(
      prepare: { RingConnection.prepareInput(RingConnection.whole($0, at: 0), $1) },
      complete: { RingConnection.didReceive(RingConnection.whole($0, at: 0), $1) })
    output = RingOperation(
      prepare: { RingConnection.prepareOutput(RingConnection.whole($0, at: Offset.output), $1) },
      complete: { RingConnection.didSend(RingConnection.whole($0, at: Offset.output), $1) })
    flushNode = PassNode(action: { RingConnection.flush(RingConnection.whole($0, at: Offset.flushNode)) })
    releaseNode = PassNode(action: { RingConnection.whole($0, at: Offset.releaseNode).deallocate() })
    lingerTimer = Timer(action: { timer in RingConnection.lingeringIsOver(timer) }, context: nil)
    connection = Connection(context: context, transport: Self.transport)
    self.proactor = proactor
    self.descriptor = descriptor
  }
}

typealias RingConnectionPointer = UnsafeMutablePointer<RingConnection>

// MARK: Life

extension RingConnection {
  /// The features that such connections need.
  static let features: RingFeatures = [.bufferRing, .multishotReceive, .send]

  /// Takes over a connected socket. Closes it when that cannot be.
  static func open(_ descriptor: Int32, _ proactor: Proactor, _ context: IOContextPointer) {
    let socket = RingConnectionPointer.allocate(capacity: 1)
    socket.initialize(to: RingConnection(descriptor: descriptor, proactor: proactor, context: context))
    IOContext.add(connection(socket), to: context)
    guard proactor.attach(input(socket)) == 0, proactor.attach(output(socket)) == 0 else { return close(socket) }
    proactor.arm(input(socket))
    if context.pointee.isDraining { awaitFirstRequest(socket) }
  }

  /// Closes the connection, now: the peer is told, and nothing that comes is looked at. The descriptor and the memory
  /// go when the kernel has let go of them, and when the handler that still runs has returned.
  static func close(_ socket: RingConnectionPointer) {
    if socket.pointee.isClosed {
      socket.pointee.isHeldByHandler = false
      return releaseIfEnded(socket)
    }
    let context = socket.pointee.connection.context
    socket.pointee.isClosed = true
    context.pointee.thread.cancel(timer(socket))
    shim_socket_shut_down(socket.pointee.descriptor)
    socket.pointee.proactor.cancel(input(socket))
    if socket.pointee.output.isArmed {
      socket.pointee.proactor.cancel(output(socket))
      socket.pointee.connection.output.moveAll(to: &socket.pointee.unsent)
    }
    socket.pointee.isHeldByHandler = !Connection.transportDidClose(connection(socket))
    releaseIfEnded(socket)
  }

  /// Lets go of a closed connection as far as the kernel has, and the handler.
  static func releaseIfEnded(_ socket: RingConnectionPointer) {
    guard socket.pointee.isClosed, !socket.pointee.input.isArmed, !socket.pointee.output.isArmed else { return }
    let context = socket.pointee.connection.context
    if socket.pointee.descriptor >= 0 {
      socket.pointee.proactor.detach(input(socket))
      socket.pointee.proactor.detach(output(socket))
      socket.pointee.unsent.removeAll(to: context.pointee.cache)
      _ = shim_descriptor_close(socket.pointee.descriptor)
      socket.pointee.descriptor = -1
    }
    guard !socket.pointee.isHeldByHandler else { return }
    context.pointee.thread.deferRelease(node(socket, at: Offset.releaseNode))
    IOContext.remove(connection(socket), from: context)
  }

  /// A request that the kernel has already is still answered; without one the connection ends. Only one that has never
  /// brought a request gets a moment for it: its client could not know.
  private static func drain(_ socket: RingConnectionPointer) {
    guard !socket.pointee.isClosed, socket.pointee.connection.isIdle else { return }
    // What it has, the ring brings in the next pass.
    guard shim_socket_holds_bytes(socket.pointee.descriptor) == 0 else { return }
    if socket.pointee.hasReceived { close(socket) } else { awaitFirstRequest(socket) }
  }

  /// Closes the connection when its first request has not begun to come after a moment.
  private static func awaitFirstRequest(_ socket: RingConnectionPointer) {
    startTimer(socket, milliseconds: SocketConnection.firstRequestMilliseconds)
  }

  /// The last response is out: says so to the peer, and reads on until it closes, too.
  private static func linger(_ socket: RingConnectionPointer) {
    guard !socket.pointee.isClosed, !socket.pointee.isLingering else { return }
    socket.pointee.isLingering = true
    shutdown(socket.pointee.descriptor, Int32(SHUT_WR))
    let isDraining = socket.pointee.connection.context.pointee.isDraining
    startTimer(
      socket,
      milliseconds: isDraining ? SocketConnection.drainLingerMilliseconds : SocketConnection.lingerMilliseconds)
    resumeInput(socket)
  }

  private static func startTimer(_ socket: RingConnectionPointer, milliseconds: UInt64) {
    let thread = socket.pointee.connection.context.pointee.thread
    socket.pointee.lingerTimer.context = UnsafeMutableRawPointer(socket)
    thread.start(timer(socket), deadline: thread.now + milliseconds)
  }

  private static func lingeringIsOver(_ timer: TimerPointer) {
    guard let socket = timer.pointee.context?.assumingMemoryBound(to: RingConnection.self) else { return }
    // The first request may have come at last: then its response ends the connection.
    if socket.pointee.isLingering || socket.pointee.connection.isIdle { close(socket) }
  }
}

// MARK: The transport's table

extension RingConnection {
  private static let transport = Transport(
    outputReady: { argument in
      let socket = of(argument)
      socket.pointee.connection.context.pointee.thread.runAtPassEnd(node(socket, at: Offset.flushNode))
    },
    inputResumed: { argument in resumeInput(of(argument)) },
    closeLingering: { argument in linger(of(argument)) },
    drain: { argument in drain(of(argument)) }, abort: { argument in close(of(argument)) })
}

// MARK: From part to whole and back

/// Where the parts lie. They are C structs in a row, whose sizes are multiples of their alignment; a test compares
/// these sums with the layout the compiler chose.
extension RingConnection {
  enum Offset {
    @inline(__always) static var output: Int { MemoryLayout<RingOperation>.stride }
    @inline(__always) static var flushNode: Int { output &+ MemoryLayout<RingOperation>.stride }
    @inline(__always) static var releaseNode: Int { flushNode &+ MemoryLayout<PassNode>.stride }
    @inline(__always) static var lingerTimer: Int { releaseNode &+ MemoryLayout<PassNode>.stride }
    @inline(__always) static var connection: Int { lingerTimer &+ MemoryLayout<Timer>.stride }
  }

  @_noLocks @inline(__always)
  private static func whole(_ part: UnsafeMutableRawPointer, at offset: Int) -> RingConnectionPointer {
    (part - offset).assumingMemoryBound(to: RingConnection.self)
  }

  @_noLocks @inline(__always)
  private static func part<Part>(_ socket: RingConnectionPointer, at offset: Int) -> UnsafeMutablePointer<Part> {
    (UnsafeMutableRawPointer(socket) + offset).assumingMemoryBound(to: Part.self)
  }

  @_noLocks @inline(__always)
  private static func of(_ connection: UnsafeMutableRawPointer) -> RingConnectionPointer {
    whole(connection, at: Offset.connection)
  }

  @_noLocks @inline(__always)
  static func connection(_ socket: RingConnectionPointer) -> ConnectionPointer { part(socket, at: Offset.connection) }

  @_noLocks @inline(__always)
  static func input(_ socket: RingConnectionPointer) -> RingOperationPointer { part(socket, at: 0) }

  @_noLocks @inline(__always)
  static func output(_ socket: RingConnectionPointer) -> RingOperationPointer { part(socket, at: Offset.output) }

  @_noLocks @inline(__always)
  private static func node(_ socket: RingConnectionPointer, at offset: Int) -> PassNodePointer {
    part(socket, at: offset)
  }

  private static func timer(_ socket: RingConnectionPointer) -> TimerPointer { part(socket, at: Offset.lingerTimer) }
}
