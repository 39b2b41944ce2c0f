import Testing

/// Threads that start, cancel, close, connect and wait at random: every start that is not refused has one packet, with
/// the key of its handle and data that nobody else has; nobody oversleeps; and somebody leads while threads wait.
@Suite("Operations: schedules")
struct BackendScheduleTests {
  @Test("In memory, whatever threads do in whatever order: each operation completes once")
  func memory() {
    ScheduleExploration.expectNoFailure(BackendScenario<MemoryBackend>.self, threads: 4, schedules: 3_000)
  }

  @Test("Over epoll, whatever threads do in whatever order: each operation completes once")
  func epoll() {
    ScheduleExploration.expectNoFailure(BackendScenario<EpollBackend>.self, threads: 4, schedules: 1_500)
  }

  @Test("Over io_uring, whatever threads do in whatever order: each operation completes once", .ring)
  func ring() {
    ScheduleExploration.expectNoFailure(BackendScenario<ScheduledRingBackend>.self, threads: 5, schedules: 1_500)
  }

  @Test("Under any schedule, a timer that is started beside the leader's wait ends it in time")
  func timers() {
    ScheduleExploration.expectNoFailure(TimerExample<MemoryBackend>.self, threads: 3, schedules: 500)
    ScheduleExploration.expectNoFailure(TimerExample<EpollBackend>.self, threads: 3, schedules: 500)
  }

  @Test("Under any schedule, a shutdown leaves no handle open and no operation without its packet")
  func shutdown() {
    ScheduleExploration.expectNoFailure(ShutdownExample<MemoryBackend>.self, threads: 4, schedules: 500)
    ScheduleExploration.expectNoFailure(ShutdownExample<EpollBackend>.self, threads: 4, schedules: 500)
  }

  @Test("Under any schedule, the shutdown of a port with a ring waits for what the ring has", .ring)
  func ringShutdown() {
    ScheduleExploration.expectNoFailure(ShutdownExample<ScheduledRingBackend>.self, threads: 5, schedules: 500)
  }
}
