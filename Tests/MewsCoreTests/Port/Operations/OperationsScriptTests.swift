import Foundation
import MewsCore
import Testing

/// One random script of operations on a model, bytes in arrays and operations in queues, and on epoll over socket
/// pairs. After each step the packets of both are compared, data included.
@Suite("Operations: random scripts")
struct OperationsScriptTests {
  @Test("A model and epoll give the same packets for the same script", arguments: 1...60)
  func script(seed: UInt64) throws {
    try withOperationPort { port in
      var script = Script(port: port, seed: seed)
      for step in 0..<300 {
        script.step()
        let real = script.drain()
        let expected = script.model.take()
        try #require(real == expected, "seed \(seed), step \(step): \(script.last)")
      }
      script.finish()
    }
  }
}

/// What became of an operation: which, how, and with what data.
private struct ScriptOutcome: Equatable, Hashable, Comparable {
  var operation: Int
  var status: Int32
  var data: [UInt8]

  static func < (first: Self, second: Self) -> Bool { first.operation < second.operation }
}

/// One end of a connection in the model.
private struct End {
  struct Pending {
    var operation: Int
    var room: Int
  }
  var incoming: [UInt8] = []
  var pending: [Pending] = []
  var isOpen = true
  var isPeerGone = false
  /// The peer went without reading everything: the next receive that finds nothing says so, once.
  var isReset = false
}

private struct Model {
  var ends: [End] = []
  var completed: [ScriptOutcome] = []

  mutating func take() -> [ScriptOutcome] {
    defer { completed = [] }
    return completed.sorted()
  }

  /// Completes what can be completed at an end.
  mutating func run(_ index: Int) {
    while let next = ends[index].pending.first {
      if next.room == 0 {
        guard !ends[index].incoming.isEmpty || ends[index].isPeerGone else { return }
        completed.append(ScriptOutcome(operation: next.operation, status: 0, data: []))
      } else if !ends[index].incoming.isEmpty {
        let data = Array(ends[index].incoming.prefix(next.room))
        ends[index].incoming.removeFirst(data.count)
        completed.append(ScriptOutcome(operation: next.operation, status: 0, data: data))
      } else if ends[index].isReset {
        ends[index].isReset = false
        completed.append(ScriptOutcome(operation: next.operation, status: -11, data: []))
      } else if ends[index].isPeerGone {
        completed.append(ScriptOutcome(operation: next.operation, status: 0, data: []))
      } else {
        return
      }
      ends[index].pending.removeFirst()
    }
  }

  mutating func cancel(_ index: Int, _ operation: Int?) -> Bool {
    let gone = ends[index].pending.filter { operation == nil || $0.operation == operation }
    ends[index].pending.removeAll { operation == nil || $0.operation == operation }
    completed += gone.map { ScriptOutcome(operation: $0.operation, status: -14, data: []) }
    return !gone.isEmpty
  }

  mutating func close(_ index: Int) {
    _ = cancel(index, nil)
    ends[index].isOpen = false
    let peer = index ^ 1
    ends[peer].isPeerGone = true
    ends[peer].isReset = !ends[index].incoming.isEmpty
    run(peer)
  }
}

private struct Script {
  let port: OperationPort
  var random: UInt64
  var model = Model()
  var handles: [Handle] = []
  var operations: [TestOperation] = []
  var numbers: [UnsafeMutableRawPointer: Int] = [:]
  var last = ""

  init(port: OperationPort, seed: UInt64) {
    self.port = port
    random = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  }

  mutating func pick(_ count: Int) -> Int {
    random ^= random << 13
    random ^= random >> 7
    random ^= random << 17
    return Int(random >> 16) % count
  }

  /// Closed ends stay in the list: their handles have to go on answering that they are gone.
  mutating func step() {
    let choice = pick(100)
    if handles.count < 4 || choice < 4 { return connect() }
    let index = pick(min(handles.count, 12)) + max(0, handles.count - 12)
    switch choice {
    case ..<45: receive(index, room: choice < 10 ? 0 : 1 + pick(6))
    case ..<80: send(index, count: 1 + pick(5))
    case ..<86: cancelOne(index)
    case ..<92: cancelAll(index)
    default: close(index)
    }
  }

  mutating func connect() {
    last = "connect"
    let (first, second) = socketPair()
    for descriptor in [first, second] {
      handles.append(port.handle(descriptor, key: UInt(handles.count)))
      model.ends.append(End())
    }
  }

  mutating func receive(_ index: Int, room: Int) {
    last = "receive \(room) at \(index)"
    let operation = add()
    let result = port.receive(handles[index], operations[operation], room)
    guard model.ends[index].isOpen else { return expect(result == .gone) }
    model.ends[index].pending.append(.init(operation: operation, room: room))
    let before = model.completed.count
    model.run(index)
    let isDone = model.completed.count > before && model.completed.last?.operation == operation
    if isDone && model.completed.last?.status == -11 {
      // What fails in its start has no packet.
      model.completed.removeLast()
      expect(result == .system)
    } else {
      expect(result == (isDone ? .done : .pending))
    }
  }

  mutating func send(_ index: Int, count: Int) {
    last = "send \(count) at \(index)"
    let data = (0..<count).map { _ in UInt8(pick(256)) }
    let operation = add()
    operations[operation].bytes.copyMemory(from: data, byteCount: count)
    let result = port.send(handles[index], operations[operation], count)
    guard model.ends[index].isOpen else { return expect(result == .gone) }
    guard !model.ends[index].isPeerGone else { return expect(result == .system) }
    expect(result == .done)
    model.completed.append(ScriptOutcome(operation: operation, status: 0, data: data))
    model.ends[index ^ 1].incoming += data
    model.run(index ^ 1)
  }

  mutating func cancelOne(_ index: Int) {
    last = "cancel one at \(index)"
    let waiting = model.ends[index].pending
    let operation = waiting.isEmpty ? operations.count - 1 : waiting[pick(waiting.count)].operation
    guard operation >= 0 else { return }
    let result = port.cancel(handles[index], operations[operation].pointer)
    guard model.ends[index].isOpen else { return expect(result == .gone) }
    expect(result == (model.cancel(index, operation) ? .done : .notFound))
  }

  mutating func cancelAll(_ index: Int) {
    last = "cancel all at \(index)"
    let result = port.cancel(handles[index], nil)
    guard model.ends[index].isOpen else { return expect(result == .gone) }
    expect(result == (model.cancel(index, nil) ? .done : .notFound))
  }

  mutating func close(_ index: Int) {
    last = "close \(index)"
    let result = port.close(handles[index])
    guard model.ends[index].isOpen else { return expect(result == .gone) }
    expect(result == .done)
    model.close(index)
  }

  mutating func drain() -> [ScriptOutcome] {
    var outcomes: [ScriptOutcome] = []
    while let packet = port.next() {
      guard let operation = packet.operation.flatMap({ numbers[$0] }) else {
        Issue.record("a packet of no operation")
        continue
      }
      let bytes = UnsafeRawBufferPointer(start: operations[operation].bytes, count: Int(packet.bytes))
      outcomes.append(ScriptOutcome(operation: operation, status: packet.status, data: Array(bytes)))
    }
    return outcomes.sorted()
  }

  mutating func finish() {
    for index in handles.indices where model.ends[index].isOpen {
      close(index)
      #expect(drain() == model.take())
    }
  }

  private mutating func add() -> Int {
    let operation = TestOperation(capacity: 8)
    operations.append(operation)
    numbers[UnsafeMutableRawPointer(operation.pointer)] = operations.count - 1
    return operations.count - 1
  }

  private func expect(_ condition: Bool) {
    if !condition { Issue.record("another answer than the model's: \(last)") }
  }
}
