/// The methods of RFC 9110 and RFC 5789. Case counts: "get" is `other`.
public enum Method: Sendable {
  case get, head, post, put, delete, options, patch, trace, connect
  /// Any other token; its text is in the head.
  case other

  /// A small number for tables: 0 to 8 in the order of the cases, 9 for `other`.
  public var code: UInt8 {
    @_noLocks get {
      switch self {
      case .get: 0
      case .head: 1
      case .post: 2
      case .put: 3
      case .delete: 4
      case .options: 5
      case .patch: 6
      case .trace: 7
      case .connect: 8
      case .other: 9
      }
    }
  }
}

/// The four forms of a request target (RFC 9112, 3.2).
public enum TargetForm: Sendable {
  /// `/path?query`
  case origin
  /// `http://host/path?query`
  case absolute
  /// `host:port`, of CONNECT
  case authority
  /// `*`, of OPTIONS
  case asterisk
}

/// One header field: where its name and value are, relative to the first byte of the head. 16 bytes.
public struct HeaderField: Sendable {
  public var nameOffset: UInt32 = 0
  /// The value without the white space around it.
  public var valueOffset: UInt32 = 0
  public var valueLength: UInt32 = 0
  public var nameLength: UInt16 = 0
  public var known: KnownHeader = .other

  @_noLocks
  public init() {}
}

/// The head of a request as the parser found it: plain data of fixed size. Every offset counts from the first byte
/// that was given to the parser, so that the bytes may be moved.
///
/// About 1.7 KB: keep it behind a pointer and do not copy it.
public struct RequestHead: Sendable {
  /// How many header fields fit.
  public static var headerLimit: Int { @_noLocks get { 100 } }

  public var method: Method = .other
  public var form: TargetForm = .origin
  /// The minor version: 0 for HTTP/1.0, 1 for HTTP/1.1.
  public var versionMinor: UInt8 = 1
  /// The target has a "?"; what follows it may be empty.
  public var hasQuery = false
  /// The path needs no normalization: it has no "%", no "//" and no segment that starts with a dot.
  public var pathIsPlain = true
  /// The target has no path (`http://host`, or the authority and asterisk forms): `pathLength` is 0. In the absolute
  /// form that means "/" (RFC 9110, 4.2.3).
  public var pathIsImplied = false
  /// The body is in the chunked coding; `contentLength` is -1.
  public var isChunked = false
  /// The client allows another request on the connection (RFC 9112, 9.3).
  public var keepAlive = true
  /// The client waits for "100 Continue" before it sends the body (RFC 9110, 10.1.1).
  public var expectsContinue = false
  /// The client offers another protocol: "Connection: upgrade" with an Upgrade field, on HTTP/1.1 (RFC 9110, 7.8).
  public var upgrade = false

  /// The method starts here; before it there may be empty lines, which are skipped (RFC 9112, 2.2).
  public var methodOffset: UInt32 = 0
  public var methodLength: UInt32 = 0
  /// The whole target, as sent.
  public var targetOffset: UInt32 = 0
  public var targetLength: UInt32 = 0
  /// The path inside the target, still encoded.
  public var pathOffset: UInt32 = 0
  public var pathLength: UInt32 = 0
  /// The query without its "?".
  public var queryOffset: UInt32 = 0
  public var queryLength: UInt32 = 0
  /// The host and port that the request is for: those of the target in its absolute and authority forms, which
  /// overrule the Host field (RFC 9112, 3.2.2), else the value of the Host field. Length 0 when there are none.
  public var authorityOffset: UInt32 = 0
  public var authorityLength: UInt32 = 0

  /// The number of header fields, each repetition counted.
  public var headerCount: UInt32 = 0
  /// The index of the Host field, -1 when there is none.
  public var hostIndex: Int32 = -1
  /// The value of Content-Length, -1 when there is none.
  public var contentLength: Int64 = -1

  /// The first `headerCount` elements are the header fields in the order sent; the others hold nothing of use.
  public var headers: InlineArray<100, HeaderField>

  /// An empty head.
  @_noLocks
  public init() {
    headers = InlineArray(repeating: HeaderField())
  }

  /// Forgets everything but the storage of the header fields.
  @_noLocks
  mutating func reset() {
    method = .other
    form = .origin
    versionMinor = 1
    hasQuery = false
    pathIsPlain = true
    pathIsImplied = false
    isChunked = false
    keepAlive = true
    expectsContinue = false
    upgrade = false
    methodOffset = 0
    methodLength = 0
    targetOffset = 0
    targetLength = 0
    pathOffset = 0
    pathLength = 0
    queryOffset = 0
    queryLength = 0
    authorityOffset = 0
    authorityLength = 0
    headerCount = 0
    hostIndex = -1
    contentLength = -1
  }
}
