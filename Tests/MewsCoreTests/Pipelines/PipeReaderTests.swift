import Testing

@testable import MewsCore

@Suite("Pipe, reader's side and completion")
struct PipeReaderTests {
  // MARK: Reading and advancing

  @Test("17: each completed read needs one advance: a second read before it is misuse")
  func secondReadIsMisuse() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 3) == .flowing)
      #expect(pipe.read().status == .ready)
      #expect(pipe.read().status == .misused)
      #expect(pipe.consume(1) == .misused)
      #expect(pipe.advance(consumed: 1, examined: 1) == .done)
      #expect(pipe.read().count == 2)
    }
  }

  @Test("17: a canceled read may be followed by a read without an advance, or be answered")
  func canceledReadNeedsNoAdvance() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 3) == .flowing)
      pipe.pipe.cancelRead()
      #expect(pipe.read().isCanceled)
      #expect(pipe.read().status == .ready)
      #expect(pipe.advance(consumed: 1, examined: 1) == .done)
      pipe.pipe.cancelRead()
      #expect(pipe.read().isCanceled)
      #expect(pipe.advance(consumed: 1, examined: 1) == .done)
      #expect(pipe.pipe.count == 1)
    }
  }

  @Test("18: a read is ready on bytes, on completion and on cancellation; an empty one may be answered with nothing")
  func readiness() throws {
    try withPipe { pipe, _ in
      #expect(pipe.read().status == .empty)
      #expect(pipe.advance(consumed: 0, examined: 0) == .done)
      #expect(pipe.read().status == .empty)
      #expect(pipe.read().status == .empty)
      #expect(pipe.advance(consumed: 0, examined: 1) == .misused)
      pipe.pipe.cancelRead()
      #expect(pipe.read().status == .ready)
      #expect(pipe.send(count: 1) == .flowing)
      #expect(pipe.readAndConsume(1) == .done)
      pipe.completeWriter()
      #expect(pipe.read().status == .ready)
    }
  }

  @Test("19: counts out of order or out of range, and an advance without a read, are misuse and change nothing")
  func advanceOutOfOrder() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      #expect(pipe.advance(consumed: 0, examined: 0) == .misused)
      #expect(pipe.read().count == 10)
      #expect(pipe.advance(consumed: 2, examined: 1) == .misused)
      #expect(pipe.advance(consumed: -1, examined: 1) == .misused)
      #expect(pipe.advance(consumed: 0, examined: 11) == .misused)
      #expect(pipe.send(count: 5) == .flowing)
      #expect(pipe.advance(consumed: 0, examined: 11) == .misused, "the read has shown 10")
      #expect(pipe.advance(consumed: 4, examined: 10) == .done)
      #expect(pipe.advance(consumed: 0, examined: 0) == .misused)
      #expect(pipe.pipe.count == 11 && pipe.pipe.unexamined == 5)
    }
  }

  @Test("19: what was examined cannot be taken back; nothing at all leaves it as it was")
  func examinedMovesForward() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      #expect(pipe.read().count == 10)
      #expect(pipe.advance(consumed: 2, examined: 8) == .done)
      #expect(pipe.read().count == 8)
      #expect(pipe.advance(consumed: 1, examined: 5) == .misused)
      #expect(pipe.advance(consumed: 0, examined: 0) == .done)
      #expect(pipe.pipe.unexamined == 2 && pipe.pipe.count == 8)
      #expect(pipe.read().count == 8)
      #expect(pipe.advance(consumed: 6, examined: 6) == .done)
    }
  }

  @Test("20: with everything examined the next read waits; otherwise it is ready at once")
  func examinedToTheEndWaits() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      #expect(pipe.read().count == 10)
      #expect(pipe.advance(consumed: 0, examined: 9) == .done)
      #expect(pipe.pipe.isReadable && pipe.read().count == 10)
      #expect(pipe.advance(consumed: 3, examined: 10) == .done)
      #expect(!pipe.pipe.isReadable && pipe.read().status == .empty)
      #expect(pipe.send(count: 1) == .flowing)
      #expect(pipe.pipe.isReadable && pipe.read().count == 8)
      #expect(pipe.advance(consumed: 0, examined: 8) == .done)
      pipe.completeWriter()
      let read = pipe.read()
      #expect(read.status == .ready && read.count == 8 && read.isCompleted)
    }
  }

  @Test("21: consuming exactly to the end of a block goes on at the start of the next, also in a block used before")
  func blockBoundaries() throws {
    try withPipe(pause: 0) { pipe, _ in
      var written = 0
      var read = 0
      for _ in 0..<50 {
        #expect(pipe.write(pattern(4096 * 2, from: written)) == .accepted)
        #expect(pipe.flush() == .flowing)
        written += 4096 * 2
        #expect(pipe.readAndConsume(4096) == .done)
        read += 4096
        #expect(pipe.bytes == pattern(written - read, from: read))
        #expect(pipe.readAndConsume(4096) == .done)
        read += 4096
      }
      #expect(pipe.pipe.count == 0 && pipe.pipe.holdsNoBlock)
    }
  }

  @Test("22: consuming everything returns all blocks")
  func fullConsumptionReturnsBlocks() throws {
    try withPipe { pipe, pool in
      #expect(pipe.send(count: 20_000) == .flowing)
      #expect(pipe.readAndConsume(20_000) == .done)
      #expect(pool.statistics.rented == 0)
    }
  }

  @Test("22: consuming everything leaves the writer the block in which it has reserved room or unflushed bytes")
  func writersBlockStays() throws {
    try withPipe { pipe, pool in
      #expect(pipe.send(count: 5000) == .flowing)
      let room = try #require(pipe.reserve())
      #expect(pipe.readAndConsume(5000) == .done)
      #expect(pool.statistics.rented == 1)
      room.copyBytes(from: [1, 2, 3])
      #expect(pipe.advance(3))
      #expect(pool.statistics.rented == 1)
      #expect(pipe.flush() == .flowing)
      #expect(pipe.bytes == [1, 2, 3])
      #expect(pipe.write([4]) == .accepted)
      #expect(pipe.readAndConsume(3) == .done)
      #expect(pool.statistics.rented == 1 && pipe.pipe.unflushed == 1)
      #expect(pipe.flush() == .flowing)
      #expect(pipe.readAndConsume(1) == .done)
      #expect(pool.statistics.rented == 0)
    }
  }

  // MARK: Completion

  @Test("24: completing again does nothing; the first error counts, a clean end too")
  func completionIsIdempotent() throws {
    try withPipe { pipe, pool in
      #expect(pipe.send(count: 10) == .flowing)
      pipe.completeWriter(error: 5)
      pipe.completeWriter(error: 6)
      pipe.completeWriter()
      pipe.completeReader()
      pipe.completeReader(error: 8)
      #expect(pipe.pipe.writerError == 5 && pipe.pipe.readerError == 0)
      #expect(pool.statistics.rented == 0)
      #expect(pool.misuseCount == 0)
    }
  }

  @Test("25: each read after the writer's error fails with it, even when bytes are left")
  func writerErrorFailsReads() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      pipe.completeWriter(error: -11)
      for _ in 0..<3 {
        let read = pipe.read()
        #expect(read.status == .failed && read.error == -11 && read.count == 0 && read.isCompleted)
      }
      #expect(pipe.advance(consumed: 0, examined: 0) == .misused)
    }
  }

  @Test("25: each flush after the reader's error says that the reader is done, with its error")
  func readerErrorEndsFlushes() throws {
    try withPipe { pipe, _ in
      pipe.completeReader(error: 104)
      for _ in 0..<3 {
        #expect(pipe.write([1]) == .dropped)
        #expect(pipe.flush() == .readerCompleted)
        #expect(pipe.pipe.readerError == 104)
      }
    }
  }

  @Test("26: after a clean end the bytes are delivered with isCompleted, again and again")
  func cleanCompletionDelivers() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      pipe.completeWriter()
      for consumed in [0, 4, 6] {
        let read = pipe.read()
        #expect(read.status == .ready && read.isCompleted && read.error == 0)
        #expect(pipe.advance(consumed: consumed, examined: read.count) == .done)
      }
      for _ in 0..<3 {
        let read = pipe.read()
        #expect(read.status == .ready && read.isCompleted && read.count == 0)
        #expect(pipe.advance(consumed: 0, examined: 0) == .done)
      }
    }
  }

  @Test("27: blocks go back only when both sides are done, whichever is first")
  func blocksGoBackLast() throws {
    try withPipe { pipe, pool in
      #expect(pipe.send(count: 10) == .flowing)
      pipe.completeWriter()
      #expect(pool.statistics.rented == 1)
      pipe.completeReader()
      #expect(pool.statistics.rented == 0)
      #expect(pipe.read().status == .misused && pipe.bytes == [])
    }
    try withPipe { pipe, pool in
      #expect(pipe.send(count: 10) == .flowing)
      _ = try #require(pipe.reserve())
      pipe.completeReader()
      #expect(pool.statistics.rented == 1)
      #expect(pipe.advance(10))
      pipe.completeWriter()
      #expect(pool.statistics.rented == 0)
    }
  }

  @Test("27: completing the writer with reserved room and no bytes leaves no block behind")
  func completionGivesReservationUp() throws {
    try withPipe { pipe, pool in
      _ = try #require(pipe.reserve())
      pipe.completeWriter()
      #expect(pool.statistics.rented == 0)
    }
  }

  @Test("A read and an advance after the reader's completion are misuse")
  func readingAfterCompletion() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 10) == .flowing)
      #expect(pipe.read().status == .ready)
      pipe.completeReader()
      #expect(pipe.advance(consumed: 0, examined: 0) == .misused)
      #expect(pipe.read().status == .misused)
      #expect(pipe.consume(0) == .misused)
    }
  }

  // MARK: Cancellation

  @Test("30: cancelRead shows once, sticks until the next read, hides no bytes, and the read after it is normal")
  func cancelRead() throws {
    try withPipe { pipe, _ in
      #expect(pipe.send(count: 3) == .flowing)
      pipe.pipe.cancelRead()
      pipe.pipe.cancelRead()
      #expect(pipe.pipe.isReadable)
      let canceled = pipe.read()
      #expect(canceled.status == .ready && canceled.isCanceled && canceled.count == 3)
      let normal = pipe.read()
      #expect(normal.status == .ready && !normal.isCanceled && normal.count == 3)
    }
  }

  @Test("30: cancelFlush shows once, sticks until the next flush, and the bytes are committed all the same")
  func cancelFlush() throws {
    try withPipe { pipe, _ in
      pipe.pipe.cancelFlush()
      pipe.pipe.cancelFlush()
      #expect(pipe.write([1, 2]) == .accepted)
      #expect(pipe.flush() == .canceled)
      #expect(pipe.bytes == [1, 2])
      #expect(pipe.flush() == .flowing)
    }
  }

  // MARK: The transport's way

  @Test("consume drops what was sent, and lets a paused writer go on")
  func transportConsumes() throws {
    try withPipe(pause: 64, resume: 32) { pipe, _ in
      #expect(pipe.send(count: 64) == .paused)
      #expect(pipe.write([9]) == .accepted)
      #expect(pipe.consume(65) == .misused)
      #expect(pipe.consume(-1) == .misused)
      #expect(pipe.consume(32) == .done)
      #expect(pipe.consume(32) == .writerResumed)
      #expect(pipe.pipe.count == 0 && pipe.pipe.unflushed == 1)
    }
  }

  @Test("coalesce joins visible bytes only, and not while the writer has room reserved")
  func coalesceKeepsToVisibleBytes() throws {
    try withPipe { pipe, _ in
      #expect(pipe.write(pattern(5000)) == .accepted)
      #expect(pipe.flush() == .flowing)
      #expect(pipe.write(pattern(100, from: 5000)) == .accepted)
      #expect(!pipe.coalesce(5001, room: 0))
      #expect(pipe.read().count == 5000)
      #expect(pipe.coalesce(5000, room: 0))
      #expect(Array(pipe.pipe.first) == pattern(5000))
      #expect(pipe.advance(consumed: 0, examined: 5000) == .done)
      _ = try #require(pipe.reserve())
      #expect(!pipe.coalesce(1, room: 0))
      #expect(pipe.advance(0))
      #expect(pipe.flush() == .flowing)
      #expect(pipe.bytes == pattern(5100))
    }
  }
}
