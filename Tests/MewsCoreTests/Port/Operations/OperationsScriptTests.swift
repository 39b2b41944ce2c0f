import MewsCore
import Testing

/// One random script of operations on two backends. After each step, what the calls answered and the packets are
/// compared, data included.
///
/// Another backend is compared by a test of one line, when it conforms to `OperationBackend`.
@Suite("Operations: random scripts", .serialized)
struct OperationsScriptTests {
  @Test("Memory and epoll over sockets give the same packets for the same script", arguments: 1...60)
  func epoll(seed: UInt64) throws { try compare(MemoryBackend.self, EpollBackend.self, seed: seed) }

  @Test("Memory and io_uring over sockets give the same packets for the same script", .ring, arguments: 1...60)
  func ring(seed: UInt64) throws { try compare(MemoryBackend.self, RingBackend.self, seed: seed) }

  @Test("A ring that is too small gives the same packets", .ring, arguments: 101...130)
  func tinyRing(seed: UInt64) throws { try compare(MemoryBackend.self, TinyRingBackend.self, seed: seed) }

  @Test("A ring that only polls gives the same packets", .ring, arguments: 201...230)
  func pollingRing(seed: UInt64) throws { try compare(MemoryBackend.self, PollingRingBackend.self, seed: seed) }

  /// Runs a script of 300 steps on both, and closes everything.
  private func compare<Expected: OperationBackend, Actual: OperationBackend>(
    _: Expected.Type, _: Actual.Type, seed: UInt64
  ) throws {
    let clock = TestClock(now: Scheduler.startOfTime)
    try clock.run {
      var random = RandomSource(seed: seed)
      var expected = BackendScript(backend: try Expected.create(concurrency: 1))
      var actual = BackendScript(backend: try Actual.create(concurrency: 1))
      func compare(_ step: ScriptStep, _ what: @autoclosure () -> String) throws {
        let answers = expected.perform(step)
        let packets = expected.packets(atLeast: 0)
        try #require(actual.perform(step) == answers, "seed \(seed), \(what()): \(step)")
        try #require(actual.packets(atLeast: packets.count) == packets, "seed \(seed), \(what()): \(step)")
      }
      for number in 0..<300 {
        let step = ScriptStep.random(&random, endCount: expected.endCount)
        if case .passTime(let milliseconds) = step { clock.advance(milliseconds: milliseconds) }
        try compare(step, "step \(number)")
      }
      for step in expected.closingSteps { try compare(step, "the end") }
      #expect(actual.reuses > 0 && actual.endCount == expected.endCount, "descriptors are to be used again")
      // Timers are left.
      #expect(actual.shutdown() == expected.shutdown())
    }
  }
}
