import CMews

/// Which thread runs the calls of a route.
public enum Execution: Sendable {
  /// The host decides; today: a worker.
  case hostChoice
  /// The I/O thread, without a hand-over: for a handler that is short and never waits.
  case ioThread
  /// A worker thread: the handler may wait.
  case worker
  /// A worker thread that does not count among those that run at once: the handler waits, and uses little CPU time.
  case blocking

  var code: mews_execution {
    switch self {
    case .hostChoice: mews_execution(MEWS_EXECUTION_DEFAULT)
    case .ioThread: mews_execution(MEWS_EXECUTION_INLINE)
    case .worker: mews_execution(MEWS_EXECUTION_WORKER)
    case .blocking: mews_execution(MEWS_EXECUTION_BLOCKING)
    }
  }
}

/// How long the handlers of a route may take, from when the request is whole until its response is given. When the time
/// is over the client gets 504 Gateway Timeout; a handler that was not called yet is not called any more, and the
/// response of one that goes on is dropped.
public enum HandlerTimeout: Sendable {
  /// What the host is set up for with --handler-timeout: without that, no limit.
  case hostChoice
  /// No limit, whatever the host is set up for.
  case none
  /// So long, in steps of a millisecond; at least one, and less than 2^32 of them.
  case after(Duration)

  var milliseconds: UInt32 {
    switch self {
    case .hostChoice: 0
    case .none: MEWS_HANDLER_TIMEOUT_NONE
    case .after(let duration): UInt32(clamping: min(max(1, duration.wholeMilliseconds), UInt64(UInt32.max - 1)))
    }
  }
}

/// Where a plugin registers its routes. It exists during ``Plugin/addRoutes(to:)`` and cannot be kept.
///
/// A pattern starts with "/". A segment is literal, or `{name}` for one non-empty segment, or, as the last, `{name...}`
/// for the rest of the path, which may be empty. A literal wins over a parameter, a parameter over a rest. GET also
/// answers HEAD.
///
/// A route that cannot be registered, because its pattern is malformed or another plugin has it, refuses the plugin:
/// nothing needs to be checked here.
public struct Routes: ~Escapable {
  /// Answers one request. Calls for different requests run at the same time on several threads.
  public typealias Handler = @Sendable (Request) throws -> Response

  /// Answers one request and may suspend; it gets a copy of the request, because it may continue on another thread.
  public typealias AsyncHandler = @Sendable (OwnedRequest) async throws -> Response

  private let registration: Registration

  @_lifetime(immortal)
  init(_ registration: Registration) {
    self.registration = registration
  }

  /// Registers a handler for a method and a pattern.
  ///
  /// - Parameter method: a token such as "PROPFIND", case counts, or "*" for every method.
  public func on(
    _ method: String, _ pattern: String, on execution: Execution = .hostChoice,
    timeout: HandlerTimeout = .hostChoice, _ handler: @escaping Handler
  ) {
    registration.add(
      SyncRoute(name: "\(method) \(pattern)", host: registration.host, handler: handler),
      SyncRoute.callback, method, pattern, execution, timeout)
  }

  /// Registers an asynchronous handler. Its task runs on the host's workers; while it is suspended it occupies no
  /// thread.
  public func on(
    _ method: String, _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    let name = "\(method) \(pattern)"
    let parameters = PatternParameters.names(in: pattern)
    registration.add(
      AsyncRoute(name: name, host: registration.host, parameters: parameters, handler: handler),
      AsyncRoute.callback, method, pattern, .worker, timeout)
  }

  /// Registers a handler for GET and HEAD.
  public func get(
    _ pattern: String, on execution: Execution = .hostChoice, timeout: HandlerTimeout = .hostChoice,
    _ handler: @escaping Handler
  ) {
    on("GET", pattern, on: execution, timeout: timeout, handler)
  }

  /// Registers a handler for POST.
  public func post(
    _ pattern: String, on execution: Execution = .hostChoice, timeout: HandlerTimeout = .hostChoice,
    _ handler: @escaping Handler
  ) {
    on("POST", pattern, on: execution, timeout: timeout, handler)
  }

  /// Registers a handler for PUT.
  public func put(
    _ pattern: String, on execution: Execution = .hostChoice, timeout: HandlerTimeout = .hostChoice,
    _ handler: @escaping Handler
  ) {
    on("PUT", pattern, on: execution, timeout: timeout, handler)
  }

  /// Registers a handler for PATCH.
  public func patch(
    _ pattern: String, on execution: Execution = .hostChoice, timeout: HandlerTimeout = .hostChoice,
    _ handler: @escaping Handler
  ) {
    on("PATCH", pattern, on: execution, timeout: timeout, handler)
  }

  /// Registers a handler for DELETE.
  public func delete(
    _ pattern: String, on execution: Execution = .hostChoice, timeout: HandlerTimeout = .hostChoice,
    _ handler: @escaping Handler
  ) {
    on("DELETE", pattern, on: execution, timeout: timeout, handler)
  }

  /// Registers an asynchronous handler for GET and HEAD.
  public func get(
    _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    on("GET", pattern, timeout: timeout, handler)
  }

  /// Registers an asynchronous handler for POST.
  public func post(
    _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    on("POST", pattern, timeout: timeout, handler)
  }

  /// Registers an asynchronous handler for PUT.
  public func put(
    _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    on("PUT", pattern, timeout: timeout, handler)
  }

  /// Registers an asynchronous handler for PATCH.
  public func patch(
    _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    on("PATCH", pattern, timeout: timeout, handler)
  }

  /// Registers an asynchronous handler for DELETE.
  public func delete(
    _ pattern: String, timeout: HandlerTimeout = .hostChoice, _ handler: @escaping AsyncHandler
  ) {
    on("DELETE", pattern, timeout: timeout, handler)
  }
}

/// What a plugin's routes come to: the objects that the host holds plain pointers to, or the first failure.
final class Registration {
  let host: Host
  private(set) var routes: [AnyObject] = []
  private(set) var failure: MewsError?

  init(host: Host) {
    self.host = host
  }

  /// Registers a route whose handler gets a plain pointer to `route`. Does nothing after a failure.
  func add(
    _ route: AnyObject, _ callback: @escaping mews_handler, _ method: String, _ pattern: String,
    _ execution: Execution, _ timeout: HandlerTimeout
  ) {
    guard failure == nil else { return }
    var options = mews_route_options(
      struct_size: UInt32(MemoryLayout<mews_route_options>.size), execution: execution.code,
      state: Unmanaged.passUnretained(route).toOpaque(), use_state: 1,
      handler_timeout_ms: timeout.milliseconds)
    let result = mews_route_with(host.plugin, method, pattern, callback, &options)
    if result == .ok {
      routes.append(route)
    } else {
      failure = MewsError(result, "route \(method) \(pattern)")
    }
  }
}

/// Reads the names of the parameters out of a pattern.
enum PatternParameters {
  /// The names in braces, in order, without the "..." of a rest.
  static func names(in pattern: String) -> [String] {
    pattern.split(separator: "/").compactMap { segment in
      guard segment.hasPrefix("{"), segment.hasSuffix("}") else { return nil }
      let name = segment.dropFirst().dropLast()
      return String(name.hasSuffix("...") ? name.dropLast(3) : name)
    }
  }
}
