import Foundation
import MewsCore
import Synchronization
import Testing

/// Work for the workers of a test: a packet whose action runs a closure.
final class Job: @unchecked Sendable {
  private let packet: PacketPointer
  private let body: @Sendable () -> Void
  private let begun = Atomic<Bool>(false)
  private let done = Atomic<Bool>(false)

  var hasBegun: Bool { begun.load(ordering: .acquiring) }
  var isDone: Bool { done.load(ordering: .acquiring) }

  init(isUncounted: Bool = false, _ body: @escaping @Sendable () -> Void = {}) {
    packet = PacketPointer.allocate(capacity: 1)
    self.body = body
    packet.initialize(
      to: Packet(
        operation: Unmanaged.passUnretained(self).toOpaque(), isUncounted: isUncounted,
        action: { packet in
          guard let operation = packet.pointee.operation else { return }
          let job = Unmanaged<Job>.fromOpaque(operation).takeUnretainedValue()
          job.begun.store(true, ordering: .releasing)
          job.body()
          job.done.store(true, ordering: .releasing)
        }))
  }

  deinit { packet.deallocate() }

  /// Queues the packet. The job has to outlive its run.
  func post(to port: CompletionPort) { port.post(packet) }
}

/// What threads sleep at until it is opened.
final class Gate: @unchecked Sendable {
  private let condition = NSCondition()
  private var isOpen = false

  func open() {
    condition.withLock {
      isOpen = true
      condition.broadcast()
    }
  }

  /// Sleeps until the gate is open.
  func pass() {
    condition.withLock { while !isOpen { condition.wait() } }
  }
}

/// What threads burn CPU at until it is set.
final class Flag: Sendable {
  private let isSet = Atomic<Bool>(false)

  func set() { isSet.store(true, ordering: .releasing) }

  /// Burns CPU until the flag is set.
  func spin() { while !isSet.load(ordering: .acquiring) {} }
}

/// Runs the body with a started pool, stops the pool, and checks that no slot, packet or thread is left.
func withWorkers(
  concurrency: Int, limits: WorkerLimits? = nil, hooks: ThreadHooks = ThreadHooks(),
  _ body: (CompletionPort, WorkerPool) throws -> Void
) throws {
  try withPort(concurrency: concurrency) { port in
    let pool = try #require(
      WorkerPool.create(
        port: port, limits: limits ?? WorkerLimits(concurrency: concurrency), firstIndex: 2,
        server: UnsafeMutableRawPointer(bitPattern: 64), hooks: hooks))
    #expect(pool.start() == 0)
    try body(port, pool)
    pool.stop()
    pool.join()
    #expect((port.activeCount, port.depth, port.waiterCount) == (0, 0, 0))
    #expect(pool.statistics.threads == 0)
    port.close()
    pool.destroy()
  }
}
