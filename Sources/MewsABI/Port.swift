import CMews
import CMewsShims
import MewsCore

@c @implementation public func mews_port_create(
  _ concurrency: UInt32, _ port: UnsafeMutablePointer<OpaquePointer?>?
) -> mews_result {
  var options = PortOptions.defaults
  options.concurrency = concurrency
  return mews_port_create_with(&options, port)
}

@c @implementation public func mews_port_create_with(
  _ options: UnsafePointer<mews_port_options>?, _ port: UnsafeMutablePointer<OpaquePointer?>?
) -> mews_result {
  guard let port else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  port.pointee = nil
  guard let options = PortOptions(options) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  do throws(SystemError) {
    let created = try OperationPort.create(
      concurrency: options.concurrency, backend: options.backend, withoutFeatures: options.withoutFeatures)
    port.pointee = OpaquePointer(created.pointer)
    return mews_result(MEWS_OK)
  } catch {
    if error.code == ENOMEM { return mews_result(MEWS_E_NO_MEMORY) }
    if error.code == ENOSYS && options.backend == .ring { return mews_result(MEWS_E_UNSUPPORTED) }
    shim_set_errno(error.code)
    return mews_result(MEWS_E_SYSTEM)
  }
}

@c @implementation public func mews_port_io_backend(_ port: OpaquePointer?) -> mews_io_backend {
  guard let port = operationPort(port) else { return mews_io_backend(MEWS_IO_AUTO) }
  return mews_io_backend(port.backend == .ring ? MEWS_IO_URING : MEWS_IO_EPOLL)
}

@c @implementation public func mews_port_get(
  _ port: OpaquePointer?, _ timeout_ms: Int64, _ packet: UnsafeMutablePointer<mews_packet>?
) -> mews_result {
  var count = 0
  return mews_port_get_many(port, timeout_ms, packet, 1, &count)
}

@c @implementation public func mews_port_get_many(
  _ port: OpaquePointer?, _ timeout_ms: Int64, _ packets: UnsafeMutablePointer<mews_packet>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) -> mews_result {
  guard let count else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  count.pointee = 0
  guard let port = operationPort(port), let packets else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  let (nanoseconds, overflows) = timeout_ms.multipliedReportingOverflow(by: 1_000_000)
  return port.get(
    into: UnsafeMutableRawPointer(packets).assumingMemoryBound(to: PortPacket.self), capacity: capacity,
    timeoutNanoseconds: timeout_ms < 0 || overflows ? -1 : nanoseconds, count: &count.pointee
  ).rawValue
}

@c @implementation public func mews_port_post(
  _ port: OpaquePointer?, _ key: UInt64, _ bytes: UInt64, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  return port.post(key: UInt(key), bytes: UInt(bytes), operation: operation).rawValue
}

@c @implementation public func mews_port_depth(_ port: OpaquePointer?) -> Int {
  guard let port = operationPort(port), !port.isInChild else { return 0 }
  return port.port.depth
}

@c @implementation public func mews_port_descriptor(_ port: OpaquePointer?) -> Int32 {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !port.isInChild else { return mews_result(MEWS_E_UNSUPPORTED) }
  let descriptor = port.pollableDescriptor()
  guard descriptor < 0 else { return descriptor }
  shim_set_errno(-descriptor)
  return mews_result(MEWS_E_SYSTEM)
}

@c @implementation public func mews_port_shutdown(
  _ port: OpaquePointer?, _ sink: mews_packet_sink?, _ context: UnsafeMutableRawPointer?
) -> mews_result {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !port.isInChild else { return mews_result(MEWS_E_UNSUPPORTED) }
  port.shutdown { packet in
    var copy = mews_packet(
      key: packet.key, bytes: packet.bytes, operation: packet.operation?.assumingMemoryBound(to: mews_operation.self),
      status: packet.status, system_error: packet.system_error)
    sink?(context, &copy)
  }
  return mews_result(MEWS_OK)
}

@c @implementation public func mews_port_close(_ port: OpaquePointer?) {
  operationPort(port)?.close()
}

@c @implementation public func mews_port_associate(
  _ port: OpaquePointer?, _ descriptor: Int32, _ key: UInt64, _ flags: mews_handle_flags,
  _ handle: UnsafeMutablePointer<mews_handle>?
) -> mews_result {
  guard let handle else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  handle.pointee = 0
  guard let port = operationPort(port), flags & ~mews_handle_flags(MEWS_HANDLE_SKIP_ON_SUCCESS) == 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  var associated = Handle(rawValue: 0)
  let result = port.associate(descriptor, key: UInt(key), skipsSuccess: flags != 0, handle: &associated)
  handle.pointee = associated.rawValue
  return result.rawValue
}

@c @implementation public func mews_handle_descriptor(_ port: OpaquePointer?, _ handle: mews_handle) -> Int32 {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  guard !port.isInChild else { return mews_result(MEWS_E_UNSUPPORTED) }
  return port.descriptor(Handle(rawValue: handle)) ?? mews_result(MEWS_E_GONE)
}

@c @implementation public func mews_handle_close(_ port: OpaquePointer?, _ handle: mews_handle) -> mews_result {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  return port.close(Handle(rawValue: handle)).rawValue
}

@c @implementation public func mews_handle_cancel(
  _ port: OpaquePointer?, _ handle: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port) else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
  return port.cancel(Handle(rawValue: handle), pointer(operation)).rawValue
}

/// The port behind the pointer of the C interface.
@_noLocks @inline(__always)
func operationPort(_ port: OpaquePointer?) -> OperationPort? {
  port.map { OperationPort(pointer: UnsafeMutableRawPointer($0)) }
}

/// An operation as the port knows it: the same memory.
@_noLocks @inline(__always)
func pointer(_ operation: UnsafeMutablePointer<mews_operation>?) -> OperationPointer? {
  UnsafeMutableRawPointer(operation)?.assumingMemoryBound(to: Operation.self)
}
