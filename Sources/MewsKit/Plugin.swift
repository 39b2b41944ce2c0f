import CMews
import CMewsKit
import Synchronization

/// A plugin: the one type of a shared object that the host talks to.
///
/// Mark it `@main`. The host makes one value when it loads the plugin, asks for its routes and keeps it until it stops:
///
/// ```swift
/// @main
/// struct Hello: Plugin {
///   init(host: Host) {}
///
///   func addRoutes(to routes: Routes) {
///     routes.get("/hello/{name}") { request in
///       .text("Hello, \(request.parameters["name"] ?? "stranger")!\n")
///     }
///   }
/// }
/// ```
///
/// Its name and version are in the package's manifest, as `MEWS_PLUGIN_NAME` and `MEWS_PLUGIN_VERSION`. Handlers run on
/// several threads at once, which is why a plugin is `Sendable`.
public protocol Plugin: Sendable {
  /// Called once, before any request. An error thrown here refuses the plugin; the host shows the error's text.
  init(host: Host) throws

  /// Called once after `init`: registers what the plugin answers. An error thrown here refuses the plugin.
  func addRoutes(to routes: Routes) throws

  /// Called once when the host stops, after the last handler and timer has returned; not when the start failed. Does
  /// nothing unless implemented.
  func stop()
}

extension Plugin {
  public func stop() {}

  /// What `@main` calls; not for you. It is compiled into the plugin's module, because there the identity is known.
  @_alwaysEmitIntoClient
  public static func main() {
    PluginLifecycle.declare(Self.self, identity: mewskit_identity())
  }
}

/// What lies between the host's hooks and a plugin's type.
public enum PluginLifecycle {
  private static let declared = Mutex<(any Plugin.Type)?>(nil)

  /// Names the plugin's type; see ``Plugin/main()``. `identity` is not read: naming it keeps the note in the file.
  public static func declare(_ type: any Plugin.Type, identity: UnsafePointer<mews_plugin_note>?) {
    declared.withLock { $0 = type }
  }

  /// The host's start hook: makes the plugin, registers its routes and stores what ``stop`` gets back.
  @_spi(Entry)
  public static func start(
    _ plugin: OpaquePointer, _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  ) -> mews_result {
    let host = Host(plugin)
    guard let type = declared.withLock({ $0 }) else {
      return host.fail("the plugin has no type marked @main")
    }
    do {
      let running = RunningPlugin(plugin: try type.init(host: host), host: host)
      try running.addRoutes()
      state.pointee = Unmanaged.passRetained(running).toOpaque()
      return .ok
    } catch {
      host.cancelTimers()
      host.executor.stop()
      return host.fail("\(error)")
    }
  }

  /// The host's stop hook.
  @_spi(Entry)
  public static let stop: mews_plugin_stop = { _, state in
    guard let state else { return }
    Unmanaged<RunningPlugin>.fromOpaque(state).takeRetainedValue().stop()
  }
}

/// A started plugin with all that the host holds plain pointers to.
final class RunningPlugin {
  private let plugin: any Plugin
  private let host: Host
  private var routes: [AnyObject] = []

  init(plugin: any Plugin, host: Host) {
    self.plugin = plugin
    self.host = host
  }

  func addRoutes() throws {
    let registration = Registration(host: host)
    try plugin.addRoutes(to: Routes(registration))
    if let failure = registration.failure { throw failure }
    routes = registration.routes
  }

  func stop() {
    plugin.stop()
    host.executor.stop()
    host.forgetTimers()
  }
}
