import CMewsShims
import Glibc

@testable import MewsCore

/// What one call completes: at once, or for those that wait.
struct MemoryChanges {
  /// Goes straight into the port's queue.
  var completed = shim_packet_chain()
  /// Goes there by way of the leader.
  var arrived = shim_packet_chain()

  mutating func arrive(_ operation: OperationPointer, _ error: Int32, _ key: UInt) {
    operation.pointee.system_error = error
    let status = error == 0 ? OperationStatus.done : OperationStatus.system
    arrived.append(Operation.settle(operation, status: status, key: key))
  }

  mutating func cancel(_ operation: OperationPointer, _ key: UInt) {
    completed.append(Operation.settle(operation, status: OperationStatus.canceled, key: key))
  }
}

/// An operation of an end, with what is left of its memory.
struct MemoryOperation {
  let operation: OperationPointer
  var buffer: OperationBuffer

  init(_ operation: OperationPointer, _ buffer: OperationBuffer) {
    self.operation = operation
    self.buffer = buffer
  }

  /// Moves past so many bytes.
  mutating func advance(_ count: Int) {
    operation.pointee.transferred += UInt64(count)
    buffer.iov_base = buffer.iov_base?.advanced(by: count)
    buffer.iov_len -= count
  }
}

/// One end of a stream, or who accepts connections.
final class MemoryEnd {
  var key: UInt = 0
  /// How many bytes that were sent from here may wait to be received.
  var capacity = Int.max
  /// Connections that nobody has accepted.
  var backlog: [MemoryEnd] = []
  /// Keeps the end that an accept took and returns its number.
  var accepts: ((MemoryEnd) -> Int32)?

  private var peer: MemoryEnd?
  private var incoming: [UInt8] = []
  private var reads: [MemoryOperation] = []
  private var writes: [MemoryOperation] = []
  private var isClosed = false
  /// Nothing more will be sent from here.
  private var isSendingOver = false
  /// The peer went without having read everything: the next receive that finds nothing says so, once.
  private var isReset = false

  static func pair() -> (MemoryEnd, MemoryEnd) {
    let (first, second) = (MemoryEnd(), MemoryEnd())
    first.peer = second
    second.peer = first
    return (first, second)
  }

  /// Becomes the end of a connection in the place of another.
  func adopt(_ end: MemoryEnd) {
    peer = end.peer
    peer?.peer = self
  }

  /// Starts what reads. Returns 0, EAGAIN when it has to wait, or an errno.
  func read(_ request: MemoryOperation, _ changes: inout MemoryChanges) -> Int32 {
    if reads.isEmpty, let error = attemptRead(request) {
      run(&changes)
      return error
    }
    reads.append(request)
    return EAGAIN
  }

  /// Starts what writes. Returns 0, EAGAIN when it has to wait, or an errno.
  func write(_ request: MemoryOperation, _ changes: inout MemoryChanges) -> Int32 {
    var request = request
    let error = writes.isEmpty ? attemptWrite(&request) : nil
    if error == nil { writes.append(request) }
    run(&changes)
    return error ?? EAGAIN
  }

  /// Goes on with what waits, here and at the peer.
  func run(_ changes: inout MemoryChanges) {
    while advance(&changes) || (peer?.advance(&changes) ?? false) {}
  }

  /// Cancels one operation or all. Returns whether there was any.
  func cancel(_ operation: OperationPointer?, _ changes: inout MemoryChanges) -> Bool {
    let canceled = (reads + writes).filter { operation == nil || $0.operation == operation }
    reads.removeAll { operation == nil || $0.operation == operation }
    writes.removeAll { operation == nil || $0.operation == operation }
    for request in canceled { changes.cancel(request.operation, key) }
    // A send may have stood in the way of another.
    run(&changes)
    return !canceled.isEmpty
  }

  /// - Parameter resetsPeer: whether the peer hears of it even if nothing was left to read.
  func close(_ changes: inout MemoryChanges, resetsPeer: Bool = false) {
    isClosed = true
    isSendingOver = true
    for request in reads + writes { changes.cancel(request.operation, key) }
    (reads, writes) = ([], [])
    if let peer, peer.isClosed { peer.peer = nil } else { peer?.isReset = resetsPeer || !incoming.isEmpty }
    run(&changes)
    for connection in backlog { connection.close(&changes, resetsPeer: true) }
    backlog = []
  }

  /// Whether the peer sends nothing more.
  private var isAtEnd: Bool { peer.map(\.isSendingOver) ?? false }

  /// Does the first thing that waits and can be done.
  private func advance(_ changes: inout MemoryChanges) -> Bool {
    if let next = reads.first, let error = attemptRead(next) {
      reads.removeFirst()
      changes.arrive(next.operation, error, key)
      return true
    }
    guard var next = writes.first else { return false }
    let left = next.buffer.iov_len
    let error = attemptWrite(&next)
    if let error {
      writes.removeFirst()
      changes.arrive(next.operation, error, key)
    } else {
      writes[0] = next
    }
    return error != nil || next.buffer.iov_len < left
  }

  /// Tries what reads. Returns 0, an errno, or nil when it has to wait.
  private func attemptRead(_ request: MemoryOperation) -> Int32? {
    let operation = request.operation
    if operation.pointee.kind == OperationKind.accept {
      guard !backlog.isEmpty, let accepts else { return nil }
      operation.pointee.descriptor = accepts(backlog.removeFirst())
      return 0
    }
    if operation.pointee.kind == OperationKind.awaitReadable { return incoming.isEmpty && !isAtEnd ? nil : 0 }
    if incoming.isEmpty && isReset {
      isReset = false
      return ECONNRESET
    }
    if incoming.isEmpty { return isAtEnd ? 0 : nil }
    let count = min(incoming.count, Int(request.buffer.iov_len))
    request.buffer.iov_base?.copyMemory(from: incoming, byteCount: count)
    incoming.removeFirst(count)
    operation.pointee.transferred = UInt64(count)
    return 0
  }

  /// Tries what writes. Returns 0, an errno, or nil when it has to wait.
  private func attemptWrite(_ request: inout MemoryOperation) -> Int32? {
    guard let peer else { return ENOTCONN }
    if request.operation.pointee.kind == OperationKind.disconnect {
      isSendingOver = true
      return 0
    }
    guard !isSendingOver, !peer.isClosed else { return EPIPE }
    let count = min(Int(request.buffer.iov_len), capacity - peer.incoming.count)
    peer.incoming += UnsafeRawBufferPointer(start: request.buffer.iov_base, count: count)
    request.advance(count)
    return request.buffer.iov_len == 0 ? 0 : nil
  }
}

/// The ends that have handles, those that were accepted and have none yet, and the addresses.
struct MemoryNetwork {
  private struct Place {
    var generation: UInt32 = 1
    var end: MemoryEnd?
  }

  /// How many bytes a stream holds.
  var capacity = Int.max
  private var places: [Place] = []
  private var accepted: [Int32: MemoryEnd] = [:]
  private var addresses: [[UInt8]: MemoryEnd] = [:]
  private var lastNumber: Int32 = 0

  /// The lowest place that is free, as a system would have it.
  mutating func associate(_ end: MemoryEnd, _ key: UInt) -> Handle {
    end.key = key
    end.capacity = capacity
    let index = places.firstIndex { $0.end == nil } ?? places.count
    if index == places.count { places.append(Place()) }
    places[index].end = end
    return Handle(index: index, generation: places[index].generation)
  }

  func end(_ handle: Handle) -> MemoryEnd? {
    guard places.indices.contains(handle.index), places[handle.index].generation == handle.generation else {
      return nil
    }
    return places[handle.index].end
  }

  func descriptor(_ handle: Handle) -> Int32 { firstBackendDescriptor + Int32(handle.index) }

  /// Takes a handle out of use.
  mutating func remove(_ handle: Handle) -> MemoryEnd? {
    guard let end = end(handle) else { return nil }
    places[handle.index].end = nil
    places[handle.index].generation += 1
    addresses = addresses.filter { $0.value !== end }
    return end
  }

  mutating func removeAll() -> [MemoryEnd] {
    defer { places = [] }
    return places.compactMap(\.end)
  }

  mutating func bind(_ end: MemoryEnd) -> [UInt8] {
    lastNumber += 1
    let address = withUnsafeBytes(of: lastNumber) { Array($0) }
    addresses[address] = end
    return address
  }

  func listener(_ address: [UInt8]) -> MemoryEnd? { addresses[address] }

  mutating func keepAccepted(_ end: MemoryEnd) -> Int32 {
    lastNumber += 1
    accepted[lastNumber] = end
    return lastNumber
  }

  mutating func takeAccepted(_ number: Int32) -> MemoryEnd {
    guard let end = accepted.removeValue(forKey: number) else { preconditionFailure("accepted twice") }
    return end
  }
}
