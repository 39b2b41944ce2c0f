import MewsCore

/// What a client may ask for at most, and why.
public struct ServerLimits: Sendable {
  /// Request line, header section and number of fields: Kestrel's defaults, which the field has settled on.
  public var request = RequestLimits()
  /// The largest request body, in bytes.
  public var bodyBytes: Int64 = 30_000_000
  /// Unread input above which the connection's socket is no longer read.
  public var inputPause = 64 * 1024
  /// Unsent output above which the connection's next request waits, so that a client which sends requests and reads no
  /// responses cannot fill the memory. One response is always taken whole.
  public var outputPause = 1 << 20
  /// Memory for blocks, in bytes; a connection that gets none is closed.
  public var poolBytes = 1 << 30
  /// Reads of one connection in one pass, so that one that sends without pause does not starve the others.
  public var readsPerPass = 16
  /// Connections taken from a listener in one pass.
  public var acceptsPerPass = 16

  public init() {}

  /// How many blocks each io_uring has to receive into: a power of two. Enough for what comes in one pass, and a small
  /// part of the memory for blocks.
  public var receiveBuffers: Int {
    var count = 256
    while count > 8 && count * BlockPool.blockSize > poolBytes / 16 { count /= 2 }
    return count
  }

  /// Bytes of the largest head that is accepted: up to two empty lines before it, the request line with its end, and
  /// the header section.
  var largestHead: Int {
    @_noLocks @inline(__always) get { 4 &+ request.requestLine &+ 2 &+ request.headerBytes }
  }
}
