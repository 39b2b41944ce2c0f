import CMewsShims
import Foundation
import Synchronization
import Testing

@testable import MewsServer

@Suite("The life of a server")
struct ServerLifeTests {
  final class Progress: Sendable {
    let hasBegun = Atomic<Bool>(false)
    let isFreed = Atomic<Bool>(false)
  }

  @Test("It is not freed while a thread of the program is in the middle of waking one of its threads")
  func visitors() throws {
    nonisolated(unsafe) let life = try ServerLife()
    let progress = Progress()
    ServerLife.enter(life.state)
    Thread.detachNewThread {
      progress.hasBegun.store(true, ordering: .releasing)
      life.awaitVisitors()
      progress.isFreed.store(true, ordering: .releasing)
    }
    while !progress.hasBegun.load(ordering: .acquiring) { sched_yield() }
    for _ in 0..<10_000 { sched_yield() }
    let isFreed = progress.isFreed.load(ordering: .acquiring)
    #expect(!isFreed)
    ServerLife.leave(life.state)
    while !progress.isFreed.load(ordering: .acquiring) { sched_yield() }
    life.destroy()
  }
}
