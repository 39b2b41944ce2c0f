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

  @Test("Each worker has its context, its name and its hooks")
  func identity() throws {
    let record = Record()
    let limits = WorkerLimits(concurrency: 2, maximum: 3)
    try withWorkers(concurrency: 2, limits: limits, hooks: record.hooks) { port, _ in
      #expect(eventually { port.waiterCount == 3 })
    }
    let seen = record.seen.withLock { $0 }
    #expect(seen.starts.sorted() == [2, 3, 4])
    #expect(seen.exits.sorted() == [2, 3, 4])
    #expect(seen.names == ["mews-worker-2", "mews-worker-3", "mews-worker-4"])
    #expect(seen.areWorkers)
    #expect(seen.servers == [64])
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
    try withWorkers(concurrency: 2, hooks: record.hooks) { port, _ in
      for index in 0..<count { port.post(packets + index) }
    }
    #expect(record.seen.withLock { $0.runs } == count)
  }

  @Test("Closing the port ends the workers as well")
  func closeEnds() throws {
    let record = Record()
    try withWorkers(concurrency: 1, hooks: record.hooks) { port, pool in
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
          WorkerPool.create(
            port: port, limits: WorkerLimits(concurrency: 1, maximum: 1), firstIndex: 0, server: nil, hooks: hooks))
        #expect(pool.start() == 0)
        pool.stop()
        pool.join()
        port.close()
        pool.destroy()
        #expect(
          pointer.pointee == [
            SIGINT: true, SIGTERM: true, SIGUSR1: true, SIGPIPE: true, SIGCHLD: true, SIGSEGV: false, SIGBUS: false,
          ])
      }
    }
  }

  @Test("Limits that contradict themselves, or that no process could have, are refused")
  func refused() {
    withPort(concurrency: 1) { port in
      for maximum in [0, -1, 1, 65_537, Int.max] {
        var limits = WorkerLimits(concurrency: 1)
        limits.maximum = maximum
        let pool = WorkerPool.create(port: port, limits: limits, firstIndex: 0, server: nil, hooks: ThreadHooks())
        #expect(pool == nil)
      }
    }
  }
}
