import CMewsShims
import Foundation
import MewsCore
import Testing

@Suite("Operations: sockets and pipes")
struct OperationsSocketTests {
  @Test("A2: pending: one packet comes, with the handle's key and the bytes", arguments: PortBackend.tested)
  func pendingReceive(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation()
      #expect(port.receive(handle, operation) == .pending)
      #expect(port.next() == nil)
      write("hello", to: theirs)
      #expect(port.await() == .done(operation, bytes: 5))
      #expect(operation.text(5) == "hello")
      #expect(port.next() == nil)
    }
  }

  @Test("A2: done at once: a packet comes as well", arguments: PortBackend.tested)
  func immediateReceive(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation()
      write("now", to: theirs)
      #expect(port.receive(handle, operation) == .done)
      #expect(port.port.depth == 1)
      #expect(port.next() == .done(operation, bytes: 3))
      #expect(port.next() == nil)
    }
  }

  @Test("A2: skip on success: none comes then, but after pending one does", arguments: PortBackend.tested)
  func skipOnSuccess(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours, skips: true)
      let operation = TestOperation()
      write("now", to: theirs)
      #expect(port.receive(handle, operation) == .done)
      #expect(operation.pointer.pointee.transferred == 3)
      #expect(port.next() == nil)
      #expect(port.receive(handle, operation) == .pending)
      write("later", to: theirs)
      #expect(port.await() == .done(operation, bytes: 5))
    }
  }

  @Test("A2: what fails in its start queues no packet, and the operation is free", arguments: PortBackend.tested)
  func synchronousFailure(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      let handle = port.handle(ours)
      close(theirs)
      let operation = TestOperation(content: "x")
      #expect(port.send(handle, operation) == .system)
      #expect(operation.pointer.pointee.system_error == EPIPE)
      #expect(port.next() == nil)
      #expect(port.receive(handle, operation) == .done)
      #expect(port.next() == .done(operation, bytes: 0))
    }
  }

  @Test("A3: an operation in flight is busy, and its array of buffers was copied", arguments: PortBackend.tested)
  func busyAndCaptured(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let first = TestOperation(capacity: 2)
      let second = TestOperation(capacity: 8)
      var buffers = [first.buffer(), second.buffer()]
      #expect(port.receive(handle, first.pointer, &buffers, count: 2) == .pending)
      #expect(port.receive(handle, first) == .busy)
      #expect(port.timer(first.pointer, delay: 0, key: 0) == .busy)
      buffers = [OperationBuffer(), OperationBuffer()]
      write("abcdef", to: theirs)
      #expect(port.await() == .done(first, bytes: 6))
      #expect((first.text(2), second.text(4)) == ("ab", "cdef"))
      #expect(port.receive(handle, first) == .pending)
    }
  }

  @Test("A4: receives fill in the order of their calls", arguments: PortBackend.tested)
  func receivesInOrder(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operations = (0..<3).map { _ in TestOperation(capacity: 2) }
      for operation in operations { #expect(port.receive(handle, operation) == .pending) }
      write("aabbc", to: theirs)
      #expect(port.await() == .done(operations[0], bytes: 2))
      #expect(port.await() == .done(operations[1], bytes: 2))
      #expect(port.await() == .done(operations[2], bytes: 1))
      #expect(operations.map { $0.text(2) } == ["aa", "bb", "c\0"])
    }
  }

  @Test(
    "A4: no bytes are the end; a receive of no bytes waits for some and takes none, also at the end",
    arguments: PortBackend.tested)
  func endAndZeroByteReceive(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      let handle = port.handle(ours)
      let operation = TestOperation()
      #expect(port.receive(handle, operation, 0) == .pending)
      write("data", to: theirs)
      #expect(port.await() == .done(operation, bytes: 0))
      #expect(port.receive(handle, operation) == .done)
      #expect(port.next() == .done(operation, bytes: 4))
      #expect(port.receive(handle, operation, 0) == .pending)
      close(theirs)
      #expect(port.await() == .done(operation, bytes: 0))
      #expect(port.receive(handle, operation) == .done)
      #expect(port.next() == .done(operation, bytes: 0))
    }
  }

  @Test(
    "A send takes all bytes, however slowly the peer reads, and those behind it wait their turn",
    arguments: PortBackend.tested)
  func sendsEverything(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let size = 3 << 20
      let big = TestOperation(capacity: size)
      for index in 0..<size {
        big.bytes.storeBytes(of: UInt8(truncatingIfNeeded: index &* 31), toByteOffset: index, as: UInt8.self)
      }
      let small = TestOperation(content: "end")
      let bye = TestOperation()
      #expect(port.send(handle, big) == .pending)
      #expect(port.send(handle, small, 3) == .pending)
      #expect(port.disconnect(handle, bye.pointer) == .pending)
      let received = Guarded<[UInt8]>([])
      let reader = TestThread()
      let isDone = reader.begin { () -> Bool in
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
          let count = Glibc.read(theirs, &buffer, buffer.count)
          guard count > 0 else { return count == 0 }
          received.withLock { $0 += buffer[..<count] }
        }
      }
      #expect(port.await() == .done(big, bytes: size))
      #expect(port.await() == .done(small, bytes: 3))
      #expect(port.await() == .done(bye, bytes: 0))
      #expect(isDone.value)
      reader.finish()
      let bytes = received.withLock { $0 }
      #expect(bytes.count == size + 3)
      #expect(bytes[..<size].elementsEqual(UnsafeRawBufferPointer(start: big.bytes, count: size)))
      #expect(bytes[size...].elementsEqual("end".utf8))
    }
  }

  @Test("Accept and connect over TCP: both complete, and bytes cross", arguments: PortBackend.tested)
  func acceptAndConnect(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (listener, address) = listeningSocket()
      let listening = port.handle(listener, key: 1)
      let accept = TestOperation()
      #expect(port.accept(listening, accept.pointer) == .pending)
      let client = port.handle(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), key: 2)
      let connect = TestOperation()
      var target = address
      let started = port.connect(client, connect.pointer, address: &target, length: 16)
      #expect(started == .pending || started == .done)
      let packets = [port.await(), port.await()]
      #expect(packets.contains(.done(accept, key: 1, bytes: 0)))
      #expect(packets.contains(.done(connect, key: 2, bytes: 0)))
      let server = port.handle(Operation.acceptedDescriptor(accept.pointer), key: 3)
      let receive = TestOperation()
      #expect(port.receive(server, receive) == .pending)
      let send = TestOperation(content: "over TCP")
      #expect(port.send(client, send, 8) == .done)
      let transferred = [port.await(), port.await()]
      #expect(transferred.contains(.done(send, key: 2, bytes: 8)))
      #expect(transferred.contains(.done(receive, key: 3, bytes: 8)))
      #expect(receive.text(8) == "over TCP")
    }
  }

  @Test("A connect that nobody answers fails with the system's error", arguments: PortBackend.tested)
  func refusedConnect(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let unused = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(unused) }
      var address = bound(unused)
      let client = port.handle(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
      let operation = TestOperation()
      let started = port.connect(client, operation.pointer, address: &address, length: 16)
      if started == .pending {
        let packet = port.await()
        #expect(packet?.status == -11)
      } else {
        #expect(started == .system)
      }
      #expect(operation.pointer.pointee.system_error == ECONNREFUSED)
    }
  }

  @Test("An accept without a free descriptor fails with EMFILE, once, and the next one goes on")
  func acceptWithoutDescriptors() async {
    // In a process of its own, because the limit is the process's.
    await #expect(processExitsWith: .success) {
      let port = try OperationPort.create(concurrency: 1)
      let (listener, address) = listeningSocket()
      let listening = port.handle(listener)
      let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      let operation = TestOperation()
      #expect(port.accept(listening, operation.pointer) == .pending)
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      let before = limit
      limit.rlim_cur = 0
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      var target = address
      let result = withUnsafePointer(to: &target) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, 16) }
      }
      let packet = port.await()
      let next = port.next()
      limit = before
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      #expect(result == 0)
      #expect(packet?.status == -11)
      #expect(operation.pointer.pointee.system_error == EMFILE)
      #expect(next == nil)
      #expect(port.accept(listening, operation.pointer) == .done)
      #expect(port.next() == .done(operation, bytes: 0))
    }
  }

  @Test("Datagrams keep their bounds and tell where they come from; an empty one is one", arguments: PortBackend.tested)
  func datagrams(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let first = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
      let second = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
      let from = bound(first)
      var to = bound(second)
      let sender = port.handle(first, skips: true)
      let receiver = port.handle(second)
      let receive = TestOperation()
      #expect(port.receiveFrom(receiver, receive.pointer, receive.buffer()) == .pending)
      let send = TestOperation(content: "one")
      #expect(port.sendTo(sender, send.pointer, send.buffer(3), address: &to, length: 16) == .done)
      #expect(port.sendTo(sender, send.pointer, send.buffer(0), address: &to, length: 16) == .done)
      #expect(port.await() == .done(receive, bytes: 3))
      let source = try #require(Operation.sourceAddress(receive.pointer))
      #expect(source.loadUnaligned(as: sockaddr_in.self).sin_port == from.sin_port)
      #expect(port.receiveFrom(receiver, receive.pointer, receive.buffer()) == .done)
      #expect(port.next() == .done(receive, bytes: 0))
    }
  }

  @Test("Pipes receive and send, and a broken one raises no signal", arguments: PortBackend.tested)
  func pipes(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      var ends: [Int32] = [0, 0]
      #expect(pipe(&ends) == 0)
      let reading = port.handle(ends[0], key: 1)
      let writing = port.handle(ends[1], key: 2, skips: true)
      let receive = TestOperation()
      let send = TestOperation(content: "through a pipe")
      #expect(port.receive(reading, receive) == .pending)
      #expect(port.send(writing, send, 14) == .done)
      #expect(port.await() == .done(receive, key: 1, bytes: 14))
      #expect(port.close(reading) == .done)
      #expect(port.send(writing, send, 14) == .system)
      #expect(send.pointer.pointee.system_error == EPIPE)
    }
  }

  @Test("A handle does only what its descriptor can", arguments: PortBackend.tested)
  func unsupported(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let (ours, theirs) = socketPair()
      let socket = port.handle(ours)
      defer { close(theirs) }
      let file = port.handle(temporaryFile())
      let operation = TestOperation()
      #expect(port.read(socket, operation.pointer, operation.buffer(), offset: 0) == .unsupported)
      #expect(port.receive(file, operation) == .unsupported)
      #expect(port.accept(file, operation.pointer) == .unsupported)
      #expect(port.receive(socket, operation) == .pending)
    }
  }
}
