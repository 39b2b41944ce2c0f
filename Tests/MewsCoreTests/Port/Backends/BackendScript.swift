import CMewsShims
import MewsCore

/// A step of a script of operations. Ends, operations and listeners go by their numbers.
enum ScriptStep {
  case connectPair
  case listen
  case connect(listener: Int)
  case accept(listener: Int)
  case receive(end: Int, room: Int)
  case send(end: Int, bytes: [UInt8])
  case disconnect(end: Int)
  case timer(delay: UInt64)
  case cancelTimer(operation: Int)
  case cancel(end: Int, operation: Int)
  case cancelAll(end: Int)
  case cancelAccepts(listener: Int)
  case close(end: Int)
  case closeListener(Int)
  /// Closes an end and connects others, which get the descriptor.
  case replace(end: Int)
  case post(key: UInt)
  /// Starts an operation again that may be in flight.
  case receiveAgain(end: Int, operation: Int)
  case passTime(milliseconds: Int64)
}

/// What became of an operation, or of a post: which, how, and with what data.
struct ScriptPacket: Equatable, Comparable {
  /// Negative for a post.
  var operation: Int
  var key: UInt64
  var status: Int32
  var error: Int32
  var data: [UInt8]

  static func < (first: Self, second: Self) -> Bool { (first.operation, first.key) < (second.operation, second.key) }
}

/// Runs a script on a backend. What it answers and brings depends on the script alone.
struct BackendScript<Backend: OperationBackend> {
  private struct End {
    var handle: Handle
    var operations: [Int] = []
  }

  let backend: Backend
  private var ends: [End] = []
  private var listeners: [(handle: Handle, address: [UInt8])] = []
  private var operations: [TestOperation] = []
  private var numbers: [UnsafeMutableRawPointer: Int] = [:]
  /// Descriptors that were in use before.
  private var seen: Set<Int32> = []
  private(set) var reuses = 0

  var endCount: Int { ends.count }

  init(backend: Backend) { self.backend = backend }

  /// Does a step, other than to pass the time.
  ///
  /// - Returns: what the calls have answered. An operation that is done at once and one that will be are told apart by
  ///   the packets.
  mutating func perform(_ step: ScriptStep) -> [OperationResult] {
    switch step {
    case .connectPair: return connectPair()
    case .listen:
      guard let listener = backend.listener(key: 1000 + UInt(listeners.count)) else { return [.gone] }
      listeners.append(listener)
      note(listener.handle)
      return []
    case .connect(let number): return connect(number)
    case .accept(let number):
      guard let listener = listener(number) else { return [] }
      return started(backend.accept(listener.handle, operation()))
    case .receive(let number, let room):
      return onEnd(number) { $0.receive($1, $2.pointer, $2.buffer(room)) }
    case .send(let number, let bytes):
      return onEnd(number) { backend, handle, operation in
        operation.bytes.copyMemory(from: bytes, byteCount: bytes.count)
        return backend.send(handle, operation.pointer, operation.buffer(bytes.count))
      }
    case .disconnect(let number): return onEnd(number) { $0.disconnect($1, $2.pointer) }
    case .receiveAgain(let number, let index):
      guard let end = end(number), let again = operations.at(index) else { return [] }
      let result = backend.receive(end.handle, again.pointer, again.buffer(4))
      return started(result)
    case .timer(let delay): return started(backend.timer(operation(), delay: delay, key: 5))
    case .post(let key): return [backend.post(key: key, bytes: 7, operation: nil)]
    default: return cancelOrClose(step)
    }
  }

  private mutating func cancelOrClose(_ step: ScriptStep) -> [OperationResult] {
    switch step {
    case .cancelTimer(let index): return operations.at(index).map { [backend.cancelTimer($0.pointer)] } ?? []
    case .cancel(let number, let index):
      guard let end = end(number), let operation = end.operations.at(index) else { return [] }
      return [backend.cancel(end.handle, operations[operation].pointer)]
    case .cancelAll(let number): return end(number).map { [backend.cancel($0.handle, nil)] } ?? []
    case .cancelAccepts(let number): return listener(number).map { [backend.cancel($0.handle, nil)] } ?? []
    case .close(let number): return end(number).map { [backend.close($0.handle)] } ?? []
    case .closeListener(let number): return listener(number).map { [backend.close($0.handle)] } ?? []
    case .replace(let number):
      guard let end = end(number) else { return [] }
      return [backend.close(end.handle)] + connectPair()
    default: return []
    }
  }

  /// Takes the packets that are there.
  ///
  /// - Parameter count: how many there are at least; waits for these, a while.
  mutating func packets(atLeast count: Int) -> [ScriptPacket] {
    var packets: [ScriptPacket] = []
    func take() -> Bool {
      while let packet = backend.next() { packets.append(scriptPacket(packet)) }
      return packets.count >= count
    }
    _ = take() || eventually(take)
    packets.sort()
    for packet in packets where packet.operation >= 0 {
      let operation = operations[packet.operation].pointer
      if Operation.acceptedDescriptor(operation) >= 0 { add(backend.acceptedEnd(operation, key: UInt(ends.count))) }
    }
    return packets
  }

  /// What closes all that is open.
  var closingSteps: [ScriptStep] {
    ends.indices.map { .close(end: $0) } + listeners.indices.map { .closeListener($0) }
  }

  /// Ends the port, and returns the packets that are left.
  mutating func shutdown() -> [ScriptPacket] {
    var packets: [ScriptPacket] = []
    backend.port.leave()
    backend.shutdown { packets.append(scriptPacket($0)) }
    backend.close()
    return packets.sorted()
  }

  private func scriptPacket(_ packet: PortPacket) -> ScriptPacket {
    let number = packet.operation.flatMap { numbers[$0] }
    let data = number.map { Array(UnsafeRawBufferPointer(start: operations[$0].bytes, count: Int(packet.bytes))) }
    return ScriptPacket(
      operation: number ?? -1, key: packet.key, status: packet.status, error: packet.system_error,
      data: data ?? [UInt8(truncatingIfNeeded: packet.bytes)])
  }

  private mutating func connectPair() -> [OperationResult] {
    guard let (first, second) = backend.connectedPair(UInt(ends.count), UInt(ends.count + 1)) else { return [.gone] }
    add(first)
    add(second)
    return []
  }

  private mutating func connect(_ number: Int) -> [OperationResult] {
    guard let listener = listener(number), let handle = backend.unconnectedEnd(key: UInt(ends.count)) else { return [] }
    note(handle)
    let result = backend.connect(handle, operation(), to: listener.address)
    if result.rawValue < 0 { return [result, backend.close(handle)] }
    ends.append(End(handle: handle))
    return started(result)
  }

  private mutating func onEnd(
    _ number: Int, _ start: (Backend, Handle, TestOperation) -> OperationResult
  ) -> [OperationResult] {
    guard let end = end(number) else { return [] }
    _ = operation()
    let index = operations.count - 1
    ends[number % ends.count].operations.append(index)
    return started(start(backend, end.handle, operations[index]))
  }

  /// Another operation that was never used.
  private mutating func operation() -> OperationPointer {
    let operation = TestOperation(capacity: 8)
    numbers[UnsafeMutableRawPointer(operation.pointer)] = operations.count
    operations.append(operation)
    return operation.pointer
  }

  private func started(_ result: OperationResult) -> [OperationResult] { [result == .done ? .pending : result] }

  private mutating func add(_ handle: Handle?) {
    guard let handle else { return }
    ends.append(End(handle: handle))
    note(handle)
  }

  private mutating func note(_ handle: Handle) {
    guard let descriptor = backend.descriptor(handle) else { return }
    if !seen.insert(descriptor).inserted { reuses += 1 }
  }

  private func end(_ number: Int) -> End? { ends.isEmpty ? nil : ends[number % ends.count] }

  private func listener(_ number: Int) -> (handle: Handle, address: [UInt8])? {
    listeners.isEmpty ? nil : listeners[number % listeners.count]
  }
}

extension Array {
  /// The element of a number that is taken to count from the end; nil when there is none.
  fileprivate func at(_ index: Int) -> Element? { isEmpty ? nil : self[count - 1 - index % count] }
}

extension ScriptStep {
  /// A step at random. Most are about ends that came lately; closed ones have to go on answering that they are.
  static func random(_ random: inout RandomSource, endCount: Int) -> ScriptStep {
    let recent = min(max(endCount, 1), 10)
    let end = max(endCount, 1) - 1 - random.below(recent)
    switch random.below(100) {
    case 0..<4: return .connectPair
    case 4: return .listen
    case 5..<9: return .connect(listener: random.below(8))
    case 9..<13: return .accept(listener: random.below(8))
    case 13..<19: return .receive(end: end, room: 0)
    case 19..<42: return .receive(end: end, room: 1 + random.below(6))
    case 42..<66:
      return .send(end: end, bytes: (0..<1 + random.below(5)).map { _ in UInt8(random.below(256)) })
    case 66..<68: return .disconnect(end: end)
    case 68..<71: return .timer(delay: 1 + UInt64(random.below(300)))
    case 71: return .cancelTimer(operation: random.below(12))
    case 72..<76: return .cancel(end: end, operation: random.below(3))
    case 76..<80: return .cancelAll(end: end)
    case 80: return .cancelAccepts(listener: random.below(8))
    case 81..<85: return .close(end: end)
    case 85: return random.isOne(in: 3) ? .closeListener(random.below(8)) : .listen
    case 86..<91: return .replace(end: end)
    case 91..<94: return .post(key: UInt(random.below(1_000_000)))
    case 94..<96: return .receiveAgain(end: end, operation: random.below(6))
    default: return .passTime(milliseconds: Int64(random.below(200)))
    }
  }
}
