import MewsCore

public typealias ConnectionPointer = UnsafeMutablePointer<Connection>

/// What a protocol asks of the transport below it. Bytes themselves cross in the connection's two pipes only, so a new
/// transport (TLS, a unix socket, memory in a test) is one such table, and nothing above it knows.
///
/// Every function is called on the connection's I/O thread, with the connection as its argument.
public struct Transport: Sendable {
  public typealias Function = @convention(c) (UnsafeMutableRawPointer) -> Void

  /// The output pipe holds bytes to send. They may be sent at the end of the pass, with those of other requests.
  public var outputReady: Function
  /// The input pipe, which was full, has room again.
  public var inputResumed: Function
  /// Nothing more will be sent once the output is empty; what still comes in is to be thrown away for a moment, so that
  /// the peer reads the response before it learns that the connection is closed (RFC 9112, 9.6).
  public var closeLingering: Function
  /// The server stops: takes what the peer has sent already, and closes if that is no request.
  public var drain: Function
  /// Closes at once.
  public var abort: Function

  public init(
    outputReady: @escaping Function, inputResumed: @escaping Function, closeLingering: @escaping Function,
    drain: @escaping Function, abort: @escaping Function
  ) {
    self.outputReady = outputReady
    self.inputResumed = inputResumed
    self.closeLingering = closeLingering
    self.drain = drain
    self.abort = abort
  }
}
