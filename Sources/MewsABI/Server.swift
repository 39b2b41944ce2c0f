import CMews
import MewsCore
import MewsHost
import MewsServer

@c @implementation public func mews_server_create(
  _ options: UnsafePointer<mews_server_options>?, _ server: UnsafeMutablePointer<OpaquePointer?>?
) -> mews_result {
  guard let server else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  server.pointee = nil
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let options = serverOptions(options), options.io_threads <= 1024, options.workers <= 1024,
    options.workers_max <= 4096, let listenSockets = listenSocketPolicy(options.listen_sockets)
  else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard options.io_backend <= UInt32(MEWS_IO_URING) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard let backend = IOBackend(rawValue: options.io_backend) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  let log = ServerLog(function: options.log, context: options.log_context, level: options.log_level)
  guard backend.isAvailable else {
    log.write(Int(MEWS_LEVEL_ERROR), "\(backend.name): \(backend.reason)")
    return mews_result(MEWS_E_UNSUPPORTED)
  }
  var hostOptions = HostOptions()
  hostOptions.server.ringFeatures = backend.ringFeatures
  hostOptions.server.ioThreads = Int(options.io_threads)
  hostOptions.server.workers = Int(options.workers)
  hostOptions.server.workersMaximum = Int(options.workers_max)
  hostOptions.server.listenSockets = listenSockets
  if options.drain_timeout_ms > 0 { hostOptions.server.drainTimeoutMilliseconds = options.drain_timeout_ms }
  hostOptions.server.handlerTimeoutMilliseconds = options.handler_timeout_ms
  guard HostCount.claim() else { return mews_result(MEWS_E_LIMIT) }
  do throws(SystemError) {
    let host = try Host(options: hostOptions, log: log)
    server.pointee = OpaquePointer(Unmanaged.passRetained(host).toOpaque())
    log.write(
      Int(backend.isMisunderstood ? MEWS_LEVEL_WARNING : MEWS_LEVEL_INFO), "I/O by \(backend.name) (\(backend.reason))")
    return mews_result(MEWS_OK)
  } catch {
    HostCount.release()
    return mews_result(MEWS_E_NO_MEMORY)
  }
}

@c @implementation public func mews_server_route(
  _ server: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?,
  _ handler: mews_handler?, _ state: UnsafeMutableRawPointer?
) -> mews_result {
  mews_server_route_with(server, method, pattern, handler, state, nil)
}

@c @implementation public func mews_server_route_with(
  _ server: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ pattern: UnsafePointer<CChar>?,
  _ handler: mews_handler?, _ state: UnsafeMutableRawPointer?, _ options: UnsafePointer<mews_route_options>?
) -> mews_result {
  guard let host = host(server), let method = string(method), let pattern = string(pattern), let handler,
    var options = routeOptions(options)
  else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  if options.use_state == 0 {
    options.use_state = 1
    options.state = state
  }
  return host.program.addRoute(method: method, pattern: pattern, handler: handler, options: options)
}

@c @implementation public func mews_server_plugin(_ server: OpaquePointer?) -> OpaquePointer? {
  host(server)?.program.handle
}

@c @implementation public func mews_server_listen(
  _ server: OpaquePointer?, _ url: UnsafePointer<CChar>?, _ port: UnsafeMutablePointer<UInt16>?
) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let host = host(server), let url = string(url) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !host.isStarted else { return mews_result(MEWS_E_WRONG_STATE) }
  do throws(ListenError) {
    let sets = try Endpoint.listen(url, socketCount: host.server.options.listenSocketCount)
    for set in sets { host.server.add(set) }
    port?.pointee = sets.first?.port ?? 0
    return mews_result(MEWS_OK)
  } catch {
    host.lastError = error.description
    return error.result
  }
}

@c @implementation public func mews_server_start(_ server: OpaquePointer?) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let host = host(server) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !host.isStarted, !host.server.listeningSets.isEmpty else {
    host.lastError = host.isStarted ? "the server was started before" : "there is nothing to listen on"
    return mews_result(MEWS_E_WRONG_STATE)
  }
  do throws(SystemError) {
    try host.start()
    return mews_result(MEWS_OK)
  } catch {
    host.lastError = error.description
    return mews_result(MEWS_E_SYSTEM)
  }
}

@c @implementation public func mews_server_stop(_ server: OpaquePointer?) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let host = host(server) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  host.stop()
  return mews_result(MEWS_OK)
}

@c @implementation public func mews_server_wait(_ server: OpaquePointer?) -> mews_result {
  guard !ForkedChild.isThisProcess else { return mews_result(MEWS_E_UNSUPPORTED) }
  guard let host = host(server) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard host.isStarted else { return mews_result(MEWS_E_WRONG_STATE) }
  guard host.currentThreadIndex == nil else { return mews_result(MEWS_E_WRONG_THREAD) }
  return host.wait() ? mews_result(MEWS_OK) : mews_result(MEWS_E_LIMIT)
}

@c @implementation public func mews_server_run(_ server: OpaquePointer?) -> mews_result {
  let result = mews_server_start(server)
  return result < 0 ? result : mews_server_wait(server)
}

@c @implementation public func mews_server_error(_ server: OpaquePointer?) -> UnsafePointer<CChar> {
  if ForkedChild.isThisProcess { return mews_result_text(mews_result(MEWS_E_UNSUPPORTED)) }
  return host(server)?.lastErrorPointer ?? mews_result_text(mews_result(MEWS_E_INVALID_ARGUMENT))
}

@c @implementation public func mews_server_destroy(_ server: OpaquePointer?) {
  guard let server, !ForkedChild.isThisProcess, let host = host(server), host.currentThreadIndex == nil else { return }
  if host.isStarted {
    host.stop()
    _ = host.wait()
  }
  // A handler that never returns still stands on the host: then it stays.
  guard host.destroy() else { return }
  Unmanaged<Host>.fromOpaque(UnsafeRawPointer(server)).release()
  HostCount.release()
}

private func listenSocketPolicy(_ value: mews_listen_sockets) -> ListenSocketPolicy? {
  switch value {
  case mews_listen_sockets(MEWS_LISTEN_AUTO): .automatic
  case mews_listen_sockets(MEWS_LISTEN_SHARED): .shared
  case mews_listen_sockets(MEWS_LISTEN_PER_THREAD): .perThread
  default: nil
  }
}

private func serverOptions(_ options: UnsafePointer<mews_server_options>?) -> mews_server_options? {
  let size = UInt32(MemoryLayout<mews_server_options>.size)
  var defaults = mews_server_options()
  defaults.struct_size = size
  return copy(options, size, defaults) { $0.pointee.struct_size }
}
