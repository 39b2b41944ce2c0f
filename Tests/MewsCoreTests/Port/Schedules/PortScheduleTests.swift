import Testing

@Suite("Completion port: schedules")
struct PortScheduleTests {
  @Test("Whatever threads do, in whatever order: each packet comes once, no slot is lost, nobody oversleeps")
  func anything() {
    ScheduleExploration.expectNoFailure(PortScenario.self, threads: 4, schedules: 12_000)
  }

  @Test("C3: under any schedule, packets are out of reach at the limit, and the active thread goes on without a block")
  func limit() {
    ScheduleExploration.expectNoFailure(LimitExample.self, threads: 4, schedules: 1_000)
  }

  @Test("C4: under any schedule, two quick posts release one thread")
  func quickPosts() {
    ScheduleExploration.expectNoFailure(QuickPostsExample.self, threads: 4, schedules: 1_000)
  }

  @Test("C5: under any schedule, a block releases one thread, and the excess that its end makes is worked off")
  func blocking() {
    ScheduleExploration.expectNoFailure(BlockingExample.self, threads: 4, schedules: 1_000)
  }

  @Test("C8: under any schedule, a wait that ends as a packet comes has it, or another has")
  func timeout() {
    ScheduleExploration.expectNoFailure(TimeoutExample.self, threads: 4, schedules: 1_000)
  }

  @Test("P1: under any schedule, closing abandons all who wait, and what nobody received is left")
  func close() {
    ScheduleExploration.expectNoFailure(CloseExample.self, threads: 4, schedules: 1_000)
    ScheduleExploration.expectNoFailure(CloseLedExample.self, threads: 4, schedules: 1_000)
  }

  @Test("Under any schedule, somebody leads while threads wait, and all that arrives is received")
  func leaders() {
    ScheduleExploration.expectNoFailure(LeaderExample.self, threads: 4, schedules: 1_500)
  }
}
