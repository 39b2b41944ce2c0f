import CMewsShims
import Foundation

@testable import MewsCore

/// A backend over sockets of the system. Local ones: what one end does, the other knows when the call returns.
protocol SocketBackend: OperationBackend {
  var operations: OperationPort { get }
}

/// The port over epoll.
struct EpollBackend: SocketBackend {
  let operations: OperationPort

  static func create(concurrency: Int) throws -> EpollBackend {
    EpollBackend(operations: try OperationPort.create(concurrency: concurrency, backend: .epoll))
  }
}

/// The port over io_uring.
struct RingBackend: SocketBackend {
  let operations: OperationPort

  static func create(concurrency: Int) throws -> RingBackend {
    RingBackend(operations: try OperationPort.create(concurrency: concurrency, backend: .ring))
  }
}

/// The port over a ring that is too small for what is asked of it, so that entries wait and completions overflow.
struct TinyRingBackend: SocketBackend {
  let operations: OperationPort

  static func create(concurrency: Int) throws -> TinyRingBackend {
    TinyRingBackend(
      operations: try OperationPort.create(concurrency: concurrency, backend: .ring, ring: .tiny))
  }
}

/// The port over a ring that says when sockets are ready, and leaves them to the port.
struct PollingRingBackend: SocketBackend {
  let operations: OperationPort

  static func create(concurrency: Int) throws -> PollingRingBackend {
    var options = RingThread.Options()
    options.doesSockets = false
    return PollingRingBackend(
      operations: try OperationPort.create(concurrency: concurrency, backend: .ring, ring: options))
  }
}

extension RingThread.Options {
  static let tiny: RingThread.Options = {
    var options = RingThread.Options()
    options.submissions = 2
    options.completions = 4
    options.files = 2
    return options
  }()
}

/// Descriptors of these tests have numbers from here on, the lowest that is free: other tests that run meanwhile use
/// those below, and so a number that is given back is the next to be used again.
let firstBackendDescriptor: Int32 = 700

extension SocketBackend {
  var port: CompletionPort { operations.port }

  func connectedPair(_ firstKey: UInt, _ secondKey: UInt) -> (Handle, Handle)? {
    let (first, second) = socketPair()
    guard let firstHandle = associate(first, firstKey) else {
      Glibc.close(second)
      return nil
    }
    return associate(second, secondKey).map { (firstHandle, $0) }
  }

  func listener(key: UInt) -> (handle: Handle, address: [UInt8])? {
    let descriptor = localSocket()
    // The system finds a name for a socket that is bound to none.
    var family = sa_family_t(AF_UNIX)
    let size = socklen_t(MemoryLayout<sa_family_t>.size)
    withUnsafeMutablePointer(to: &family) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { precondition(bind(descriptor, $0, size) == 0) }
    }
    precondition(listen(descriptor, 64) == 0)
    var length = socklen_t(MemoryLayout<sockaddr_un>.size)
    var address = [UInt8](repeating: 0, count: Int(length))
    address.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      precondition(getsockname(descriptor, base.assumingMemoryBound(to: sockaddr.self), &length) == 0)
    }
    return associate(descriptor, key).map { ($0, Array(address[..<Int(length)])) }
  }

  func unconnectedEnd(key: UInt) -> Handle? { associate(localSocket(), key) }

  func acceptedEnd(_ operation: OperationPointer, key: UInt) -> Handle? {
    associate(Operation.acceptedDescriptor(operation), key)
  }

  func accept(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    operations.accept(handle, operation)
  }

  func connect(_ handle: Handle, _ operation: OperationPointer, to address: [UInt8]) -> OperationResult {
    address.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return .invalidArgument }
      return operations.connect(handle, operation, address: base, length: UInt32(bytes.count))
    }
  }

  func receive(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult {
    var buffer = buffer
    return operations.receive(handle, operation, &buffer, count: 1)
  }

  func send(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult {
    var buffer = buffer
    return operations.send(handle, operation, &buffer, count: 1)
  }

  func disconnect(_ handle: Handle, _ operation: OperationPointer) -> OperationResult {
    operations.disconnect(handle, operation)
  }

  func timer(_ operation: OperationPointer, delay: UInt64, key: UInt) -> OperationResult {
    operations.timer(operation, delay: delay, key: key)
  }

  func cancelTimer(_ operation: OperationPointer) -> OperationResult { operations.cancelTimer(operation) }

  func cancel(_ handle: Handle, _ operation: OperationPointer?) -> OperationResult {
    operations.cancel(handle, operation)
  }

  func close(_ handle: Handle) -> OperationResult { operations.close(handle) }

  func post(key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?) -> OperationResult {
    operations.post(key: key, bytes: bytes, operation: operation)
  }

  func descriptor(_ handle: Handle) -> Int32? { operations.descriptor(handle) }

  func get(
    into packets: UnsafeMutablePointer<PortPacket>, capacity: Int, timeoutNanoseconds: Int64, count: inout Int
  ) -> WaitResult {
    operations.get(into: packets, capacity: capacity, timeoutNanoseconds: timeoutNanoseconds, count: &count)
  }

  func shutdown(_ sink: (PortPacket) -> Void) { operations.shutdown(sink) }

  func close() { operations.close() }

  private func localSocket() -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    precondition(descriptor >= 0)
    return descriptor
  }

  /// Hands a descriptor over, under a number of these tests.
  private func associate(_ descriptor: Int32, _ key: UInt) -> Handle? {
    let moved = fcntl(descriptor, F_DUPFD_CLOEXEC, firstBackendDescriptor)
    precondition(moved >= 0)
    Glibc.close(descriptor)
    var handle = Handle(rawValue: 0)
    let result = operations.associate(moved, key: key, skipsSuccess: false, handle: &handle)
    if result == .done { return handle }
    precondition(result == .gone, "associate: \(result)")
    Glibc.close(moved)
    return nil
  }
}
