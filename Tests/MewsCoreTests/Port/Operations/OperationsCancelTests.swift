import Foundation
import MewsCore
import Testing

@Suite("Operations: cancellation, close and shutdown")
struct OperationsCancelTests {
  @Test("X1: cancelling names one operation or all, and says when there is none", arguments: PortBackend.tested)
  func cancelOneOrAll(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operations = (0..<3).map { _ in TestOperation() }
      for operation in operations { #expect(port.receive(handle, operation) == .pending) }
      #expect(port.cancel(handle, operations[1].pointer) == .done)
      #expect(port.await() == .canceled(operations[1]))
      #expect(port.cancel(handle, operations[1].pointer) == .notFound)
      #expect(port.cancel(handle, nil) == .done)
      #expect(port.await() == .canceled(operations[0]))
      #expect(port.await() == .canceled(operations[2]))
      #expect(port.cancel(handle, nil) == .notFound)
      #expect(port.next() == nil)
    }
  }

  @Test("X1: an operation that another thread started is found", arguments: PortBackend.tested)
  func cancelFromAnotherThread(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation()
      withThreads(1) { threads in
        #expect(threads[0].perform { port.receive(handle, operation) } == .pending)
      }
      #expect(port.cancel(handle, nil) == .done)
      #expect(port.await() == .canceled(operation))
    }
  }

  @Test("A6: an operation outlives the thread that started it", arguments: PortBackend.tested)
  func operationOutlivesThread(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation()
      let thread = Thread { _ = port.receive(handle, operation) }
      thread.start()
      while !thread.isFinished { usleep(200) }
      write("still there", to: theirs)
      #expect(port.await() == .done(operation, bytes: 11))
    }
  }

  @Test("X2: cancelling a send in the middle says how far it came", arguments: PortBackend.tested)
  func cancelPartialSend(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation(capacity: 4 << 20)
      #expect(port.send(handle, operation) == .pending)
      #expect(port.cancel(handle, operation.pointer) == .done)
      let packet = try #require(port.await())
      #expect(packet.status == -14)
      #expect(packet.bytes > 0 && packet.bytes < 4 << 20)
    }
  }

  @Test(
    "X3: closing a handle completes its operations, then sends the end; the handle is gone",
    arguments: PortBackend.tested)
  func closeWithPendingOperations(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operations = (0..<2).map { _ in TestOperation() }
      for operation in operations { #expect(port.receive(handle, operation) == .pending) }
      #expect(port.close(handle) == .done)
      #expect(read(from: theirs) == "")
      #expect(port.await() == .canceled(operations[0]))
      #expect(port.await() == .canceled(operations[1]))
      #expect(port.next() == nil)
      #expect(port.close(handle) == .gone)
      #expect(port.cancel(handle, nil) == .gone)
      #expect(port.receive(handle, operations[0]) == .gone)
      #expect(port.descriptor(handle) == nil)
    }
  }

  @Test(
    "X3: a descriptor of the same number is another handle's, and hears nothing of the old one",
    arguments: PortBackend.tested)
  func reusedDescriptor(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let operation = TestOperation()
      var previous = Handle(rawValue: 0)
      for round in 0..<1000 {
        let (ours, theirs) = socketPair()
        let handle = port.handle(ours, key: UInt(round))
        #expect(handle != previous)
        #expect(port.receive(handle, operation) == .pending)
        // Readiness that nobody fetches before the close.
        write("stale", to: theirs)
        #expect(port.close(handle) == .done)
        // The ring may have heard of the data first.
        let packet = try #require(port.await())
        #expect(
          packet == .canceled(operation, key: UInt64(round))
            || backend == .ring && packet == .done(operation, key: UInt64(round), bytes: 5))
        let (next, peer) = socketPair()
        let other = port.handle(next, key: 5000)
        #expect(port.receive(other, operation) == .pending)
        #expect(port.receive(handle, TestOperation()) == .gone)
        #expect(port.next() == nil)
        #expect(port.close(other) == .done)
        #expect(port.await() == .canceled(operation, key: 5000))
        close(theirs)
        close(peer)
        previous = handle
      }
    }
  }

  @Test(
    "A1: a descriptor is associated once, with one port of the process; many handles share a port",
    arguments: PortBackend.tested)
  func associatedOnce(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { first in
      try withOperationPort { second in
        let (ours, theirs) = socketPair()
        let handle = first.handle(ours)
        var other = Handle(rawValue: 9)
        #expect(first.associate(ours, key: 1, skipsSuccess: false, handle: &other) == .conflict)
        #expect(second.associate(ours, key: 1, skipsSuccess: false, handle: &other) == .conflict)
        #expect(other == Handle(rawValue: 0))
        #expect(second.associate(-1, key: 1, skipsSuccess: false, handle: &other) == .invalidArgument)
        let peer = first.handle(theirs, key: 8)
        #expect(peer != handle)
        #expect(first.descriptor(peer) == theirs)
        #expect(first.close(handle) == .done)
        let (again, end) = socketPair()
        #expect(second.associate(again, key: 1, skipsSuccess: false, handle: &other) == .done)
        close(end)
      }
    }
  }

  @Test(
    "P1: waiting threads are abandoned, the leader too; later waits and posts find the port closed",
    arguments: PortBackend.tested)
  func abandoned(backend: PortBackend) throws {
    try withOperationPort(concurrency: 2) { port in
      withThreads(2) { threads in
        let waits = threads.map { thread in
          let waiters = port.port.waiterCount
          let pending = thread.begin { port.outcome() }
          while port.port.waiterCount == waiters { usleep(100) }
          return pending
        }
        port.shutdown { _ in }
        #expect(waits.map(\.value) == [.abandoned, .abandoned])
        #expect(threads[0].perform { port.outcome() } == .closed)
        #expect(port.post(key: 0, bytes: 0, operation: nil) == .gone)
        var handle = Handle(rawValue: 0)
        let (ours, theirs) = socketPair()
        #expect(port.associate(ours, key: 0, skipsSuccess: false, handle: &handle) == .gone)
        close(ours)
        close(theirs)
        #expect(port.timer(TestOperation().pointer, delay: 1, key: 0) == .gone)
      }
    }
  }

  @Test(
    "P2: shutdown gives every packet that is left to the sink, once: posts, finished and cancelled operations",
    arguments: PortBackend.tested)
  func shutdownDrains(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      let handle = port.handle(ours)
      let finished = TestOperation()
      let pending = TestOperation()
      let timer = TestOperation()
      #expect(port.post(key: 1, bytes: 2, operation: nil) == .done)
      write("x", to: theirs)
      #expect(port.receive(handle, finished) == .done)
      #expect(port.receive(handle, pending) == .pending)
      #expect(port.timer(timer.pointer, delay: 1 << 20, key: 9) == .pending)
      var left: [Received] = []
      port.shutdown { left.append(Received(key: $0.key, bytes: $0.bytes, status: $0.status, operation: $0.operation)) }
      #expect(
        left == [
          Received(key: 1, bytes: 2, status: 0, operation: nil), .done(finished, bytes: 1), .canceled(pending),
          .canceled(timer, key: 9),
        ])
      port.shutdown { _ in Issue.record("the second shutdown has a packet") }
      #expect(read(from: theirs) == "")
      close(theirs)
    }
  }

  @Test(
    "P3: the descriptor is readable when there is something, and being so takes nothing", arguments: PortBackend.tested)
  func pollable(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let descriptor = port.pollableDescriptor()
      #expect(descriptor >= 0 && descriptor == port.pollableDescriptor())
      _ = port.next()
      #expect(!isReadable(descriptor))
      #expect(port.post(key: 1, bytes: 0, operation: nil) == .done)
      #expect(isReadable(descriptor) && isReadable(descriptor))
      #expect(port.next()?.key == 1)
      #expect(!isReadable(descriptor))
      // This thread is no longer busy.
      #expect(port.next() == nil)
      // A thread that waits takes the packet before the descriptor turns readable.
      withThreads(1) { threads in
        let wait = threads[0].begin { port.outcome() }
        while port.port.waiterCount == 0 { usleep(100) }
        #expect(port.post(key: 2, bytes: 0, operation: nil) == .done)
        #expect(wait.value == .packets)
        threads[0].perform { port.port.leave() }
      }
      let (ours, theirs) = socketPair()
      let handle = port.handle(ours)
      let operation = TestOperation()
      #expect(port.receive(handle, operation) == .pending)
      _ = port.next()
      #expect(!isReadable(descriptor))
      write("io", to: theirs)
      #expect(eventually { isReadable(descriptor) })
      #expect(port.await() == .done(operation, bytes: 2))
      let timer = TestOperation()
      #expect(port.timer(timer.pointer, delay: 2, key: 3) == .pending)
      #expect(eventually { isReadable(descriptor) })
      #expect(eventually { port.await() == .done(timer, key: 3, bytes: 0) })
      #expect(!isReadable(descriptor))
      port.shutdown { _ in }
      #expect(isReadable(descriptor))
      close(theirs)
    }
  }

  @Test(
    "P3: at the limit the descriptor is not readable for packets that nobody may take", arguments: PortBackend.tested)
  func pollableAtTheLimit(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let descriptor = port.pollableDescriptor()
      // The look takes what the set's own wake descriptor says once.
      #expect(port.next() == nil)
      port.port.leave()
      withThreads(1) { threads in
        #expect(port.post(key: 1, bytes: 0, operation: nil) == .done)
        #expect(threads[0].perform { port.next()?.key } == 1)
        #expect(port.post(key: 2, bytes: 0, operation: nil) == .done)
        #expect(!isReadable(descriptor))
        threads[0].perform { port.port.blockingBegin() }
        #expect(isReadable(descriptor))
        threads[0].perform { port.port.blockingEnd() }
        #expect(!isReadable(descriptor))
        threads[0].perform { port.port.leave() }
        #expect(isReadable(descriptor))
        #expect(port.next()?.key == 2)
        #expect(!isReadable(descriptor))
      }
    }
  }

  @Test("P2: a sink may ask for the port's close, which is done behind it")
  func closeInSink() throws {
    let port = try OperationPort.create(concurrency: 1)
    for key in 1...3 { #expect(port.post(key: UInt(key), bytes: 0, operation: nil) == .done) }
    var keys: [UInt64] = []
    port.shutdown { packet in
      keys.append(packet.key)
      port.close()
      port.close()
    }
    #expect(keys == [1, 2, 3])
  }

  @Test(
    "In the child of a fork, a port of its own takes descriptors that the parent's port has",
    arguments: PortBackend.tested)
  func forkedChildWithOwnPort(backend: PortBackend) async {
    await #expect(processExitsWith: .success) { [name = backend.rawValue as String] in
      try withOperationPort(backend: #require(PortBackend(rawValue: name))) { port in
        let (ours, theirs) = socketPair()
        defer { close(theirs) }
        _ = port.handle(ours)
        let answer = inForkedChild {
          guard let own = try? OperationPort.create(concurrency: 1) else { return 1 }
          var handle = Handle(rawValue: 0)
          return own.associate(ours, key: 1, skipsSuccess: false, handle: &handle) == .done ? 0 : 2
        }
        #expect(answer == 0)
      }
    }
  }

  @Test("In the child of a fork every call is refused, and the parent's port goes on", arguments: PortBackend.tested)
  func forkedChild(backend: PortBackend) async {
    await #expect(processExitsWith: .success) { [name = backend.rawValue as String] in
      try withOperationPort(backend: #require(PortBackend(rawValue: name))) { port in
        let (ours, theirs) = socketPair()
        defer { close(theirs) }
        let handle = port.handle(ours)
        let operation = TestOperation()
        #expect(port.receive(handle, operation) == .pending)
        let answers = inForkedChild {
          let other = Operation.claimable()
          var count = 0
          var packet = PortPacket()
          guard port.get(into: &packet, capacity: 1, timeoutNanoseconds: -1, count: &count) == .unsupported,
            port.post(key: 1, bytes: 0, operation: nil) == .unsupported, port.close(handle) == .unsupported,
            port.timer(other, delay: 0, key: 0) == .unsupported, port.descriptor(handle) == nil
          else { return 1 }
          port.close()
          return 0
        }
        #expect(answers == 0)
        write("parent", to: theirs)
        #expect(port.await() == .done(operation, bytes: 6))
      }
    }
  }
}

extension Operation {
  static func claimable() -> OperationPointer {
    let operation = OperationPointer.allocate(capacity: 1)
    operation.initialize(to: Operation())
    return operation
  }
}

extension OperationPort {
  func outcome() -> WaitResult {
    var packet = PortPacket()
    var count = 0
    return get(into: &packet, capacity: 1, timeoutNanoseconds: -1, count: &count)
  }
}
