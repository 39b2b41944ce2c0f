import CMews
import MewsHost
import MewsServer

@c @implementation public func mews_route(
  _ self: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?, _ handler: mews_handler?
) -> mews_result {
  mews_route_with(self, method, pattern, handler, nil)
}

@c @implementation public func mews_route_inline(
  _ self: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?, _ handler: mews_handler?
) -> mews_result {
  route(self, method, pattern, handler, execution: UInt32(MEWS_EXECUTION_INLINE))
}

@c @implementation public func mews_route_blocking(
  _ self: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?, _ handler: mews_handler?
) -> mews_result {
  route(self, method, pattern, handler, execution: UInt32(MEWS_EXECUTION_BLOCKING))
}

private func route(
  _ self: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?, _ handler: mews_handler?,
  execution: mews_execution
) -> mews_result {
  var options = defaultRouteOptions
  options.execution = execution
  return mews_route_with(self, method, pattern, handler, &options)
}

@c @implementation public func mews_route_with(
  _ self: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?, _ handler: mews_handler?,
  _ options: UnsafePointer<mews_route_options>?
) -> mews_result {
  guard let plugin = plugin(self), let method = string(method), let pattern = string(pattern), let handler else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  guard let options = routeOptions(options) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  return plugin.addRoute(method: method, pattern: pattern, handler: handler, options: options)
}

@c @implementation public func mews_setting(_ self: OpaquePointer?, _ key: UnsafePointer<CChar>?) -> mews_text {
  guard let plugin = plugin(self), let key = string(key) else { return absentText }
  return plugin.setting(key)
}

@c @implementation public func mews_plugin_name(_ self: OpaquePointer?) -> mews_text {
  plugin(self)?.nameView ?? absentText
}

@c @implementation public func mews_plugin_version(_ self: OpaquePointer?) -> mews_text {
  plugin(self)?.versionView ?? absentText
}

@c @implementation public func mews_process_index(_ self: OpaquePointer?) -> UInt32 {
  plugin(self)?.host.processIndex ?? 0
}

@c @implementation public func mews_worker_count(_ self: OpaquePointer?) -> UInt32 {
  UInt32(plugin(self)?.host.threadCount ?? 0)
}

@c @implementation public func mews_worker_index(_ self: OpaquePointer?) -> UInt32 {
  plugin(self)?.host.currentThreadIndex.map { UInt32($0) } ?? .max
}

@c @implementation public func mews_worker_slot(
  _ self: OpaquePointer?
) -> UnsafeMutablePointer<UnsafeMutableRawPointer?>? {
  plugin(self)?.workerSlot()
}

@c @implementation public func mews_timer_start(
  _ self: OpaquePointer?, _ delay_ms: UInt64, _ callback: mews_timer_callback?, _ context: UnsafeMutableRawPointer?,
  _ timer: UnsafeMutablePointer<mews_timer>?
) -> mews_result {
  guard let plugin = plugin(self), let callback else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  var handle: UInt64 = 0
  let result = plugin.host.timers.start(
    plugin, delayMilliseconds: delay_ms, callback: callback, context: context, timer: &handle)
  timer?.pointee = handle
  return result
}

@c @implementation public func mews_timer_cancel(_ self: OpaquePointer?, _ timer: mews_timer) -> mews_result {
  guard let plugin = plugin(self) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  return plugin.host.timers.cancel(timer)
}

@c @implementation public func mews_work(
  _ self: OpaquePointer?, _ callback: mews_work_callback?, _ context: UnsafeMutableRawPointer?
) -> mews_result {
  guard let plugin = plugin(self), let callback else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  return plugin.work(callback, context)
}

var defaultRouteOptions: mews_route_options {
  mews_route_options(
    struct_size: UInt32(MemoryLayout<mews_route_options>.size), execution: 0, state: nil, use_state: 0,
    handler_timeout_ms: 0)
}

/// The caller's options as far as the caller's header knows them; nil when its size makes no sense.
func routeOptions(_ options: UnsafePointer<mews_route_options>?) -> mews_route_options? {
  copy(options, UInt32(MemoryLayout<mews_route_options>.size), defaultRouteOptions) { $0.pointee.struct_size }
}

/// Copies a struct that starts with its size: what the caller's version has of it over the defaults of ours.
func copy<Options>(
  _ options: UnsafePointer<Options>?, _ size: UInt32, _ defaults: Options, _ sizeOf: (UnsafePointer<Options>) -> UInt32
) -> Options? {
  guard let options else { return defaults }
  let theirs = sizeOf(options)
  guard theirs >= 8, theirs <= 4096 else { return nil }
  var result = defaults
  withUnsafeMutableBytes(of: &result) { place in
    place.copyMemory(from: UnsafeRawBufferPointer(start: options, count: Int(min(theirs, size))))
  }
  return result
}

// MARK: Behind the variadic functions, which are C

/// `mews_log`, formatted.
@c(mewsabi_log) public func logFormatted(_ self: OpaquePointer?, _ level: UInt32, _ text: UnsafePointer<CChar>?) {
  guard let plugin = plugin(self), let text else { return }
  plugin.log(level, String(cString: text))
}

/// Whether a line of that level is heard.
@c(mewsabi_log_is_enabled) public func logIsEnabled(_ self: OpaquePointer?, _ level: UInt32) -> Int32 {
  plugin(self)?.host.log.isEnabled(level) == true ? 1 : 0
}

/// `mews_fail`, formatted.
@c(mewsabi_fail) public func failFormatted(_ self: OpaquePointer?, _ text: UnsafePointer<CChar>?) -> mews_result {
  guard let plugin = plugin(self), let text else { return mews_result(MEWS_E_FAILED) }
  plugin.failure = String(cString: text)
  return mews_result(MEWS_E_FAILED)
}
