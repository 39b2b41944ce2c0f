import MewsCore
import MewsServer

/// Which kernel interface drives the I/O threads.
public enum IOBackendChoice: String, CaseIterable, Sendable {
  /// io_uring where the kernel has what it takes, epoll otherwise.
  case automatic = "auto"
  case ioUring = "io_uring"
  case epoll
}

/// Where handlers run.
public enum ExecutionPolicy: String, CaseIterable, Sendable {
  /// As each route declares; where one declares nothing, as its runs are.
  case automatic = "auto"
  /// As each route declares; on workers where one declares nothing.
  case declared
  /// On workers, all of them.
  case worker
}

/// Which lines of the log are made. The raw values are those of mews_level.
public enum LogLevel: UInt32, CaseIterable, Sendable {
  case debug
  case info
  case warning
  case error

  /// As it is written in arguments.
  public var name: String { "\(self)" }
}

/// A plugin's setting, `PLUGIN.KEY=VALUE`.
public struct PluginSetting: Hashable, Sendable {
  /// `PLUGIN.KEY`. Where it is divided depends on the plugins there are, since names and keys may have dots.
  public let path: String
  /// The value; may be empty.
  public let value: String

  /// Reads `PLUGIN.KEY=VALUE`; nil when a part other than the value is missing.
  public init?(parsing text: String) {
    guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
    let path = text[..<equals]
    guard path.dropFirst().dropLast().utf8.contains(UInt8(ascii: ".")), path.utf8.first != UInt8(ascii: ".") else {
      return nil
    }
    self.path = String(path)
    value = String(text[equals...].dropFirst())
  }

  /// The key, if the setting is for the plugin of that name.
  public func key(forPlugin name: String) -> String? {
    let prefix = name + "."
    guard path.hasPrefix(prefix), path.utf8.count > prefix.utf8.count else { return nil }
    return String(path.dropFirst(prefix.count))
  }
}

/// What `mews run` was asked to do.
public struct RunOptions: Equatable, Sendable {
  /// Where the server listens when nothing else is asked for: `http://127.0.0.1:8080`.
  public static let defaultListen = ListenURL(host: .address(.loopbackIPv4(port: 8080)), port: 8080)

  /// The directory that holds the plugins.
  public var directory = ""
  /// Where to listen, in the order asked for.
  public var listen: [ListenURL] = []
  public var ioBackend = IOBackendChoice.automatic
  /// Features of io_uring that are treated as if the kernel lacked them.
  public var ioWithout: RingFeatures = []
  /// 1 to 1024; nil lets the host decide.
  public var ioThreads: Int?
  /// How many handlers run at once on workers: 1 to 1024; nil lets the host decide.
  public var workers: Int?
  /// How many worker threads there may be, those included whose handlers sleep: 1 to 4096; nil lets the host decide.
  public var workersMax: Int?
  /// How many sockets listen on an address.
  public var listenSockets = ListenSocketPolicy.automatic
  /// How long handlers may take whose routes say nothing of it, in milliseconds; 0 for as long as they like.
  public var handlerTimeout = 0
  /// In the order given: of two for one key, the later counts.
  public var settings: [PluginSetting] = []
  /// Whether a plugin that cannot be loaded keeps the host from starting.
  public var isStrict = false
  /// Whether a supervisor process holds the listening sockets.
  public var hasSupervisor = true
  public var execution = ExecutionPolicy.automatic
  public var logLevel = LogLevel.info

  public init() {}
}

extension RunOptions {
  /// What of it is the server's concern.
  func serverOptions(_ backend: IOBackend) -> ServerOptions {
    var result = ServerOptions()
    result.ringFeatures = backend.ringFeatures
    result.ioThreads = ioThreads ?? 0
    result.workers = workers ?? 0
    result.workersMaximum = workersMax ?? 0
    result.listenSockets = listenSockets
    result.forcesWorkers = execution == .worker
    result.learnsExecution = execution == .automatic
    result.handlerTimeoutMilliseconds = UInt32(clamping: handlerTimeout)
    return result
  }
}

/// The listening sockets of one address, as a worker process gets them from its supervisor.
public struct InheritedListener: Hashable, Sendable {
  /// The descriptors, open in the worker; at least one.
  public let descriptors: [Int32]
  /// What they were bound to.
  public let url: ListenURL

  public init(descriptors: [Int32], url: ListenURL) {
    self.descriptors = descriptors
    self.url = url
  }
}

/// What the supervisor tells a worker process beyond the user's options.
public struct WorkerOptions: Equatable, Sendable {
  /// Where to take connections from.
  public var listeners: [InheritedListener] = []
  /// The socket to the supervisor.
  public var controlDescriptor: Int32?
  /// The number of the process, from 0.
  public var processIndex = 0

  public init() {}
}
