import CMews
import CMewsShims
import MewsCore

public typealias ExchangePointer = UnsafeMutablePointer<Exchange>

/// One request with its response: plain memory in a slot that is reused and never unmapped.
///
/// It belongs to one thread at a time: to the connection's I/O thread while the request is read and the response is
/// sent, to a worker while that runs the handler. The pointer that a handler gets is valid during the call and on its
/// thread; `handlerThread` is how every call of the C interface checks that. What outlives the call holds a token,
/// counted in `control`.
public struct Exchange {
  /// What the port hands to a worker, and what comes back through the I/O thread's mailbox.
  public var packet: Packet
  /// Generation, flags and number of tokens: see `ExchangeControl`. Atomic.
  public var control: UInt64
  /// The context of the thread that runs the handler now, as bits; 0 when none does. Atomic.
  public var handlerThread: UInt64
  /// How the thread is watched that runs the handler on an I/O thread: its response goes to what belongs to that.
  var watch: RunWatchPointer?
  /// The number of the slot in the process.
  public var slot: UInt32
  public var next: ExchangePointer?

  public var context: UnsafeMutablePointer<IOContext>?
  /// Nil once the exchange is over and only lives on for those who hold it.
  public var connection: UnsafeMutablePointer<Connection>?
  /// Memory and date of the thread that owns the exchange now.
  public var resources: ThreadResourcesPointer

  /// The bytes of the head, which `head` speaks of.
  public var base: UnsafePointer<UInt8>?
  /// The block under `base`, held for longer than the input pipe would hold it.
  public var pinned: BlockPointer?
  public var body: UnsafePointer<UInt8>?
  public var bodyCount: Int
  /// Memory of a body that did not lie in one block with its head.
  public var bodyBuffer: UnsafeMutablePointer<UInt8>?
  public var bodyCapacity: Int

  /// The decoded path.
  public var path: UnsafePointer<UInt8>?
  public var pathCount: Int
  public var route: UnsafePointer<Route>?
  public var captures: InlineArray<16, PathCapture>
  public var captureCount: Int

  public var arena: Arena
  /// Header fields that the handler added, as they go on the wire.
  public var fields: ResponseFields
  /// Where the response goes: the connection's output as long as the handler runs inline, and `response` when it runs
  /// elsewhere or another thread has taken over the I/O thread's work.
  public var output: UnsafeMutablePointer<Pipe>?
  public var response: Pipe
  /// The status of the response, 0 until it is given.
  public var status: UInt32
  /// Whether the connection can carry another request after this one.
  public var keepAlive: Bool
  /// What completes the exchange after MEWS_PENDING: written by whoever set `claimedBit`, read once `readyBit` is set.
  var completion: CompletionPointer?

  public var head: RequestHead
}

/// Where in the decoded path a parameter's value lies.
public struct PathCapture: Sendable {
  public var offset: UInt32
  public var count: UInt32

  public init(offset: UInt32, count: UInt32) {
    self.offset = offset
    self.count = count
  }
}

/// What the server needs to know of a route to run it. The host keeps it in memory that lives as long as the server.
public struct Route {
  public var handler: mews_handler
  public var state: UnsafeMutableRawPointer?
  /// The plugin's handle, as handlers get it.
  public var plugin: OpaquePointer?
  /// The plugin's name for the log, ended by NUL; it lives as long as the route.
  public var pluginName: UnsafePointer<CChar>?
  public var execution: mews_execution
  /// The names of the pattern's parameters, in the order of the captures.
  public var parameterNames: UnsafePointer<ParameterName>?
  public var parameterCount = 0

  public init(
    handler: @escaping mews_handler, state: UnsafeMutableRawPointer?, plugin: OpaquePointer?,
    pluginName: UnsafePointer<CChar>?, execution: mews_execution
  ) {
    self.handler = handler
    self.state = state
    self.plugin = plugin
    self.pluginName = pluginName
    self.execution = execution
  }
}

/// The name of a path parameter: bytes that live as long as the route.
public struct ParameterName {
  public var bytes: UnsafePointer<UInt8>
  public var count: Int

  public init(bytes: UnsafePointer<UInt8>, count: Int) {
    self.bytes = bytes
    self.count = count
  }
}

extension Exchange {
  /// Notes where the value of a path parameter lies in the decoded path.
  @_noLocks
  public static func capture(_ exchange: ExchangePointer, _ index: Int, offset: UInt32, count: UInt32) {
    guard index >= 0, index < 16 else { return }
    exchange.pointee.captures[index] = PathCapture(offset: offset, count: count)
    exchange.pointee.captureCount = index &+ 1
  }

  /// The block cache of the thread that owns the exchange now.
  public var cache: BlockCache {
    @_noLocks @inline(__always) get { resources.pointee.cache }
  }
}
