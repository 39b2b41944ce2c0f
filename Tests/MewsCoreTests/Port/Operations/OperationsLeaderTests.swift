import Foundation
import MewsCore
import Testing

@Suite("Operations: leader and followers")
struct OperationsLeaderTests {
  @Test("C1: the leader is a waiter like any other: posts reach those that came after it first")
  func leaderInOrder() throws {
    try withOperationPort(concurrency: 2) { port in
      withThreads(2) { threads in
        let leader = park(threads[0], port)
        let follower = park(threads[1], port)
        #expect(port.post(key: 3, bytes: 0, operation: nil) == .done)
        #expect(port.post(key: 4, bytes: 0, operation: nil) == .done)
        #expect((follower.value, leader.value) == (3, 4))
        leave(threads, port)
      }
    }
  }

  @Test("C3: at the limit, the leader goes on with input and output, and takes no packet")
  func leaderRespectsLimit() throws {
    try withOperationPort(concurrency: 1) { port in
      withThreads(2) { threads in
        #expect(port.post(key: 1, bytes: 0, operation: nil) == .done)
        #expect(threads[0].perform { port.await()?.key } == 1)
        let (ours, theirs) = socketPair()
        defer { close(theirs) }
        let handle = port.handle(ours, key: 2)
        #expect(port.receive(handle, TestOperation()) == .pending)
        let leader = park(threads[1], port)
        write("x", to: theirs)
        #expect(eventually { port.port.depth == 1 })
        #expect(!leader.isFulfilled && port.port.waiterCount == 1)
        // The busy thread's next wait takes it, without a switch.
        #expect(threads[0].perform { port.next()?.key } == 2)
        threads[0].perform { port.port.leave() }
        #expect(port.post(key: 3, bytes: 0, operation: nil) == .done)
        #expect(leader.value == 3)
        leave(threads, port)
      }
    }
  }

  @Test("The leader takes what it finds itself; then another waiter drives input and output")
  func successor() throws {
    try withOperationPort(concurrency: 4) { port in
      withThreads(3) { threads in
        let (ours, theirs) = socketPair()
        defer { close(theirs) }
        let handle = port.handle(ours)
        let operations = (0..<3).map { _ in TestOperation(capacity: 1) }
        for operation in operations { #expect(port.receive(handle, operation) == .pending) }
        let waits = threads.map { park($0, port) }
        // The first is the leader, and its successors are those that have waited longest.
        for index in 0..<3 {
          write("x", to: theirs)
          #expect(waits[index].value == 7)
          #expect(port.port.waiterCount == 2 - index)
        }
        leave(threads, port)
      }
    }
  }

  @Test("C8: a leader whose time is over hands over, and its successor hears of input and output")
  func leaderTimesOut() throws {
    try withOperationPort(concurrency: 2) { port in
      withThreads(2) { threads in
        let (ours, theirs) = socketPair()
        defer { close(theirs) }
        let handle = port.handle(ours)
        let operation = TestOperation()
        #expect(port.receive(handle, operation) == .pending)
        let leader = threads[0].begin { port.next(milliseconds: 20)?.key }
        #expect(eventually { port.port.waiterCount == 1 })
        let follower = park(threads[1], port)
        #expect(leader.value == nil)
        write("x", to: theirs)
        #expect(follower.value == 7)
        leave(threads, port)
      }
    }
  }

  @Test("Posts that never end do not keep input and output out")
  func postsDoNotStarve() throws {
    try withOperationPort { port in
      let (ours, theirs) = socketPair()
      defer { close(theirs) }
      let handle = port.handle(ours, key: 2)
      #expect(port.receive(handle, TestOperation()) == .pending)
      write("x", to: theirs)
      var taken = 0
      repeat {
        #expect(port.post(key: 1, bytes: 0, operation: nil) == .done)
        taken += 1
      } while port.next()?.key == 1 && taken < 1000
      #expect(taken < 1000)
      #expect(port.next()?.key == 1)
    }
  }

  @Test("Q4: one wait takes what is there, and the limit does not matter to its batch")
  func batch() throws {
    try withOperationPort { port in
      for key in 1...5 { #expect(port.post(key: UInt(key), bytes: UInt(key) * 2, operation: nil) == .done) }
      let packets = UnsafeMutablePointer<PortPacket>.allocate(capacity: 4)
      packets.initialize(repeating: PortPacket(), count: 4)
      defer { packets.deallocate() }
      var count = 9
      #expect(port.get(into: packets, capacity: 0, timeoutNanoseconds: 0, count: &count) == .invalidArgument)
      #expect(count == 0)
      #expect(port.get(into: packets, capacity: 4, timeoutNanoseconds: -1, count: &count) == .packets)
      #expect((0..<count).map { packets[$0].key } == [1, 2, 3, 4])
      #expect((0..<count).map { packets[$0].bytes } == [2, 4, 6, 8])
      #expect(port.get(into: packets, capacity: 4, timeoutNanoseconds: -1, count: &count) == .packets)
      #expect(count == 1 && packets[0].key == 5)
      #expect(port.get(into: packets, capacity: 4, timeoutNanoseconds: 0, count: &count) == .timedOut)
    }
  }

  /// Begins a wait on the thread, and returns when it is among the waiters. The value is the packet's key.
  private func park(_ thread: TestThread, _ port: OperationPort) -> Pending<UInt64?> {
    let waiters = port.port.waiterCount
    let pending = thread.begin { port.await()?.key }
    while port.port.waiterCount == waiters && !pending.isFulfilled { usleep(100) }
    return pending
  }

  private func leave(_ threads: [TestThread], _ port: OperationPort) {
    for thread in threads { thread.perform { port.port.leave() } }
  }

  @Test("Signals do not make a wait, or a timer, last longer", arguments: [1_000, 40_000])
  func signalsWhileWaiting(intervalMicroseconds: UInt32) throws {
    signal(SIGUSR1) { _ in }
    defer { signal(SIGUSR1, SIG_DFL) }
    try withOperationPort { port in
      withThreads(1) { threads in
        let waiter = threads[0].perform { UInt(pthread_self()) }
        for usesTimer in [false, true] {
          let timer = TestOperation()
          if usesTimer { #expect(port.timer(timer.pointer, delay: 100, key: 1) == .pending) }
          let wait = threads[0].begin { port.next(milliseconds: usesTimer ? 60_000 : 100)?.key }
          var signals = 0
          // Each signal would start a wait of 100 ms anew, were the clock not looked at: far more come than fit.
          while !wait.isFulfilled && signals < 100_000 / Int(intervalMicroseconds) * 20 {
            pthread_kill(pthread_t(waiter), SIGUSR1)
            usleep(intervalMicroseconds)
            signals += 1
          }
          #expect(wait.isFulfilled, "signals kept it waiting")
          #expect((wait.value != nil) == usesTimer)
        }
        threads[0].perform { port.port.leave() }
      }
    }
  }
}
