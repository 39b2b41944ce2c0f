import CMewsShims
import Foundation
import Testing

@testable import MewsCore

/// An I/O thread that runs Swift closures, for tests.
private final class ThreadBench: @unchecked Sendable {
  let thread: IOThread
  private let runners: IORunnerPool
  private var isRunning = true

  init() throws {
    thread = try IOThread.create(hooks: IOThreadHooks())
    runners = try makeRunners([thread])
    #expect(runners.start() == 0)
  }

  /// Runs the body on the I/O thread, as a packet's action, and returns what it returns.
  func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
    let pending = Pending<Value>()
    post { pending.fulfil(body()) }
    return pending.value
  }

  /// Has the I/O thread run the body.
  func post(_ body: @escaping @Sendable () -> Void) {
    let packet = PacketPointer.allocate(capacity: 1)
    packet.initialize(
      to: Packet(
        operation: Unmanaged.passRetained(Box(body)).toOpaque(),
        action: { packet in
          guard let operation = packet.pointee.operation else { return }
          packet.deallocate()
          Unmanaged<Box>.fromOpaque(operation).takeRetainedValue().body()
        }))
    thread.post(packet)
  }

  func finish() {
    guard isRunning else { return }
    isRunning = false
    thread.stop()
    runners.join()
    thread.destroy()
    runners.destroy()
  }

  deinit { finish() }

  private final class Box: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}

func makeRunners(
  _ threads: [IOThread], standbys: Int = 0, hooks: IORunnerHooks = IORunnerHooks()
) throws -> IORunnerPool {
  try #require(
    IORunnerPool.create(
      ioThreads: threads, standbys: standbys, firstStandbyIndex: 100, server: nil, hooks: hooks,
      ringFeatures: testedRingFeatures))
}

/// What I/O threads use in tests: rings where MEWS_TEST_IO says `io_uring`, epoll otherwise.
let testedRingFeatures: RingFeatures? =
  ProcessInfo.processInfo.environment["MEWS_TEST_IO"] == "io_uring" ? RingProbe.ofThisProcess.features : nil

/// A node or timer that runs a Swift closure. The address of the first field is the address of the whole.
private struct Work<Node> {
  var node: Node
  var body: @Sendable () -> Void
}

/// An event source with a record of what it was told.
private final class Listener: @unchecked Sendable {
  let source = EventSourcePointer.allocate(capacity: 1)
  let heard = Guarded<[UInt32]>([])
  let onEvents: Guarded<(@Sendable (UInt32) -> Void)?> = Guarded(nil)
  nonisolated(unsafe) static var all: [EventSourcePointer: Listener] = [:]
  static let lock = NSLock()

  init(_ descriptor: Int32) {
    source.initialize(
      to: EventSource(
        descriptor: descriptor,
        onEvents: { source, events in
          guard let listener = Listener.lock.withLock({ Listener.all[source] }) else { return }
          listener.heard.withLock { $0.append(events) }
          listener.onEvents.withLock { $0 }?(events)
        }))
    Listener.lock.withLock { Listener.all[source] = self }
  }

  func forget() {
    Listener.lock.withLock { Listener.all[source] = nil }
    source.deallocate()
  }

  var count: Int { heard.withLock { $0.count } }
}

private func makePair() throws -> (near: Int32, far: Int32) {
  var descriptors: [Int32] = [-1, -1]
  try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &descriptors) == 0)
  return (descriptors[0], descriptors[1])
}

@Suite("I/O thread")
struct IOThreadTests {
  @Test("It has its context and its name, and calls its hooks once each")
  func identity() throws {
    struct Seen: Sendable {
      var starts = 0
      var exits = 0
      var name = ""
      var kind: ThreadContext.Kind?
      var index: UInt32?
    }
    let seen = UnsafeMutablePointer<Seen>.allocate(capacity: 1)
    seen.initialize(to: Seen())
    defer {
      seen.deinitialize(count: 1)
      seen.deallocate()
    }
    let hooks = IOThreadHooks(
      start: { context in
        guard let seen = context?.assumingMemoryBound(to: Seen.self) else { return }
        seen.pointee.starts += 1
        seen.pointee.name = currentThreadName()
        seen.pointee.kind = ThreadContext.current?.pointee.kind
        seen.pointee.index = ThreadContext.current?.pointee.index
      },
      exit: { context in context?.assumingMemoryBound(to: Seen.self).pointee.exits += 1 },
      context: seen)
    let others = [try IOThread.create(hooks: IOThreadHooks()), try IOThread.create(hooks: IOThreadHooks())]
    let thread = try IOThread.create(hooks: hooks)
    let runners = try makeRunners(others + [thread])
    #expect(runners.start() == 0)
    for thread in others { thread.stop() }
    thread.stop()
    thread.stop()
    runners.join()
    for thread in others + [thread] { thread.destroy() }
    runners.destroy()
    #expect((seen.pointee.starts, seen.pointee.exits) == (1, 1))
    #expect(seen.pointee.name == "mews-io-2")
    #expect(seen.pointee.kind == .ioThread && seen.pointee.index == 2)
  }

  @Test("Packets of one poster run in their order, on the thread")
  func packets() throws {
    let bench = try ThreadBench()
    let order = Guarded<[Int]>([])
    for number in 0..<1_000 {
      bench.post { order.withLock { $0.append(ThreadContext.current?.pointee.index == 0 ? number : -1) } }
    }
    bench.perform {}
    #expect(order.withLock { $0 } == Array(0..<1_000))
  }

  @Test("Who posts to a thread that is awake makes no system call")
  func postsToAwakeThread() throws {
    let bench = try ThreadBench()
    // Nobody reads the descriptor otherwise, so the kernel counts the calls.
    let descriptor = bench.thread.state.pointee.wake.descriptor
    func takeWakeCalls() -> UInt64 {
      var count: UInt64 = 0
      return read(descriptor, &count, 8) == 8 ? count : 0
    }
    #expect(
      eventually {
        bench.perform {}
        return takeWakeCalls() > 0
      })
    let isAwake = Pending<Bool>()
    let mayGoOn = DispatchSemaphore(value: 0)
    let ran = Guarded(0)
    bench.post {
      isAwake.fulfil(true)
      mayGoOn.wait()
    }
    #expect(isAwake.value)
    _ = takeWakeCalls()
    for _ in 0..<1_000 { bench.post { ran.withLock { $0 += 1 } } }
    #expect(takeWakeCalls() == 0)
    mayGoOn.signal()
    #expect(eventually { ran.withLock { $0 } == 1_000 })
  }

  @Test("Packets that come when the thread has ended are returned")
  func latePackets() throws {
    let thread = try IOThread.create(hooks: IOThreadHooks())
    let runners = try makeRunners([thread])
    defer { runners.destroy() }
    #expect(runners.start() == 0)
    thread.stop()
    runners.join()
    let packets = PacketPointer.allocate(capacity: 2)
    defer { packets.deallocate() }
    packets.initialize(repeating: Packet(), count: 2)
    thread.post(packets)
    thread.post(packets + 1)
    #expect(thread.destroy() == packets)
    #expect(packets[0].next == packets + 1)
    #expect(packets[1].next == nil)
  }

  @Test("A source hears of readiness once a change, in both directions, and of the peer's end")
  func readiness() throws {
    let bench = try ThreadBench()
    let (near, far) = try makePair()
    let listener = Listener(near)
    let thread = bench.thread
    #expect(bench.perform { thread.add(listener.source) } == 0)
    #expect(eventually { listener.count == 1 })
    #expect(listener.heard.withLock { $0 } == [ReadyEvents.writable])
    #expect(write(far, "x", 1) == 1)
    #expect(eventually { listener.count == 2 })
    // A ring tells what has changed, and epoll what is, too.
    #expect(listener.heard.withLock { $0[1] & ~ReadyEvents.writable } == ReadyEvents.readable)
    close(far)
    let end = ReadyEvents.readable | ReadyEvents.peerClosed | ReadyEvents.hangup
    #expect(eventually { listener.heard.withLock { $0.last.map { $0 & end == end } } ?? false })
    bench.perform { thread.close(listener.source) }
    #expect(fcntl(near, F_GETFD) == -1 && errno == EBADF)
    bench.finish()
    listener.forget()
  }

  @Test("A descriptor that cannot be watched is an errno, and with a ring a failure that is heard of")
  func refusedDescriptor() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let listener = Listener(1_000_000)
    if testedRingFeatures == nil {
      #expect(bench.perform { thread.add(listener.source) } == EBADF)
    } else {
      #expect(bench.perform { thread.add(listener.source) } == 0)
      #expect(eventually { listener.heard.withLock { $0 } == [ReadyEvents.error | ReadyEvents.hangup] })
      bench.perform { listener.source.pointee.descriptor = thread.remove(listener.source) }
    }
    bench.finish()
    listener.forget()
  }

  @Test("A source that is removed in a pass hears nothing more in that pass")
  func staleEvents() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let pairs = try (0..<2).map { _ in try makePair() }
    let listeners = pairs.map { Listener($0.near) }
    // Whichever hears first removes the other, whose event is in the same pass.
    for (own, other) in [(0, 1), (1, 0)] {
      let (mine, theirs) = (listeners[own], listeners[other])
      mine.onEvents.withLock { $0 = { _ in if mine.count == 1 { thread.close(theirs.source) } } }
    }
    // Both are added in one pass, so both are ready in the next.
    let errors = bench.perform { listeners.map { thread.add($0.source) } }
    #expect(errors == [0, 0])
    bench.perform {}
    #expect(eventually { listeners[0].count + listeners[1].count >= 1 })
    bench.perform {}
    #expect(listeners[0].count + listeners[1].count == 1)
    bench.finish()
    for pair in pairs { close(pair.far) }
    for listener in listeners {
      if listener.source.pointee.descriptor >= 0 { close(listener.source.pointee.descriptor) }
      listener.forget()
    }
  }

  @Test("Removing leaves the descriptor open, and a child's copy tells nothing any more")
  func removal() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let (near, far) = try makePair()
    let copy = dup(near)
    let listener = Listener(near)
    #expect(bench.perform { thread.add(listener.source) } == 0)
    #expect(eventually { listener.count == 1 })
    #expect(bench.perform { thread.remove(listener.source) } == near)
    #expect(bench.perform { thread.remove(listener.source) } == -1)
    #expect(fcntl(near, F_GETFD) >= 0)
    close(near)
    #expect(write(far, "x", 1) == 1)
    bench.perform {}
    bench.perform {}
    #expect(listener.count == 1)
    bench.finish()
    close(copy)
    close(far)
    listener.forget()
  }

  @Test("Timers run on time, never early, and not when cancelled")
  func timers() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let timers = UnsafeMutablePointer<Work<MewsCore.Timer>>.allocate(capacity: 2)
    nonisolated(unsafe) let timer = timers
    let ran = Guarded<[UInt64]>([])
    for index in 0..<2 {
      (timers + index).initialize(
        to: Work(node: MewsCore.Timer(action: runTimer)) { ran.withLock { $0.append(thread.now) } })
    }
    let start = bench.perform {
      thread.start(asTimer(timer), deadline: thread.now + 20)
      thread.start(asTimer(timer + 1), deadline: thread.now + 10)
      return thread.cancel(asTimer(timer + 1)) ? thread.now : 0
    }
    #expect(start > 0)
    #expect(eventually { !ran.withLock { $0.isEmpty } })
    #expect(ran.withLock { $0.count } == 1)
    #expect(ran.withLock { $0[0] } >= start + 20)
    bench.finish()
    timers.deinitialize(count: 2)
    timers.deallocate()
  }

  @Test("A pass ends with its end nodes, then the deferred ones; nodes for the next pass come there")
  func passOrder() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let order = Guarded<[String]>([])
    let nodes = UnsafeMutablePointer<Work<PassNode>>.allocate(capacity: 4)
    nonisolated(unsafe) let node = nodes
    let bodies: [@Sendable () -> Void] = [
      {
        order.withLock { $0.append("end") }
        thread.runAtPassEnd(asNode(node + 1))
      },
      { order.withLock { $0.append("end, from an end node") } },
      { order.withLock { $0.append("deferred") } },
      { order.withLock { $0.append("next pass") } },
    ]
    for (index, body) in bodies.enumerated() {
      (nodes + index).initialize(to: Work(node: PassNode(action: runNode), body: body))
    }
    bench.perform {
      thread.runInNextPass(asNode(node + 3))
      thread.deferRelease(asNode(node + 2))
      thread.runAtPassEnd(asNode(node))
      thread.runAtPassEnd(asNode(node))
      order.withLock { $0.append("packet") }
    }
    #expect(eventually { order.withLock { $0.count } == 5 })
    #expect(order.withLock { $0 } == ["packet", "end", "end, from an end node", "deferred", "next pass"])
    bench.finish()
    nodes.deinitialize(count: 4)
    nodes.deallocate()
  }

  @Test("What the last pass puts off to the next one still runs before the thread ends")
  func lastPass() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let order = Guarded<[String]>([])
    let nodes = UnsafeMutablePointer<Work<PassNode>>.allocate(capacity: 2)
    nonisolated(unsafe) let node = nodes
    nodes.initialize(
      to: Work(node: PassNode(action: runNode)) {
        order.withLock { $0.append("put off") }
        thread.deferRelease(asNode(node + 1))
      })
    (nodes + 1).initialize(to: Work(node: PassNode(action: runNode)) { order.withLock { $0.append("deferred") } })
    bench.perform {
      thread.runInNextPass(asNode(node))
      thread.stop()
    }
    bench.finish()
    #expect(order.withLock { $0 } == ["put off", "deferred"])
    nodes.deinitialize(count: 2)
    nodes.deallocate()
  }

  @Test("Work that keeps putting itself off lets everything else have its turn")
  func nextPassIsFair() throws {
    let bench = try ThreadBench()
    let thread = bench.thread
    let nodes = UnsafeMutablePointer<Work<PassNode>>.allocate(capacity: 1)
    nonisolated(unsafe) let node = nodes
    let runs = Guarded(0)
    let isDone = Guarded(false)
    nodes.initialize(
      to: Work(node: PassNode(action: runNode)) {
        runs.withLock { $0 += 1 }
        if !isDone.withLock({ $0 }) { thread.runInNextPass(asNode(node)) }
      })
    bench.perform { thread.runInNextPass(asNode(node)) }
    #expect(eventually { runs.withLock { $0 } > 10 })
    bench.perform { isDone.withLock { $0 = true } }
    bench.finish()
    nodes.deinitialize(count: 1)
    nodes.deallocate()
  }
}

private func asNode(_ work: UnsafeMutablePointer<Work<PassNode>>) -> PassNodePointer {
  UnsafeMutableRawPointer(work).assumingMemoryBound(to: PassNode.self)
}

private func asTimer(_ work: UnsafeMutablePointer<Work<MewsCore.Timer>>) -> TimerPointer {
  UnsafeMutableRawPointer(work).assumingMemoryBound(to: MewsCore.Timer.self)
}

private func runNode(_ node: PassNodePointer) {
  UnsafeMutableRawPointer(node).assumingMemoryBound(to: Work<PassNode>.self).pointee.body()
}

private func runTimer(_ timer: TimerPointer) {
  UnsafeMutableRawPointer(timer).assumingMemoryBound(to: Work<MewsCore.Timer>.self).pointee.body()
}
