import CMewsShims
import Foundation
import Testing

@testable import MewsCore

/// What can go wrong with an io_uring and not with epoll.
@Suite("Operations: the ring", .ring, .serialized)
struct OperationsRingTests {
  /// Connections to a port, and the port's operations on them.
  private struct Crowd {
    let peers: [Int32]
    let handles: [Handle]
    let operations: [TestOperation]

    init(_ count: Int, of port: OperationPort) {
      let pairs = (0..<count).map { _ in socketPair() }
      peers = pairs.map(\.theirs)
      handles = pairs.enumerated().map { port.handle($1.ours, key: UInt($0)) }
      operations = (0..<count).map { _ in TestOperation(capacity: 8) }
    }

    func receive(_ port: OperationPort) {
      for (handle, operation) in zip(handles, operations) {
        // In two pieces, so that what describes them is memory which the kernel reads later.
        var buffers = [operation.buffer(2), OperationBuffer(iov_base: operation.bytes + 2, iov_len: 6)]
        #expect(port.receive(handle, operation.pointer, &buffers, count: 2) == .pending)
      }
    }

    func close() { for peer in peers { Glibc.close(peer) } }
  }

  private func withTinyRing(_ body: (OperationPort) throws -> Void) throws {
    let port = try OperationPort.create(concurrency: 1, backend: .ring, ring: .tiny)
    defer {
      port.port.leave()
      port.close()
    }
    try body(port)
  }

  /// Takes a packet for each, in any order.
  private func take(_ count: Int, _ port: OperationPort) throws -> [UInt64: Received] {
    var packets: [UInt64: Received] = [:]
    for _ in 0..<count {
      let packet = try #require(port.await())
      #expect(packets.updateValue(packet, forKey: packet.key) == nil)
    }
    #expect(port.next() == nil)
    return packets
  }

  @Test("Far more operations than the ring takes at once are all done, and all cancelled")
  func moreThanFits() throws {
    try withTinyRing { port in
      let crowd = Crowd(100, of: port)
      defer { crowd.close() }
      for _ in 0..<3 {
        crowd.receive(port)
        for peer in crowd.peers { write("12345", to: peer) }
        let packets = try take(100, port)
        for (key, operation) in crowd.operations.enumerated() {
          #expect(packets[UInt64(key)] == .done(operation, key: UInt64(key), bytes: 5))
          #expect(operation.text(5) == "12345")
        }
      }
      crowd.receive(port)
      for handle in crowd.handles { #expect(port.cancel(handle, nil) == .done) }
      #expect(try take(100, port).values.allSatisfy { $0.status == -14 && $0.bytes == 0 })
    }
  }

  @Test("Completions that overflow the ring are not lost, and the ring's thread is woken as before")
  func overflow() throws {
    try withTinyRing { port in
      let crowd = Crowd(64, of: port)
      defer { crowd.close() }
      crowd.receive(port)
      let ring = try #require(port.state.pointee.parts.ring)
      let slots = try crowd.handles.map { try #require(port.state.pointee.parts.table.slot($0.index)) }
      #expect(eventually { slots.allSatisfy { isHeld($0) } })
      // The ring's thread is held up while far more comes due than the ring has room for, and then in what is first.
      whilePaused(ring) {
        for slot in slots { slot.pointee.lock.lock() }
        for peer in crowd.peers { write("1", to: peer) }
      }
      #expect(eventually { ring.state.pointee.proactor?.ring.hasOverflown == true })
      for slot in slots { slot.pointee.lock.unlock() }
      #expect(try take(64, port).values.allSatisfy { $0.status == 0 && $0.bytes == 1 })
      // Whatever the overflow has ended begins anew.
      crowd.receive(port)
      for peer in crowd.peers { write("2", to: peer) }
      #expect(try take(64, port).values.allSatisfy { $0.status == 0 && $0.bytes == 1 })
    }
  }

  private static let isPaused = DispatchSemaphore(value: 0)
  private static let mayGoOn = DispatchSemaphore(value: 0)

  /// Runs the body while the thread of a ring does nothing.
  private func whilePaused(_ ring: RingThread, _ body: () -> Void) {
    let pause = PacketPointer.allocate(capacity: 1)
    defer { pause.deallocate() }
    pause.initialize(
      to: Packet(action: { _ in
        Self.isPaused.signal()
        Self.mayGoOn.wait()
      }))
    if ring.state.pointee.mailbox.push(pause) { ring.signal() }
    Self.isPaused.wait()
    body()
    Self.mayGoOn.signal()
  }

  /// Something for the thread of a ring to do, posted to it as soon as it is made.
  private final class Task {
    private let ring: RingThread
    private let body: (RingThread) -> Void
    private let packet = PacketPointer.allocate(capacity: 1)
    private let isDone = DispatchSemaphore(value: 0)

    init(_ ring: RingThread, _ body: @escaping (RingThread) -> Void) {
      self.ring = ring
      self.body = body
      packet.initialize(
        to: Packet(operation: Unmanaged.passRetained(self).toOpaque()) { packet in
          guard let operation = packet.pointee.operation else { return }
          let task = Unmanaged<Task>.fromOpaque(operation).takeRetainedValue()
          task.body(task.ring)
          task.isDone.signal()
        })
      if ring.state.pointee.mailbox.push(packet) { ring.signal() }
    }

    deinit { packet.deallocate() }

    func wait() { isDone.wait() }
  }

  @Test("When completions are lost, their operations fail, all others are done, and the port goes on")
  func losses() throws {
    try withOperationPort(backend: .ring) { port in
      let crowd = Crowd(60, of: port)
      defer { crowd.close() }
      let ring = try #require(port.state.pointee.parts.ring)
      let slots = try crowd.handles.map { try #require(port.state.pointee.parts.table.slot($0.index)) }
      for _ in 0..<3 {
        crowd.receive(port)
        #expect(eventually { slots.allSatisfy { isHeld($0) } })
        Task(ring) { ring in
          guard let proactor = ring.state.pointee.proactor else { return }
          proactor.wait(timeoutNanoseconds: 0)
          proactor.tellCompletions()
          for peer in crowd.peers[..<40] { write("1234", to: peer) }
          proactor.wait(timeoutNanoseconds: 0)
          // Half of what came is lost; what comes now finds its operation gone.
          #expect(proactor.ring.lose(20) == 20)
        }.wait()
        for peer in crowd.peers[40...] { write("1234", to: peer) }
        let packets = try take(60, port)
        let failed = packets.values.filter { $0.status == -11 }
        #expect(failed.count == 20 && failed.allSatisfy { $0.bytes == 0 })
        #expect(packets.values.filter { $0.status == 0 && $0.bytes == 4 }.count == 40)
        for (key, operation) in crowd.operations.enumerated() where packets[UInt64(key)]?.status == -11 {
          #expect(operation.pointer.pointee.system_error == EBADR)
        }
        #expect(ring.state.pointee.armed == 0)
      }
    }
  }

  @Test("Cancelled operations end as such when completions are lost, and a port closes that has lost some")
  func lossesAtEnd() throws {
    let port = try OperationPort.create(concurrency: 1, backend: .ring, ring: .tiny)
    let crowd = Crowd(50, of: port)
    defer { crowd.close() }
    let ring = try #require(port.state.pointee.parts.ring)
    crowd.receive(port)
    Task(ring) { ring in
      guard let proactor = ring.state.pointee.proactor else { return }
      for peer in crowd.peers[..<8] { write("1", to: peer) }
      proactor.wait(timeoutNanoseconds: 0)
      proactor.ring.lose()
    }.wait()
    for handle in crowd.handles { _ = port.cancel(handle, nil) }
    let packets = try take(50, port)
    #expect(packets.values.allSatisfy { [-14, -11, 0].contains($0.status) })
    #expect(packets.values.filter { $0.status == -14 }.count >= 42)
    crowd.receive(port)
    Task(ring) { $0.state.pointee.proactor?.ring.lose(0) }.wait()
    port.port.leave()
    port.close()
  }

  @Test("A file's operation whose completion is lost fails, and others of the file are done")
  func fileLosses() throws {
    try withOperationPort(backend: .ring) { port in
      let file = port.handle(temporaryFile())
      let first = TestOperation(content: "first")
      #expect(port.write(file, first.pointer, first.buffer(), offset: 0) == .pending)
      #expect(port.await() == .done(first, bytes: 64))
      let ring = try #require(port.state.pointee.parts.ring)
      let writes = (0..<4).map { TestOperation(content: "write \($0)") }
      Task(ring) { ring in
        // All of it is taken out of the mailbox together: the writes are begun first.
        for write in writes { #expect(port.write(file, write.pointer, write.buffer(), offset: 0) == .pending) }
        _ = Task(ring) { ring in
          guard let proactor = ring.state.pointee.proactor else { return }
          for _ in 0..<1_000 where proactor.ring.unread < 4 {
            _ = shim_ring_enter(proactor.ring.state.pointee.ring, 4, 10_000_000)
          }
          #expect(proactor.ring.lose(2) == 2)
        }
      }.wait()
      let packets = (0..<4).map { _ in port.await() }
      #expect(packets.compactMap { $0?.status }.sorted() == [-11, -11, 0, 0])
      #expect(writes.map(\.pointer.pointee.system_error).filter { $0 != 0 } == [EBADR, EBADR])
      #expect(port.write(file, first.pointer, first.buffer(), offset: 0) == .pending)
      #expect(port.await() == .done(first, bytes: 64))
    }
  }

  /// Whether the ring has an operation of a handle.
  private func isHeld(_ slot: HandleSlotPointer) -> Bool {
    slot.pointee.lock.lock()
    defer { slot.pointee.lock.unlock() }
    return slot.pointee.entry.heldOperations > 0
  }

  @Test("A handle that is closed over TCP sends the end, although the ring had operations on it")
  func closeSendsEnd() throws {
    try withOperationPort(backend: .ring) { port in
      for _ in 0..<100 {
        let (listener, address) = listeningSocket()
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(client) }
        var target = address
        let connected = withUnsafePointer(to: &target) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(client, $0, 16) }
        }
        #expect(connected == 0)
        let server = accept(listener, nil, nil)
        let listening = port.handle(listener)
        let accepting = TestOperation()
        #expect(port.accept(listening, accepting.pointer) == .pending)
        let handle = port.handle(server)
        let receiving = TestOperation()
        #expect(port.receive(handle, receiving) == .pending)
        #expect(port.close(handle) == .done)
        #expect(port.close(listening) == .done)
        #expect(read(from: client) == "")
        let packets = [port.await(), port.await()]
        #expect(packets.contains(.canceled(accepting)) && packets.contains(.canceled(receiving)))
        #expect(eventually { fcntl(server, F_GETFD) == -1 && fcntl(listener, F_GETFD) == -1 })
      }
    }
  }

  @Test("Sends that wait go out in the order of their calls, each whole")
  func sendsInOrder() throws {
    try withOperationPort(backend: .ring) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let size = 100_000
      let sends = (0..<40).map { number in
        let send = TestOperation(capacity: size)
        memset(send.bytes, Int32(number), size)
        return send
      }
      for send in sends {
        let started = port.send(handle, send)
        #expect(started == .pending || started == .done)
      }
      let reader = TestThread()
      let isInOrder = reader.begin { () -> Bool in
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var position = 0
        while position < 40 * size {
          let count = Glibc.read(theirs, &buffer, buffer.count)
          guard count > 0 else { return false }
          for byte in buffer[..<count] {
            guard Int(byte) == position / size else { return false }
            position += 1
          }
        }
        return true
      }
      for send in sends { #expect(port.await() == .done(send, bytes: size)) }
      #expect(isInOrder.value)
      reader.finish()
    }
  }

  @Test("A cancellation that comes too late does not hit the operation that is started next")
  func lateCancellation() throws {
    try withOperationPort(backend: .ring) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      for _ in 0..<2000 {
        let first = TestOperation()
        let second = TestOperation()
        #expect(port.receive(handle, first) == .pending)
        write("a", to: theirs)
        _ = port.cancel(handle, first.pointer)
        #expect(port.await()?.operation == UnsafeMutableRawPointer(first.pointer))
        let started = port.receive(handle, second)
        if started == .pending { write("b", to: theirs) }
        let packet = try #require(port.await())
        try #require(packet.operation == UnsafeMutableRawPointer(second.pointer) && packet.status == 0)
        // What is left of the two bytes.
        let rest = TestOperation()
        while port.receive(handle, rest) == .done { _ = port.await() }
        _ = port.cancel(handle, nil)
        _ = port.await()
      }
    }
  }

  @Test("What the leader hears of a descriptor in passing it leaves to the ring")
  func leaderBesideRing() throws {
    try withOperationPort(backend: .ring) { port in
      var ends: [Int32] = [0, 0]
      #expect(pipe(&ends) == 0)
      defer { close(ends[1]) }
      let handle = port.handle(ends[0])
      let slot = try #require(port.state.pointee.parts.table.slot(handle.index))
      let first = TestOperation(capacity: 1)
      let second = TestOperation(capacity: 1)
      #expect(port.receive(handle, first) == .pending)
      #expect(port.receive(handle, second) == .pending)
      #expect(eventually { isHeld(slot) })
      // Epoll is asked whether it takes a pipe, and may tell the leader of it before it is asked to forget it.
      whilePaused(try #require(port.state.pointee.parts.ring)) {
        write("12", to: ends[1])
        var completed = shim_packet_chain()
        OperationPortState.tell(port.state, handle, ReadyEvents.readable, &completed)
        #expect(completed.count == 0)
      }
      #expect(port.await() == .done(first, bytes: 1))
      #expect(port.await() == .done(second, bytes: 1))
      #expect(port.next() == nil)
    }
  }

  @Test("More operations on files than there are places for are done one after the other, and cancelled")
  func manyFiles() throws {
    try withTinyRing { port in
      let file = port.handle(temporaryFile())
      let writes = (0..<64).map { TestOperation(content: String(repeating: String($0 % 10), count: 100)) }
      for (index, write) in writes.enumerated() {
        #expect(port.write(file, write.pointer, write.buffer(100), offset: UInt64(index * 100)) == .pending)
      }
      for _ in writes { #expect(port.await()?.bytes == 100) }
      let read = TestOperation(capacity: 6400)
      _ = port.read(file, read.pointer, read.buffer(), offset: 0)
      #expect(port.await() == .done(read, bytes: 6400))
      #expect(read.text(6400) == writes.map { $0.text(100) }.joined())
      for write in writes { #expect(port.write(file, write.pointer, write.buffer(100), offset: 0) == .pending) }
      _ = port.cancel(file, nil)
      for _ in writes {
        let packet = try #require(port.await())
        #expect(packet.status == 0 && packet.bytes == 100 || packet.status == -14)
      }
    }
  }

  @Test("A port that has no ring says so, and one that may do without serves files with threads")
  func withoutRing() throws {
    var options = RingThread.Options()
    // More than the kernel allows.
    options.submissions = 1 << 20
    #expect(throws: SystemError.self) {
      try OperationPort.create(concurrency: 1, backend: .ring, ring: options)
    }
    let port = try OperationPort.create(concurrency: 1, backend: .automatic, ring: options)
    defer {
      port.port.leave()
      port.close()
    }
    let file = port.handle(temporaryFile())
    let operation = TestOperation(content: "threads")
    #expect(port.write(file, operation.pointer, operation.buffer(7), offset: 0) == .pending)
    #expect(port.await() == .done(operation, bytes: 7))
    #expect(port.state.pointee.parts.ring?.isRunning == false)
  }

  @Test("A port that is to choose by itself starts no thread for sockets, and one ring for files")
  func automatic() throws {
    try withOperationPort(backend: .automatic) { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let socket = port.handle(ours)
      let receive = TestOperation()
      #expect(port.receive(socket, receive) == .pending)
      write("x", to: theirs)
      #expect(port.await() == .done(receive, bytes: 1))
      #expect(port.state.pointee.parts.ring?.isRunning == false)
      let file = port.handle(temporaryFile())
      let operation = TestOperation(content: "ring")
      #expect(port.write(file, operation.pointer, operation.buffer(4), offset: 0) == .pending)
      #expect(port.await() == .done(operation, bytes: 4))
      #expect(port.state.pointee.parts.ring?.isRunning == true)
    }
  }
}
