import CMewsShims
import MewsCore

/// A completion port with operations on streams, on whatever below it moves the bytes. What the tests of this folder do
/// with one has to come out the same with every other.
///
/// A backend over real sockets conforms by `SocketBackend`, in a few lines.
protocol OperationBackend: Sendable {
  static func create(concurrency: Int) throws -> Self

  /// The queue of packets.
  var port: CompletionPort { get }

  /// Two ends of a connection, with their keys; nil when the port is shut down.
  func connectedPair(_ firstKey: UInt, _ secondKey: UInt) -> (Handle, Handle)?
  /// Somebody who accepts connections, and the address to connect to; nil when the port is shut down.
  func listener(key: UInt) -> (handle: Handle, address: [UInt8])?
  /// An end to be connected; nil when the port is shut down.
  func unconnectedEnd(key: UInt) -> Handle?
  /// The end that a finished accept took; nil when the port is shut down.
  func acceptedEnd(_ operation: OperationPointer, key: UInt) -> Handle?

  func accept(_ handle: Handle, _ operation: OperationPointer) -> OperationResult
  func connect(_ handle: Handle, _ operation: OperationPointer, to address: [UInt8]) -> OperationResult
  func receive(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult
  func send(_ handle: Handle, _ operation: OperationPointer, _ buffer: OperationBuffer) -> OperationResult
  func disconnect(_ handle: Handle, _ operation: OperationPointer) -> OperationResult
  func timer(_ operation: OperationPointer, delay: UInt64, key: UInt) -> OperationResult
  func cancelTimer(_ operation: OperationPointer) -> OperationResult
  func cancel(_ handle: Handle, _ operation: OperationPointer?) -> OperationResult
  func close(_ handle: Handle) -> OperationResult
  func post(key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?) -> OperationResult

  /// The number that the system below knows a handle by; nil when it is closed.
  func descriptor(_ handle: Handle) -> Int32?

  func get(
    into packets: UnsafeMutablePointer<PortPacket>, capacity: Int, timeoutNanoseconds: Int64, count: inout Int
  ) -> WaitResult

  /// Ends everything; the packets that are left go to the sink.
  func shutdown(_ sink: (PortPacket) -> Void)
  /// Releases the port, after a shutdown.
  func close()
}

extension OperationBackend {
  /// The next packet; nil when none comes in time.
  func next(timeoutNanoseconds: Int64 = 0) -> PortPacket? {
    var packet = PortPacket()
    var count = 0
    let result = get(into: &packet, capacity: 1, timeoutNanoseconds: timeoutNanoseconds, count: &count)
    return result == .packets ? packet : nil
  }
}
