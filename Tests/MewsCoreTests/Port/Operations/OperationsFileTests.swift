import CMewsShims
import Foundation
import MewsCore
import Testing

@Suite("Operations: files and timers")
struct OperationsFileTests {
  @Test(
    "What is written to a file and synced is read back, in any order of completion", arguments: PortBackend.allTested)
  func writeSyncRead(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let file = port.handle(temporaryFile())
      let writes = (0..<16).map { TestOperation(content: String(repeating: String($0, radix: 16), count: 512)) }
      for (index, write) in writes.enumerated() {
        let result = port.write(file, write.pointer, write.buffer(512), offset: UInt64(index * 512))
        #expect(result == .pending)
      }
      let completed = Set((0..<16).compactMap { _ in port.await()?.operation })
      #expect(completed == Set(writes.map { UnsafeMutableRawPointer($0.pointer) }))
      let sync = TestOperation()
      #expect(port.sync(file, sync.pointer) == .pending)
      #expect(port.await() == .done(sync, bytes: 0))
      let read = TestOperation(capacity: 10_000)
      let started = port.read(file, read.pointer, read.buffer(), offset: 512)
      #expect(started == .done || started == .pending)
      #expect(port.await() == .done(read, bytes: 15 * 512))
      #expect(read.text(15 * 512) == writes[1...].map { $0.text(512) }.joined())
      let atEnd = port.read(file, read.pointer, read.buffer(), offset: 1 << 20)
      #expect(atEnd == .done || atEnd == .pending)
      #expect(port.await() == .done(read, bytes: 0))
    }
  }

  @Test(
    "A file is closed with operations in flight: each has one packet, and the descriptor is closed behind the last",
    arguments: PortBackend.allTested)
  func closeFile(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let descriptor = temporaryFile()
      let file = port.handle(descriptor)
      let writes = (0..<64).map { _ in TestOperation(capacity: 1 << 16) }
      for write in writes { #expect(port.write(file, write.pointer, write.buffer(), offset: 0) == .pending) }
      #expect(port.close(file) == .done)
      var operations = Set<UnsafeMutableRawPointer>()
      for _ in writes {
        let packet = try #require(port.await())
        #expect(packet.status == 0 || packet.status == -14)
        #expect(operations.insert(try #require(packet.operation)).inserted)
      }
      #expect(port.next() == nil)
      #expect(eventually { fcntl(descriptor, F_GETFD) == -1 })
    }
  }

  @Test("Writing to a file that is open for reading fails with EBADF, in a packet", arguments: PortBackend.allTested)
  func failingWrite(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let file = port.handle(open("/proc/self/exe", O_RDONLY | O_CLOEXEC))
      let operation = TestOperation(content: "x")
      #expect(port.write(file, operation.pointer, operation.buffer(1), offset: 0) == .pending)
      #expect(port.await()?.status == -11)
      #expect(operation.pointer.pointee.system_error == EBADF)
    }
  }

  @Test(
    "Send-file sends a part of a file through a full socket, and ends where the file does",
    arguments: PortBackend.allTested)
  func sendFile(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let size = 2 << 20
      let file = temporaryFile()
      defer { close(file) }
      let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
      #expect(content.withUnsafeBytes { Glibc.write(file, $0.baseAddress, size) } == size)
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours)
      let operation = TestOperation()
      #expect(port.sendFile(handle, operation.pointer, file: file, offset: 100, length: UInt64(size)) == .pending)
      let reader = TestThread()
      let received = reader.begin { () -> [UInt8] in
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while all.count < size - 100 {
          let count = Glibc.read(theirs, &buffer, buffer.count)
          guard count > 0 else { break }
          all += buffer[..<count]
        }
        return all
      }
      #expect(port.await() == .done(operation, bytes: size - 100))
      #expect(received.value == Array(content[100...]))
      reader.finish()
    }
  }

  @Test("A timer completes after its delay, with its key, and not before", arguments: PortBackend.allTested)
  func timer(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let late = TestOperation()
      let early = TestOperation()
      let begin = DispatchTime.now()
      #expect(port.timer(late.pointer, delay: 30, key: 1) == .pending)
      #expect(port.timer(early.pointer, delay: 10, key: 2) == .pending)
      #expect(port.await() == .done(early, key: 2, bytes: 0))
      #expect(DispatchTime.now().uptimeNanoseconds - begin.uptimeNanoseconds >= 10_000_000)
      #expect(port.await() == .done(late, key: 1, bytes: 0))
      #expect(DispatchTime.now().uptimeNanoseconds - begin.uptimeNanoseconds >= 30_000_000)
      #expect(port.timer(late.pointer, delay: 1 << 31 + 1, key: 1) == .invalidArgument)
    }
  }

  @Test("A timer that another thread starts ends the leader's sleep in time", arguments: PortBackend.allTested)
  func timerFromAnotherThread(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      withThreads(1) { threads in
        let wait = threads[0].begin { port.await()?.key }
        while port.port.waiterCount == 0 { usleep(100) }
        let operation = TestOperation()
        #expect(port.timer(operation.pointer, delay: 5, key: 4) == .pending)
        #expect(wait.value == 4)
        threads[0].perform { port.port.leave() }
      }
    }
  }

  @Test("A cancelled timer completes as cancelled, once", arguments: PortBackend.allTested)
  func cancelTimer(backend: PortBackend) throws {
    try withOperationPort(backend: backend) { port in
      let operation = TestOperation()
      #expect(port.cancelTimer(operation.pointer) == .notFound)
      #expect(port.timer(operation.pointer, delay: 1 << 20, key: 4) == .pending)
      #expect(port.cancelTimer(operation.pointer) == .done)
      #expect(port.cancelTimer(operation.pointer) == .notFound)
      #expect(port.next() == .canceled(operation, key: 4))
      #expect(port.next() == nil)
    }
  }
}
