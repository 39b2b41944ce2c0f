import CMews
import Glibc
import MewsCore
import MewsServer
import Synchronization

/// A plugin, or the linking program in its place: what stands behind a `mews_plugin` pointer.
///
/// It lives as long as its host, and its texts are C strings of that life.
public final class Plugin: @unchecked Sendable {
  /// What the plugin may do now.
  public enum Phase: UInt8, AtomicRepresentable, Sendable {
    /// Loaded, `start` not called.
    case loaded
    /// Inside `start`: routes can be registered.
    case starting
    /// Serves.
    case started
    /// `start` failed or `stop` was called.
    case stopped
  }

  public let name: String
  public let version: String
  /// The file it was loaded from; nil for the linking program.
  public let file: String?
  public let index: Int
  public unowned let host: Host
  private let currentPhase = Atomic(Phase.loaded)
  /// What `mews_fail` said.
  public var failure: String?
  /// The route it claims although another plugin has it.
  var conflict: String?
  /// What handlers get as their state. `start` writes it.
  let state: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  var stop: mews_plugin_stop?
  /// The routes it has registered, in order.
  public internal(set) var routes: [RegisteredRoute] = []
  let nameText: CText
  private let versionText: CText
  private let settings: [String: CText]
  private let slots: WorkerSlots

  init(name: String, version: String, file: String?, index: Int, host: Host, settings: [String: String]) {
    self.name = name
    self.version = version
    self.file = file
    self.index = index
    self.host = host
    nameText = CText(name)
    versionText = CText(version)
    self.settings = settings.mapValues { CText($0) }
    slots = WorkerSlots(count: host.threadCount)
    state = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 1)
    state.initialize(to: nil)
  }

  deinit {
    discardRoutes()
    state.deallocate()
  }

  /// The pointer that the C interface hands out. Valid as long as the host.
  public var handle: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  /// The plugin behind a pointer of the C interface.
  public static func from(_ handle: OpaquePointer) -> Plugin {
    Unmanaged<Plugin>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
  }

  /// Written by the thread that loads and stops plugins. Any thread may read it, as who asks for the routes does.
  public internal(set) var phase: Phase {
    get { currentPhase.load(ordering: .acquiring) }
    set { currentPhase.store(newValue, ordering: .releasing) }
  }

  var owner: RouteOwner { RouteOwner(name: name, file: file.map(Self.lastComponent)) }

  private static func lastComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? path
  }

  // MARK: What the C interface asks for

  public var nameView: mews_text { nameText.view }
  public var versionView: mews_text { versionText.view }

  /// A setting's value, absent when it was not given.
  public func setting(_ key: String) -> mews_text { settings[key]?.view ?? mews_text(data: nil, length: 0) }

  /// The calling thread's place for a pointer; nil on a thread that is not the host's.
  public func workerSlot() -> UnsafeMutablePointer<UnsafeMutableRawPointer?>? {
    host.currentThreadIndex.flatMap { slots.slot($0) }
  }

  public func log(_ level: UInt32, _ text: String) {
    host.log.write(Int(min(level, UInt32(MEWS_LEVEL_ERROR))), text, source: name)
  }
}

/// A route as its plugin registered it.
public struct RegisteredRoute {
  public let method: String
  public let pattern: String
  let route: UnsafeMutablePointer<Route>
  let usesPluginState: Bool

  /// How its calls are run, as it is shown: as it was declared, or "auto".
  var executionName: String { ExecutionClass(declared: route.pointee.execution)?.name ?? "auto" }

  /// What is known of its runs. Any thread, while the plugin is there.
  var report: RouteReport? { route.pointee.record.map { RouteRecord.report($0) } }

  /// How long its handlers may take, and how many took longer; nil when there is no limit.
  var deadline: RouteDeadlinePointer? { route.pointee.deadline }
}
