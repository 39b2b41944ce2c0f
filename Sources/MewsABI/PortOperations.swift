import CMews
import CMewsShims
import MewsCore

@c @implementation public func mews_port_accept(
  _ port: OpaquePointer?, _ listener: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.accept(Handle(rawValue: listener), operation).rawValue
}

@c @implementation public func mews_port_connect(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ address: UnsafeRawPointer?, _ address_length: UInt32
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), let address else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.connect(Handle(rawValue: socket), operation, address: address, length: address_length).rawValue
}

@c @implementation public func mews_port_receive(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeMutableRawPointer?, _ length: Int
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), length >= 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  var piece = OperationBuffer(iov_base: buffer, iov_len: length)
  return port.receive(Handle(rawValue: socket), operation, &piece, count: 1).rawValue
}

@c @implementation public func mews_port_receive_buffers(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffers: UnsafePointer<mews_buffer>?, _ count: UInt32
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), let buffers else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.receive(Handle(rawValue: socket), operation, pieces(buffers), count: Int(count)).rawValue
}

@c @implementation public func mews_port_send(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeRawPointer?, _ length: Int
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), length >= 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  var piece = readOnly(buffer, length)
  return port.send(Handle(rawValue: socket), operation, &piece, count: 1).rawValue
}

@c @implementation public func mews_port_send_buffers(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffers: UnsafePointer<mews_buffer>?, _ count: UInt32
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), let buffers else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.send(Handle(rawValue: socket), operation, pieces(buffers), count: Int(count)).rawValue
}

@c @implementation public func mews_port_receive_from(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeMutableRawPointer?, _ length: Int
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), length >= 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  let piece = OperationBuffer(iov_base: buffer, iov_len: length)
  return port.receiveFrom(Handle(rawValue: socket), operation, piece).rawValue
}

@c @implementation public func mews_port_send_to(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeRawPointer?, _ length: Int, _ address: UnsafeRawPointer?,
  _ address_length: UInt32
) -> mews_result {
  guard let port = operationPort(port),
    let operation = pointer(operation), length >= 0, let address
  else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.sendTo(
    Handle(rawValue: socket), operation, readOnly(buffer, length), address: address, length: address_length
  ).rawValue
}

@c @implementation public func mews_port_send_file(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ file: Int32, _ offset: UInt64, _ length: UInt64
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.sendFile(Handle(rawValue: socket), operation, file: file, offset: offset, length: length).rawValue
}

@c @implementation public func mews_port_disconnect(
  _ port: OpaquePointer?, _ socket: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.disconnect(Handle(rawValue: socket), operation).rawValue
}

@c @implementation public func mews_port_read(
  _ port: OpaquePointer?, _ file: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeMutableRawPointer?, _ length: Int, _ offset: UInt64
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), length >= 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  let piece = OperationBuffer(iov_base: buffer, iov_len: length)
  return port.read(Handle(rawValue: file), operation, piece, offset: offset).rawValue
}

@c @implementation public func mews_port_write(
  _ port: OpaquePointer?, _ file: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?,
  _ buffer: UnsafeRawPointer?, _ length: Int, _ offset: UInt64
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation), length >= 0 else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.write(Handle(rawValue: file), operation, readOnly(buffer, length), offset: offset).rawValue
}

@c @implementation public func mews_port_sync(
  _ port: OpaquePointer?, _ file: mews_handle, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.sync(Handle(rawValue: file), operation).rawValue
}

@c @implementation public func mews_port_timer(
  _ port: OpaquePointer?, _ operation: UnsafeMutablePointer<mews_operation>?, _ delay_ms: UInt64,
  _ key: UInt64
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.timer(operation, delay: delay_ms, key: UInt(key)).rawValue
}

@c @implementation public func mews_port_timer_cancel(
  _ port: OpaquePointer?, _ operation: UnsafeMutablePointer<mews_operation>?
) -> mews_result {
  guard let port = operationPort(port), let operation = pointer(operation) else {
    return mews_result(MEWS_E_INVALID_ARGUMENT)
  }
  return port.cancelTimer(operation).rawValue
}

@c @implementation public func mews_operation_bytes(_ operation: UnsafePointer<mews_operation>?) -> UInt64 {
  finished(operation)?.pointee.transferred ?? 0
}

@c @implementation public func mews_operation_descriptor(_ operation: UnsafePointer<mews_operation>?) -> Int32 {
  finished(operation).map { Operation.acceptedDescriptor($0) } ?? -1
}

@c @implementation public func mews_operation_address(
  _ operation: UnsafePointer<mews_operation>?, _ length: UnsafeMutablePointer<UInt32>?
) -> UnsafeRawPointer? {
  let address = finished(operation).flatMap { Operation.sourceAddress($0) }
  length?.pointee = address == nil ? 0 : finished(operation)?.pointee.address_length ?? 0
  return length == nil ? nil : address
}

private func finished(_ operation: UnsafePointer<mews_operation>?) -> OperationPointer? {
  pointer(UnsafeMutablePointer(mutating: operation))
}

/// Buffers of the C interface, which have the layout of the system's.
@_noLocks @inline(__always)
private func pieces(_ buffers: UnsafePointer<mews_buffer>) -> UnsafePointer<OperationBuffer> {
  UnsafeRawPointer(buffers).assumingMemoryBound(to: OperationBuffer.self)
}

/// Memory that is only read from.
@_noLocks @inline(__always)
private func readOnly(_ buffer: UnsafeRawPointer?, _ length: Int) -> OperationBuffer {
  OperationBuffer(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: length)
}
