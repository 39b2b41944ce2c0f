import CMews
import Glibc
import MewsCore
import MewsServer

/// How a host is set up, above its server.
public struct HostOptions: Sendable {
  public var server = ServerOptions()
  /// What --set gave, in the order given.
  public var settings: [PluginSetting] = []
  /// The number of this worker process.
  public var processIndex: UInt32 = 0

  public init() {}
}

/// A server with its plugins and routes: what stands behind a `mews_server` pointer, and what the command runs.
///
/// One thread at a time sets it up; once it is started, only `stop`, `wait` and what handlers use is called.
public final class Host: @unchecked Sendable {
  public let server: Server
  public let log: ServerLog
  public let processIndex: UInt32
  public let timers: PluginTimers
  public internal(set) var plugins: [Plugin] = []
  /// The linking program, in the role of a plugin: for the routes it registers itself.
  public private(set) lazy var program = makeProgram()
  /// Plugins whose start failed: their code stays mapped and may still hold their handle.
  var refusedPlugins: [Plugin] = []
  var router = Router()
  private let settings: [PluginSetting]
  let runtime = SwiftRuntime()
  private let dispatch = RouteDispatch()
  private var hasReportedMissedDeadlines = false
  public private(set) var isStarted = false
  /// The details of the last error, for the C interface.
  public var lastError = "" { didSet { lastErrorText = CText(lastError) } }
  private var lastErrorText = CText("")

  public init(options: HostOptions, log: ServerLog) throws(SystemError) {
    self.log = log
    do throws(SystemError) {
      try ForkedChild.watch()
      server = try Server(options: options.server, log: log)
    } catch {
      dispatch.destroy()
      throw error
    }
    settings = options.settings
    processIndex = options.processIndex
    timers = PluginTimers(port: server.port)
  }

  private func makeProgram() -> Plugin {
    let plugin = Plugin(name: "program", version: "", file: nil, index: -1, host: self, settings: [:])
    plugin.phase = .starting
    return plugin
  }

  /// The settings of one plugin; of two for one key, the later counts.
  func settings(forPlugin name: String) -> [String: String] {
    var result: [String: String] = [:]
    for setting in settings { if let key = setting.key(forPlugin: name) { result[key] = setting.value } }
    return result
  }

  /// The last error as a C string, valid until the next one.
  public var lastErrorPointer: UnsafePointer<CChar>? { lastErrorText.pointer }

  /// How many threads may run handlers, if as many are needed.
  public var threadCount: Int { server.threadCount }

  /// The calling thread's number among them; nil on a thread that is not this host's.
  public var currentThreadIndex: Int? {
    guard let context = ThreadContext.current,
      context.pointee.server == UnsafeMutableRawPointer(Unmanaged.passUnretained(server).toOpaque())
    else { return nil }
    return Int(context.pointee.index)
  }

  /// Freezes the routes and starts the threads.
  public func start() throws(SystemError) {
    program.phase = .started
    guard dispatch.freeze(router) else { throw SystemError(call: "malloc", code: ENOMEM) }
    isStarted = true
    try server.start(dispatch.application)
    if let context = server.firstThread { timers.start(on: context) }
  }

  /// Asks the host to stop. Any thread, any time, a signal handler too.
  public func stop() { server.stop() }

  /// Waits until the server has stopped, and then stops the plugins, the last one first.
  ///
  /// - Returns: false when the drain timeout passed and requests were cut off.
  public func wait() -> Bool {
    let isClean = server.wait()
    timers.end()
    reportMissedDeadlines()
    guard server.isJoined else { return false }
    for plugin in plugins.reversed() where plugin.phase == .started {
      plugin.phase = .stopped
      plugin.stop?(plugin.handle, plugin.state.pointee)
    }
    return isClean
  }

  /// Says how many requests each route has left without an answer for too long, if any.
  private func reportMissedDeadlines() {
    guard !hasReportedMissedDeadlines else { return }
    hasReportedMissedDeadlines = true
    for plugin in plugins + [program] {
      for route in plugin.routes {
        guard let count = route.deadline?.pointee.missedCount, count > 0 else { continue }
        log.write(
          Int(MEWS_LEVEL_INFO), "\(route.method) \(route.pattern): requests answered with 504 in all: \(count)",
          source: plugin.name)
      }
    }
  }

  /// Frees the server, after `wait` or before the start. When a handler never returned, everything it could touch
  /// stays.
  ///
  /// - Returns: whether it was freed.
  public func destroy() -> Bool {
    guard server.isJoined || !isStarted else { return false }
    server.destroy()
    dispatch.destroy()
    return true
  }
}
