import Testing

@testable import MewsCore

/// The lines of the checklist for pipes that do not need a second thread, each by its number.
@Suite("Pipe")
struct PipeTests {
  // MARK: Options and writing

  @Test("2: thresholds: negative ones and a resume above the pause are refused; pause 0 never pauses; resume 0 is 1")
  func thresholds() throws {
    #expect(!Pipe.areThresholdsValid(pause: -1, resume: 0))
    #expect(!Pipe.areThresholdsValid(pause: 10, resume: -1))
    #expect(!Pipe.areThresholdsValid(pause: 10, resume: 11))
    #expect(Pipe.areThresholdsValid(pause: 10, resume: 10))
    #expect(Pipe.areThresholdsValid(pause: 0, resume: 5))
    try withPipe(pause: 0, resume: 0) { pipe, _ in
      #expect(pipe.send(count: 1 << 20) == .flowing)
    }
    try withPipe(pause: 4, resume: 0) { pipe, _ in
      #expect(pipe.send(count: 4) == .paused)
      #expect(pipe.readAndConsume(3) == .done)
      #expect(pipe.readAndConsume(1) == .writerResumed)
    }
    #expect(Pipe.defaultPause == 65_536 && Pipe.defaultResume == 32_768)
  }

  @Test("2: thresholds out of range are brought into it rather than trapping")
  func thresholdsAreClamped() throws {
    try withPipe(pause: Int.min, resume: Int.max) { pipe, _ in
      #expect(pipe.send(count: 100_000) == .flowing)
    }
    try withPipe(pause: 4, resume: 100) { pipe, _ in
      #expect(pipe.send(count: 4) == .paused)
      #expect(pipe.readAndConsume(1) == .writerResumed)
    }
  }

  @Test("4: reserving 0 or less is never empty; after the writer's completion it is nil")
  func reserveZero() throws {
    try withPipe { pipe, _ in
      #expect((pipe.reserve(0)?.count ?? 0) > 0)
      #expect((pipe.reserve(-1)?.count ?? 0) > 0)
      pipe.completeWriter()
      #expect(pipe.reserve(0) == nil)
    }
  }

  @Test("6: advancing beyond the room, below 0 or without room is refused")
  func advanceOutOfRange() throws {
    try withPipe { pipe, _ in
      #expect(!pipe.advance(1))
      let room = try #require(pipe.reserve())
      #expect(!pipe.advance(room.count + 1))
      #expect(!pipe.advance(-1))
      #expect(pipe.pipe.unflushed == 0)
      #expect(pipe.advance(room.count))
      pipe.completeWriter()
      #expect(!pipe.advance(0))
    }
  }

  @Test("7: bytes are invisible until the flush")
  func bytesAreInvisibleUntilFlush() throws {
    try withPipe { pipe, _ in
      #expect(pipe.write([1, 2, 3]) == .accepted)
      #expect(pipe.read().status == .empty)
      #expect(pipe.bytes == [] && pipe.pipe.first.isEmpty && pipe.pipe.count == 0)
      #expect(pipe.flush() == .flowing)
      let read = pipe.read()
      #expect(read.status == .ready && read.count == 3 && pipe.bytes == [1, 2, 3])
      #expect(pipe.write([4]) == .accepted)
      #expect(pipe.bytes == [1, 2, 3] && Array(pipe.pipe.first) == [1, 2, 3])
    }
  }

  @Test("7: completing the writer makes bytes visible that were not flushed")
  func completionCommits() throws {
    try withPipe { pipe, _ in
      #expect(pipe.write([1, 2, 3]) == .accepted)
      pipe.completeWriter()
      let read = pipe.read()
      #expect(read.count == 3 && read.isCompleted && pipe.bytes == [1, 2, 3])
    }
  }

  @Test("8: the count of unflushed bytes is exact, and 0 after a flush")
  func unflushedIsExact() throws {
    try withPipe { pipe, _ in
      #expect(pipe.pipe.unflushed == 0)
      _ = try #require(pipe.reserve())
      #expect(pipe.pipe.unflushed == 0)
      #expect(pipe.advance(5))
      #expect(pipe.write(count: 5000) == .accepted)
      #expect(pipe.pipe.unflushed == 5005)
      #expect(pipe.flush() == .flowing)
      #expect(pipe.pipe.unflushed == 0)
      #expect(pipe.write(count: 2) == .accepted)
      #expect(pipe.readAndConsume(5005) == .done)
      #expect(pipe.pipe.unflushed == 2)
    }
  }

  @Test("10: after the reader's completion advancing drops, flushing says so, and appending rents nothing")
  func writingAfterReaderCompletion() throws {
    try withPipe { pipe, pool in
      pipe.completeReader(error: 7)
      #expect(pipe.write(count: 100_000) == .dropped)
      #expect(pool.statistics.rented == 0)
      _ = try #require(pipe.reserve())
      #expect(pipe.advance(10))
      #expect(pipe.pipe.unflushed == 0)
      #expect(pipe.flush() == .readerCompleted)
      #expect(pipe.pipe.readerError == 7)
    }
  }

  @Test("10: after the reader's completion a loop of reserve and advance keeps exactly one block")
  func reserveLoopAfterReaderCompletion() throws {
    try withPipe { pipe, pool in
      pipe.completeReader()
      for _ in 0..<100 {
        let room = try #require(pipe.reserve(4096))
        #expect(room.count == 4096)
        #expect(pipe.advance(4096))
        #expect(pool.statistics.rented == 1)
      }
    }
  }

  @Test("10: blocks and chains that come too late are released, exactly once")
  func lateBlocksAreReleased() throws {
    try withPipe { pipe, pool in
      var calls = 0
      try withUnsafeMutablePointer(to: &calls) { calls in
        pipe.completeReader()
        let block = try #require(pipe.cache.rentExternal(calls, 1, release: countCall, context: calls))
        #expect(pipe.append(block) == .dropped)
        #expect(calls.pointee == 1)
        pipe.completeWriter()
        let another = try #require(pipe.cache.rentExternal(calls, 1, release: countCall, context: calls))
        #expect(pipe.append(another) == .misused)
        #expect(calls.pointee == 2)
      }
      let chain = ChainBox(pipe.cache)
      #expect(chain.append(pattern(5000)))
      #expect(pipe.append(contentsOf: chain) == .misused)
      #expect(pool.statistics.rented == 0 && chain.count == 0)
    }
  }

  // MARK: Flushing and backpressure

  @Test("11: the writer is paused at the threshold and resumed strictly below the other")
  func pauseAndResume() throws {
    try withPipe(pause: 64, resume: 32) { pipe, _ in
      #expect(pipe.send(count: 63) == .flowing)
      #expect(pipe.send(count: 1) == .paused)
      #expect(pipe.pipe.isPaused)
      #expect(pipe.readAndConsume(32) == .done)
      #expect(pipe.pipe.isPaused && pipe.flush() == .paused)
      #expect(pipe.readAndConsume(1) == .writerResumed)
      #expect(!pipe.pipe.isPaused && pipe.flush() == .flowing)
    }
  }

  @Test("11: between the thresholds a writer that was not paused goes on")
  func betweenThresholds() throws {
    try withPipe(pause: 64, resume: 32) { pipe, _ in
      #expect(pipe.send(count: 40) == .flowing)
      #expect(pipe.readAndConsume(20) == .done)
      #expect(pipe.send(count: 43) == .flowing)
      #expect(pipe.send(count: 1) == .paused)
    }
  }

  @Test("12: examining releases the writer, even when nothing is consumed")
  func examiningResumes() throws {
    try withPipe(pause: 64, resume: 32) { pipe, _ in
      #expect(pipe.send(count: 64) == .paused)
      #expect(pipe.read().count == 64)
      #expect(pipe.advance(consumed: 0, examined: 64) == .writerResumed)
      #expect(pipe.pipe.unexamined == 0 && pipe.pipe.count == 64)
      #expect(pipe.send(count: 63) == .flowing)
      #expect(pipe.send(count: 1) == .paused)
      #expect(pipe.pipe.count == 128)
    }
  }

  @Test("13: each further flush over the threshold pauses again")
  func furtherFlushesPause() throws {
    try withPipe(pause: 64, resume: 32) { pipe, _ in
      #expect(pipe.send(count: 64) == .paused)
      #expect(pipe.send(count: 1) == .paused)
      pipe.pipe.cancelFlush()
      #expect(pipe.flush() == .canceled)
      #expect(pipe.send(count: 1) == .paused)
    }
  }

  @Test("14: an empty flush never wakes the reader")
  func emptyFlush() throws {
    try withPipe { pipe, _ in
      #expect(pipe.flush() == .flowing)
      #expect(!pipe.pipe.isReadable && pipe.read().status == .empty)
      #expect(pipe.send(count: 3) == .flowing)
      #expect(pipe.read().count == 3)
      #expect(pipe.advance(consumed: 0, examined: 3) == .done)
      #expect(pipe.flush() == .flowing)
      #expect(!pipe.pipe.isReadable && pipe.read().status == .empty)
    }
  }

  @Test("15: a writer is not paused when the reader is done, nor left paused by its completion")
  func noPauseAfterReaderCompletion() throws {
    try withPipe(pause: 4, resume: 2) { pipe, _ in
      #expect(pipe.send(count: 4) == .paused)
      pipe.completeReader()
      #expect(!pipe.pipe.isPaused)
      #expect(pipe.send(count: 100) == .readerCompleted)
      #expect(!pipe.pipe.isPaused)
    }
  }

  @Test("A flush after the writer's completion is misuse")
  func flushAfterCompletion() throws {
    try withPipe { pipe, _ in
      pipe.completeWriter()
      #expect(pipe.flush() == .misused)
      #expect(pipe.write([1]) == .misused)
    }
  }

  @Test("At the pool's limit appending says so and what was written stays")
  func limitIsAnswered() throws {
    try withPipe(limit: 2 * 4096) { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      #expect(pipe.write(count: 9000) == .noMemory)
      #expect(pipe.pipe.unflushed == 0 && pipe.pipe.count == 10)
      #expect(pipe.reserve(9000) == nil)
    }
  }
}
