import CMewsShims
import MewsCore

/// An operation of a ledger, with eight bytes of memory.
struct LedgerOperation {
  let pointer: OperationPointer
  let bytes: UnsafeMutableRawPointer

  func buffer(_ count: Int) -> OperationBuffer { OperationBuffer(iov_base: bytes, iov_len: count) }
}

/// Keeps the books on operations and posts: what was started has exactly one packet, what was refused none, with the
/// key of its handle; and of the bytes of a stream, which are numbered, none comes twice or behind a later one of the
/// same receive.
final class OperationLedger {
  private enum Entry {
    case unused
    /// The start has not answered yet.
    case starting
    case started
    case completed
    case refused
  }

  private struct Record {
    var entry = Entry.unused
    var key: UInt = 0
    /// The stream that it receives from, if it does.
    var stream = -1
    var isTimer = false
  }

  static let listenerKey: UInt = 99
  private static let firstPost: UInt = 10_000
  private static let limit = 64

  /// The first thing that was wrong.
  private(set) var finding: String?
  private let operations: UnsafeMutablePointer<Operation>
  private let memory: UnsafeMutableRawPointer
  private var records = Array(repeating: Record(), count: OperationLedger.limit)
  private var count = 0
  private var posts: [Entry] = []
  /// By stream: the next number to be sent, and those that were received.
  private var sent: [UInt8] = []
  private var received: [Set<UInt8>] = []

  init() {
    operations = .allocate(capacity: Self.limit)
    operations.initialize(repeating: Operation(), count: Self.limit)
    memory = .allocate(byteCount: 8 * Self.limit, alignment: 8)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: 8 * Self.limit)
  }

  func release() {
    operations.deallocate()
    memory.deallocate()
  }

  func addStream() -> Int {
    sent.append(0)
    received.append([])
    return sent.count - 1
  }

  /// Any operation that was used.
  func any(_ random: inout RandomSource) -> OperationPointer? { count == 0 ? nil : operations + random.below(count) }

  /// Starts an operation that was not used before. Others may enter what becomes of it before the body returns.
  func start(
    key: UInt, stream: Int = -1, isTimer: Bool = false,
    _ body: (LedgerOperation) -> OperationResult
  ) {
    let index = count
    precondition(index < Self.limit)
    count += 1
    records[index] = Record(entry: .starting, key: key, stream: stream, isTimer: isTimer)
    let operation = LedgerOperation(pointer: operations + index, bytes: memory + 8 * index)
    let result = body(operation)
    didStart(index, result)
  }

  /// Starts sending the next bytes of a stream.
  func send(
    key: UInt, stream: Int, count: Int,
    _ body: (LedgerOperation) -> OperationResult
  ) {
    start(key: key) { operation in
      for offset in 0..<count {
        operation.bytes.storeBytes(of: sent[stream], toByteOffset: offset, as: UInt8.self)
        sent[stream] += 1
      }
      return body(operation)
    }
  }

  func post(_ body: (UInt) -> OperationResult) {
    let index = posts.count
    posts.append(.starting)
    let result = body(Self.firstPost + UInt(index))
    if result == .done {
      if posts[index] == .starting { posts[index] = .started }
    } else {
      posts[index] = refused(posts[index], "post \(index)")
    }
  }

  /// Enters a packet, and returns its operation unless it is a post's.
  func receive(_ packet: PortPacket) -> OperationPointer? {
    guard let pointer = packet.operation?.assumingMemoryBound(to: Operation.self) else {
      let index = Int(packet.key) - Int(Self.firstPost)
      guard posts.indices.contains(index) else {
        note("a packet of nobody, with the key \(packet.key)")
        return nil
      }
      posts[index] = completed(posts[index], "post \(index)")
      return nil
    }
    let index = pointer - operations
    guard records.indices.contains(index) else {
      note("a packet of an unknown operation")
      return nil
    }
    records[index].entry = completed(records[index].entry, "operation \(index)")
    if UInt64(records[index].key) != packet.key { note("operation \(index) has the key \(packet.key)") }
    if records[index].stream >= 0 && packet.bytes > 0 { receiveBytes(index, packet) }
    return pointer
  }

  /// Whether a timer runs.
  var hasTimer: Bool { records[..<count].contains { $0.isTimer && $0.entry == .started } }

  /// What never completed.
  var unfinished: String? {
    let operations = records.indices.filter { records[$0].entry == .started || records[$0].entry == .starting }
    let posts = self.posts.indices.filter { self.posts[$0] == .started }
    return operations.isEmpty && posts.isEmpty ? nil : "no packet of operations \(operations), posts \(posts)"
  }

  private func didStart(_ index: Int, _ result: OperationResult) {
    if result == .pending || result == .done {
      if records[index].entry == .starting { records[index].entry = .started }
    } else {
      records[index].entry = refused(records[index].entry, "operation \(index)")
    }
  }

  private func receiveBytes(_ index: Int, _ packet: PortPacket) {
    let record = records[index]
    if packet.status != 0 { return note("operation \(index) was cancelled with \(packet.bytes) bytes") }
    var previous = -1
    for offset in 0..<Int(packet.bytes) {
      let byte = (memory + 8 * index).load(fromByteOffset: offset, as: UInt8.self)
      if Int(byte) <= previous || !received[record.stream].insert(byte).inserted {
        note("byte \(byte) of stream \(record.stream) came twice, or late")
      }
      previous = Int(byte)
    }
  }

  private func completed(_ entry: Entry, _ what: String) -> Entry {
    if entry != .starting && entry != .started { note("\(what) has a packet, but is \(entry)") }
    return .completed
  }

  private func refused(_ entry: Entry, _ what: String) -> Entry {
    if entry != .starting { note("\(what) was refused, but is \(entry)") }
    return .refused
  }

  private func note(_ what: String) {
    if finding == nil { finding = what }
  }
}
