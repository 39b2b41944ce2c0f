import CMewsShims

/// One operation in flight: 256 bytes of the caller's memory, all zeros before the first use.
///
/// It belongs to the port from its start until its packet is received. Its packet is embedded, and so nothing is
/// allocated for it, and a completion cannot fail for want of memory.
public typealias Operation = shim_operation
public typealias OperationPointer = UnsafeMutablePointer<Operation>

/// Memory to read into or to write from.
public typealias OperationBuffer = iovec

/// What starting an operation, or another call of an operation port, came to. The numbers are those of mews/base.h.
public enum OperationResult: Int32, Sendable {
  /// Started: exactly one packet will come.
  case pending = 1
  /// Done already. A packet comes as well, unless the handle skips those of success.
  case done = 0
  case invalidArgument = -2
  case noMemory = -3
  /// The handle is closed, or the port shut down.
  case gone = -4
  /// The descriptor is associated with a port already.
  case conflict = -7
  case notFound = -8
  case limit = -9
  /// The descriptor cannot do it, or this is a child process of the port's.
  case unsupported = -10
  /// A system call failed; `errno` has its error.
  case system = -11
  /// The operation is in flight.
  case busy = -15
}

/// What a packet says of its operation. The numbers are those of mews/base.h.
public enum OperationStatus {
  public static var done: Int32 { @_noLocks get { 0 } }
  public static var system: Int32 { @_noLocks get { -11 } }
  public static var canceled: Int32 { @_noLocks get { -14 } }
}

/// What an operation does, as its memory keeps it.
enum OperationKind {
  static var accept: UInt8 { @_noLocks get { 1 } }
  static var connect: UInt8 { @_noLocks get { 2 } }
  static var receive: UInt8 { @_noLocks get { 3 } }
  /// A receive of no bytes: waits until there are some.
  static var awaitReadable: UInt8 { @_noLocks get { 4 } }
  static var receiveFrom: UInt8 { @_noLocks get { 5 } }
  static var send: UInt8 { @_noLocks get { 6 } }
  static var sendTo: UInt8 { @_noLocks get { 7 } }
  static var sendFile: UInt8 { @_noLocks get { 8 } }
  static var disconnect: UInt8 { @_noLocks get { 9 } }
  static var read: UInt8 { @_noLocks get { 10 } }
  static var write: UInt8 { @_noLocks get { 11 } }
  static var sync: UInt8 { @_noLocks get { 12 } }
  static var timer: UInt8 { @_noLocks get { 13 } }
}

enum OperationFlags {
  /// A connect that the kernel works on.
  static var isUnderWay: UInt8 { @_noLocks get { 1 } }
  /// An operation that somebody else has, and that is to end.
  static var isCanceled: UInt8 { @_noLocks get { 2 } }
  /// An operation that the ring has, or is about to.
  static var isHeld: UInt8 { @_noLocks get { 4 } }
}

extension shim_operation {
  /// What `state` holds while the operation is in flight. Memory that was never cleared does not look like it by
  /// chance.
  private static var inFlight: UInt64 { @_noLocks get { 0x6d65_7773_2069_6f21 } }

  /// Takes the operation for a start. Returns false when it is in flight.
  @_noLocks @inline(__always)
  static func claim(_ operation: OperationPointer, kind: UInt8) -> Bool {
    var state = shim_load_relaxed(&operation.pointee.state)
    guard state != inFlight, shim_compare_exchange(&operation.pointee.state, &state, inFlight) else { return false }
    operation.pointee.packet = Packet(operation: UnsafeMutableRawPointer(operation))
    operation.pointee.transferred = 0
    operation.pointee.system_error = 0
    operation.pointee.descriptor = -1
    operation.pointee.kind = kind
    operation.pointee.flags = 0
    operation.pointee.first_vector = 0
    operation.pointee.vector_count = 0
    operation.pointee.address_length = 0
    return true
  }

  /// Gives the operation back to the caller.
  @_noLocks @inline(__always)
  static func release(_ operation: OperationPointer) {
    shim_store_release(&operation.pointee.state, 0)
  }

  /// Says what holds the operation while it is in flight, beyond its handle's lists.
  @_noLocks
  static func setOwner(_ operation: OperationPointer, _ owner: UnsafeMutableRawPointer?) {
    shim_store_relaxed(&operation.pointee.owner, UInt64(UInt(bitPattern: owner)))
  }

  /// What holds the operation. May be asked of one that is in somebody else's hands.
  @_noLocks
  static func owner(_ operation: OperationPointer) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: UInt(shim_load_relaxed(&operation.pointee.owner)))
  }

  /// The descriptor that a finished accept took; -1 when there is none.
  public static func acceptedDescriptor(_ operation: OperationPointer) -> Int32 {
    operation.pointee.kind == OperationKind.accept ? operation.pointee.descriptor : -1
  }

  /// Where a finished receive-from received from, `address_length` bytes of a sockaddr; nil when there is none.
  public static func sourceAddress(_ operation: OperationPointer) -> UnsafeRawPointer? {
    guard operation.pointee.kind == OperationKind.receiveFrom, operation.pointee.address_length > 0 else { return nil }
    return UnsafeRawPointer(shim_operation_address(operation))
  }

  /// Writes the outcome into the packet.
  @_noLocks @inline(__always)
  static func settle(_ operation: OperationPointer, status: Int32, key: UInt) -> PacketPointer {
    operation.pointee.packet.key = key
    operation.pointee.packet.bytes = UInt(operation.pointee.transferred)
    operation.pointee.packet.status = status
    return packet(operation)
  }

  @_noLocks @inline(__always)
  static func packet(_ operation: OperationPointer) -> PacketPointer {
    // The packet is the first field.
    UnsafeMutableRawPointer(operation).assumingMemoryBound(to: Packet.self)
  }

  /// How many bytes a receive has room for.
  @_noLocks @inline(__always)
  static func room(_ operation: OperationPointer) -> Int {
    let vectors = shim_operation_vectors(operation)
    var room = 0
    for index in 0..<Int(operation.pointee.vector_count) { room &+= Int(vectors[index].iov_len) }
    return room
  }

  /// Moves past bytes that were transferred.
  @_noLocks
  static func advance(_ operation: OperationPointer, by count: Int) {
    operation.pointee.transferred &+= UInt64(truncatingIfNeeded: count)
    let vectors = shim_operation_vectors(operation)
    var left = count
    while operation.pointee.first_vector < operation.pointee.vector_count {
      let vector = vectors + Int(operation.pointee.first_vector)
      if left < vector.pointee.iov_len {
        vector.pointee.iov_base = vector.pointee.iov_base?.advanced(by: left)
        vector.pointee.iov_len &-= left
        return
      }
      left &-= Int(vector.pointee.iov_len)
      operation.pointee.first_vector &+= 1
    }
  }
}

/// Operations of one direction of a handle, in the order of their calls.
struct OperationQueue {
  private(set) var first: OperationPointer?
  private var last: OperationPointer?

  @_noLocks @inline(__always)
  mutating func append(_ operation: OperationPointer) {
    operation.pointee.next = nil
    operation.pointee.previous = last
    if let last { last.pointee.next = operation } else { first = operation }
    last = operation
  }

  @_noLocks @inline(__always)
  mutating func remove(_ operation: OperationPointer) {
    let next = operation.pointee.next
    let previous = operation.pointee.previous
    if let previous { previous.pointee.next = next } else { first = next }
    if let next { next.pointee.previous = previous } else { last = previous }
  }

  /// Whether the queue holds an operation. It is not touched: it may be gone.
  @_noLocks
  func contains(_ operation: OperationPointer) -> Bool {
    var candidate = first
    while let current = candidate {
      if current == operation { return true }
      candidate = current.pointee.next
    }
    return false
  }
}

extension shim_packet_chain {
  @_noLocks @inline(__always)
  mutating func append(_ packet: PacketPointer) {
    packet.pointee.next = nil
    if let last { last.pointee.next = packet } else { first = packet }
    last = packet
    count &+= 1
  }

  @_noLocks
  mutating func removeFirst() -> PacketPointer? {
    guard let packet = first else { return nil }
    first = packet.pointee.next
    if first == nil { last = nil }
    count &-= 1
    return packet
  }
}
