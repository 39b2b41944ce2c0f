import CMews
import CMewsKit
@_spi(Entry) import MewsKit

// A target of its own, because its linker settings are those of a plugin: whatever else uses MewsKit, such as its
// tests, must not be linked as one.

/// What the host calls first in a loaded plugin: hands out the hooks. It runs no code of the plugin.
@c(mews_plugin_entry)
public func pluginEntry(_ hooks: UnsafeMutablePointer<mews_plugin_hooks>) {
  hooks.pointee.start = { plugin, state in
    _ = mewskit_plugin_main(0, nil)
    return PluginLifecycle.start(plugin, state)
  }
  hooks.pointee.stop = PluginLifecycle.stop
}
