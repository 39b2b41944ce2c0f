import Foundation
import Testing

@testable import MewsCore

@Suite("Event poll")
struct EventPollTests {
  @Test("Each signal of a wake descriptor is an event, though nobody reads it")
  func wake() throws {
    let poll = try EventPoll.create()
    defer { poll.destroy() }
    let wake = try WakeDescriptor.create()
    defer { wake.destroy() }
    #expect(poll.add(wake.descriptor, data: 42) == 0)
    // A new eventfd is writable.
    #expect(poll.wait(timeoutMilliseconds: 0) == 1)
    for _ in 0..<3 {
      #expect(poll.wait(timeoutMilliseconds: 0) == 0)
      wake.signal()
      #expect(poll.wait(timeoutMilliseconds: 1_000) == 1)
      #expect(poll.event(0).data == 42)
      #expect(poll.event(0).ready & ReadyEvents.readable != 0)
    }
  }

  @Test("Errors are errno values")
  func errors() throws {
    let poll = try EventPoll.create()
    #expect(poll.add(-1, data: 0) == EBADF)
    #expect(poll.delete(-1) == EBADF)
    let wake = try WakeDescriptor.create()
    #expect(poll.delete(wake.descriptor) == ENOENT)
    #expect(poll.add(wake.descriptor, data: 0) == 0)
    #expect(poll.add(wake.descriptor, data: 0) == EEXIST)
    wake.destroy()
    poll.destroy()
    #expect(poll.wait(timeoutMilliseconds: 0) < 0)
  }

  @Test("A signal does not end a wait")
  func interrupted() throws {
    let poll = try EventPoll.create()
    defer { poll.destroy() }
    let wake = try WakeDescriptor.create()
    defer { wake.destroy() }
    #expect(poll.add(wake.descriptor, data: 1) == 0)
    #expect(poll.wait(timeoutMilliseconds: 0) == 1)
    signal(SIGUSR2) { _ in }
    defer { signal(SIGUSR2, SIG_DFL) }
    withThreads(1) { threads in
      let waiter = threads[0].perform { UInt(pthread_self()) }
      nonisolated(unsafe) let shared = poll
      let count = threads[0].begin { shared.wait(timeoutMilliseconds: -1) }
      for _ in 0..<20 {
        pthread_kill(pthread_t(waiter), SIGUSR2)
        usleep(500)
      }
      #expect(!count.isFulfilled)
      wake.signal()
      #expect(count.value == 1)
    }
  }
}
