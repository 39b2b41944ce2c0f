import Foundation
import MewsCore
import Testing

@Suite("Worker pool")
struct WorkerPoolTests {
  /// What the workers of a test leave behind. Reachable from the context of hooks and packets.
  private final class Record: Sendable {
    struct Seen: Sendable {
      var starts: [UInt32] = []
      var exits: [UInt32] = []
      var names: Set<String> = []
      var areWorkers = true
      var servers: Set<UInt> = []
      var runs = 0
    }
    let seen = Guarded(Seen())

    static func of(_ context: UnsafeMutableRawPointer?) -> Record? {
      context.map { Unmanaged<Record>.fromOpaque($0).takeUnretainedValue() }
    }

    var hooks: ThreadHooks {
      ThreadHooks(
        start: { context in
          guard let thread = ThreadContext.current else { return }
          let (kind, index) = (thread.pointee.kind, thread.pointee.index)
          let server = UInt(bitPattern: thread.pointee.server)
          Record.of(context)?.seen.withLock {
            $0.starts.append(index)
            $0.names.insert(currentThreadName())
            $0.areWorkers = $0.areWorkers && kind == .worker
            $0.servers.insert(server)
          }
        },
        exit: { context in
          let index = ThreadContext.current?.pointee.index ?? .max
          Record.of(context)?.seen.withLock { $0.exits.append(index) }
        },
        context: Unmanaged.passUnretained(self).toOpaque())
    }
  }

  private func withPool(
    workers: Int, record: Record, _ body: (CompletionPort, WorkerPool) throws -> Void
  ) throws {
    try withPort(concurrency: workers) { port in
      let pool = try #require(
        WorkerPool.create(
          port: port, count: workers, firstIndex: 2, server: UnsafeMutableRawPointer(bitPattern: 64),
          hooks: record.hooks))
      defer { pool.destroy() }
      #expect(pool.start() == 0)
      try body(port, pool)
    }
  }

  @Test("Each worker has its context, its name and its hooks")
  func identity() throws {
    let record = Record()
    try withPool(workers: 3, record: record) { port, pool in
      #expect(eventually { port.waiterCount == 3 })
      pool.stop()
      pool.join()
      let seen = record.seen.withLock { $0 }
      #expect(seen.starts.sorted() == [2, 3, 4])
      #expect(seen.exits.sorted() == [2, 3, 4])
      #expect(seen.names == ["mews-worker-2", "mews-worker-3", "mews-worker-4"])
      #expect(seen.areWorkers)
      #expect(seen.servers == [64])
      #expect(port.waiterCount == 0 && port.activeCount == 0)
    }
  }

  @Test("Stopping runs what is queued first")
  func stopDrains() throws {
    let record = Record()
    let count = 1_000
    let packets = PacketPointer.allocate(capacity: count)
    defer { packets.deallocate() }
    for index in 0..<count {
      (packets + index).initialize(
        to: Packet(
          operation: Unmanaged.passUnretained(record).toOpaque(),
          action: { packet in Record.of(packet.pointee.operation)?.seen.withLock { $0.runs += 1 } }))
    }
    try withPool(workers: 2, record: record) { port, pool in
      for index in 0..<count { port.post(packets + index) }
      pool.stop()
      pool.join()
      #expect(record.seen.withLock { $0.runs } == count)
    }
  }

  @Test("Closing the port ends the workers as well")
  func closeEnds() throws {
    let record = Record()
    try withPool(workers: 2, record: record) { port, pool in
      port.close()
      pool.join()
      #expect(record.seen.withLock { $0.exits.count } == 2)
    }
  }

  @Test("Workers block signals, but not those of faults")
  func signals() throws {
    try withPort(concurrency: 1) { port in
      let hooks = ThreadHooks(
        start: { context in
          guard let context else { return }
          var mask = sigset_t()
          pthread_sigmask(SIG_SETMASK, nil, &mask)
          let table = context.assumingMemoryBound(to: [Int32: Bool].self)
          for signal in [SIGINT, SIGTERM, SIGUSR1, SIGPIPE, SIGCHLD, SIGSEGV, SIGBUS] {
            table.pointee[signal] = sigismember(&mask, signal) == 1
          }
        }, context: nil)
      var table: [Int32: Bool] = [:]
      try withUnsafeMutablePointer(to: &table) { pointer in
        var hooks = hooks
        hooks.context = UnsafeMutableRawPointer(pointer)
        let pool = try #require(
          WorkerPool.create(port: port, count: 1, firstIndex: 0, server: nil, hooks: hooks))
        #expect(pool.start() == 0)
        pool.stop()
        pool.join()
        pool.destroy()
        #expect(
          pointer.pointee == [
            SIGINT: true, SIGTERM: true, SIGUSR1: true, SIGPIPE: true, SIGCHLD: true, SIGSEGV: false, SIGBUS: false,
          ])
      }
    }
  }

  @Test("A pool of no workers, or of more than an address space holds, is refused")
  func refused() {
    withPort(concurrency: 1) { port in
      for count in [0, -1, Int.max] {
        let pool = WorkerPool.create(port: port, count: count, firstIndex: 0, server: nil, hooks: ThreadHooks())
        #expect(pool == nil)
      }
    }
  }
}
