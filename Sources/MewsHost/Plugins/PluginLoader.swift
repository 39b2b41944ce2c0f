import CMews
import Glibc
import MewsServer

/// Why a file of the plugin directory is not served.
public struct PluginLoadError: Error, CustomStringConvertible {
  public let file: String
  public let cause: String

  public init(file: String, cause: String) {
    self.file = file
    self.cause = cause
  }

  public var description: String { "\(file): \(cause)" }
}

/// Takes files from identity to started plugin.
extension Host {
  /// Loads one file: reads who it is without running its code, then opens and starts it.
  ///
  /// - Throws: the file and the cause; the host is then as it was, but for the code that stays mapped.
  @discardableResult
  public func loadPlugin(_ path: String) throws(PluginLoadError) -> Plugin {
    let identity = try readIdentity(path)
    if let other = plugins.first(where: { $0.name == identity.name }) {
      throw PluginLoadError(
        file: path, cause: "the name '\(identity.name)' is taken by \(other.file ?? "the program itself")")
    }
    runtime.prepare(forLibraries: identity.neededLibraries)
    let image = try open(path)
    let plugin = Plugin(
      name: identity.name, version: identity.version, file: path, index: plugins.count, host: self,
      settings: settings(forPlugin: identity.name))
    // The plugin's code may keep its handle, so it stays even when its start fails.
    plugins.append(plugin)
    try start(plugin, image)
    return plugin
  }

  private func readIdentity(_ path: String) throws(PluginLoadError) -> PluginIdentity {
    do throws(IdentityError) {
      let identity = try PluginIdentity.read(path: path)
      try identity.check(against: .running, path: path)
      return identity
    } catch {
      throw PluginLoadError(file: path, cause: error.cause.clause)
    }
  }

  /// Maps the file, for good: code is never unmapped while anything could return into it.
  private func open(_ path: String) throws(PluginLoadError) -> UnsafeMutableRawPointer {
    guard let image = dlopen(path, RTLD_NOW | RTLD_LOCAL | Int32(RTLD_NODELETE)) else {
      throw PluginLoadError(file: path, cause: Self.loaderError(path))
    }
    return image
  }

  /// The dynamic linker's words, without the file's name that they start with.
  private static func loaderError(_ path: String) -> String {
    guard let text = dlerror() else { return "the dynamic linker refuses it" }
    let message = String(cString: text)
    return message.hasPrefix("\(path): ") ? String(message.dropFirst(path.utf8.count + 2)) : message
  }

  private func start(_ plugin: Plugin, _ image: UnsafeMutableRawPointer) throws(PluginLoadError) {
    let file = plugin.file ?? plugin.name
    guard let symbol = dlsym(image, "mews_plugin_entry") else {
      throw refuse(plugin, PluginLoadError(file: file, cause: "it exports no mews_plugin_entry"))
    }
    typealias Entry = @convention(c) (UnsafeMutablePointer<mews_plugin_hooks>) -> Void
    let entry = unsafeBitCast(symbol, to: Entry.self)
    var hooks = mews_plugin_hooks()
    hooks.struct_size = UInt32(MemoryLayout<mews_plugin_hooks>.size)
    entry(&hooks)
    guard let start = hooks.start else {
      throw refuse(plugin, PluginLoadError(file: file, cause: "its identity names no start function"))
    }
    plugin.stop = hooks.stop
    let routerBefore = router
    plugin.phase = .starting
    let result = start(plugin.handle, plugin.state)
    guard result >= 0, plugin.conflict == nil else {
      router = routerBefore
      let cause = plugin.failure ?? plugin.conflict ?? "\(ResultText.text(result)) (\(result))"
      throw refuse(plugin, PluginLoadError(file: file, cause: "its start failed: \(cause)"))
    }
    plugin.phase = .started
    plugin.adoptState()
  }

  private func refuse(_ plugin: Plugin, _ error: PluginLoadError) -> PluginLoadError {
    plugin.phase = .stopped
    plugin.discardRoutes()
    plugins.removeAll { $0 === plugin }
    refusedPlugins.append(plugin)
    return error
  }
}
