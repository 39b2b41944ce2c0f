import CMewsShims
import MewsCore

/// A connection as the protocol sees it: two pipes, and where in a request it stands. It belongs to one I/O thread.
public struct Connection {
  /// What the connection waits for or does.
  public enum Phase: UInt8 {
    /// The head of a request, or its first byte.
    case head
    /// The body of a request, of known length, in one block with its head.
    case bodyInPlace
    /// The body of a request, of known length, gathered in the exchange's own memory.
    case bodyGathered
    /// The body of a request, in chunks.
    case bodyChunked
    /// A worker runs the handler, or the handler left the response pending.
    case running
    /// The last response is being sent; input is thrown away.
    case closing
    /// The transport is closed.
    case closed
  }

  public var context: UnsafeMutablePointer<IOContext>
  public var transport: Transport
  public var input: Pipe
  public var output: Pipe
  public var parser: RequestParser
  public var decoder: ChunkedDecoder
  /// The request that is being read or run.
  public var exchange: ExchangePointer?
  public var phase: Phase
  /// Bytes of head and body that lie in the input pipe until the exchange is over.
  public var heldBytes: Int
  /// The peer has sent all it will send.
  public var inputEnded: Bool
  /// A request was dispatched whose handler is to run on the I/O thread: whoever read it sees to that.
  var handlerIsDue: Bool
  /// When the request that runs has to be answered, on the clock of the I/O thread; of use where its route has a
  /// deadline.
  var deadline: UInt64
  /// Looks after the deadline. It may be started although none is to be met.
  var deadlineTimer: Timer
  public var previous: ConnectionPointer?
  public var next: ConnectionPointer?

  public init(context: UnsafeMutablePointer<IOContext>, transport: Transport) {
    self.context = context
    self.transport = transport
    let limits = context.pointee.limits
    input = Pipe(pause: limits.inputPause, resume: limits.inputPause / 2)
    output = Pipe(pause: limits.outputPause, resume: limits.outputPause / 2)
    parser = RequestParser(limits: limits.request)
    decoder = ChunkedDecoder()
    exchange = nil
    phase = .head
    heldBytes = 0
    inputEnded = false
    handlerIsDue = false
    deadline = 0
    deadlineTimer = Timer(action: { timer in Connection.deadlineTimerIsDue(timer) }, context: nil)
    previous = nil
    next = nil
  }

  /// Whether it waits for the first byte of a request.
  public var isIdle: Bool {
    if case .head = phase { return exchange == nil && input.count == 0 && output.count == 0 }
    return false
  }

  /// How many bytes it pays to read at once now: a large body comes in larger pieces.
  public var readSize: Int {
    @_noLocks get {
      switch phase {
      case .bodyGathered, .bodyChunked: 64 * 1024
      default: 1024
      }
    }
  }
}
