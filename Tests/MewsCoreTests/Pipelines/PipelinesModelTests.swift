import Testing

@testable import MewsCore

/// Random operations against a model that is an array of bytes and a few counts. The numbers are the same at each run.
@Suite("Pipelines against a model")
struct PipelinesModelTests {
  static let steps = 100_000

  @Test("A chain does what an array of bytes would", arguments: [1, 2] as [UInt64])
  func chainAgainstArray(seed: UInt64) throws {
    try withPool { pool, cache in
      let chain = ChainBox(cache)
      let other = ChainBox(cache)
      var generator = SeededGenerator(seed: seed)
      var model: [UInt8] = []
      var written = 0
      for step in 0..<PipelinesModelTests.steps {
        let size = Int.random(in: 0...3, using: &generator) == 0 ? 9000 : 300
        let count = Int.random(in: 0...size, using: &generator)
        switch Int.random(in: 0..<9, using: &generator) {
        case 0, 1:
          #expect(chain.append(pattern(count, from: written)))
          model += pattern(count, from: written)
          written += count
        case 2:
          #expect(chain.write(pattern(count, from: written)))
          model += pattern(count, from: written)
          written += count
        case 3:
          #expect(other.append(pattern(count, from: written)))
          chain.append(contentsOf: other)
          model += pattern(count, from: written)
          written += count
        case 4:
          let part = min(count, model.count)
          #expect(chain.coalesce(part, room: count / 2))
          #expect(Array(chain.chain.first.prefix(part)) == Array(model.prefix(part)))
        case 5:
          _ = chain.reserve(count)
          if Bool.random(using: &generator) { chain.cancelReservation() }
        default:
          let part = min(count &* 2, model.count)
          chain.consume(part)
          model.removeFirst(part)
        }
        try #require(chain.count == model.count, "step \(step)")
        if step % 50 == 0 { try #require(chain.bytes == model, "step \(step)") }
        if model.isEmpty, chain.chain.reservedCount == 0 {
          chain.consume(0)
          try #require(pool.statistics.rented == 0 && pool.statistics.large == 0, "step \(step)")
        }
      }
      chain.removeAll()
    }
  }

  @Test("A pipe does what its rules say", arguments: [3, 4] as [UInt64])
  func pipeAgainstModel(seed: UInt64) throws {
    try withPool { _, cache in
      let pipe = PipeBox(cache, pause: 10_000, resume: 5000)
      var model = PipeModel(pause: 10_000, resume: 5000)
      var generator = SeededGenerator(seed: seed)
      for step in 0..<PipelinesModelTests.steps {
        let count = Int.random(in: 0...(Int.random(in: 0...3, using: &generator) == 0 ? 9000 : 300), using: &generator)
        switch Int.random(in: 0..<10, using: &generator) {
        case 0:
          #expect(pipe.write(model.take(count)) == .accepted)
        case 1:
          let room = try #require(pipe.reserve(count))
          let part = Int.random(in: 0...min(room.count, max(count, 1)), using: &generator)
          room.copyBytes(from: model.take(part))
          #expect(pipe.advance(part))
        case 2, 3: try #require(pipe.flush() == model.flush(), "step \(step)")
        case 4:
          pipe.pipe.cancelRead()
          model.readCanceled = true
        case 5:
          pipe.pipe.cancelFlush()
          model.flushCanceled = true
        default:
          let read = pipe.read()
          let expected = model.read()
          try #require(read.status == expected.status && read.count == expected.count, "step \(step)")
          try #require(read.isCanceled == expected.isCanceled, "step \(step)")
          if read.status == .ready { try #require(pipe.bytes == model.visibleBytes, "step \(step)") }
          // Also counts that are out of range now and then: both must refuse the same ones.
          let examined = Int.random(in: 0...(read.count + 1), using: &generator)
          let consumed = Int.random(in: 0...examined, using: &generator)
          try #require(
            pipe.advance(consumed: consumed, examined: examined) == model.advance(consumed, examined), "step \(step)")
          _ = pipe.advance(consumed: read.count, examined: read.count)
          _ = model.advance(read.count, read.count)
        }
        try #require(pipe.pipe.count == model.visible && pipe.pipe.unflushed == model.bytes.count - model.visible)
        try #require(pipe.pipe.isPaused == model.paused && pipe.pipe.isReadable == model.isReadable)
      }
      pipe.complete()
    }
  }
}

/// The rules of a pipe, written for being read.
private struct PipeModel {
  let pause: Int
  let resume: Int
  var bytes: [UInt8] = []
  var visible = 0
  var examined = 0
  var shown: Int?
  var mustAnswer = false
  var paused = false
  var readCanceled = false
  var flushCanceled = false
  var written = 0

  init(pause: Int, resume: Int) {
    self.pause = pause
    self.resume = resume
  }

  var visibleBytes: [UInt8] { Array(bytes.prefix(visible)) }
  var isReadable: Bool { visible > examined || readCanceled }

  /// The next bytes to write.
  mutating func take(_ count: Int) -> [UInt8] {
    let taken = pattern(count, from: written)
    bytes += taken
    written += count
    return taken
  }

  mutating func flush() -> FlushResult {
    visible = bytes.count
    if visible - examined >= pause { paused = true }
    defer { flushCanceled = false }
    return flushCanceled ? .canceled : paused ? .paused : .flowing
  }

  mutating func read() -> (status: ReadResult.Status, count: Int, isCanceled: Bool) {
    if mustAnswer { return (.misused, 0, false) }
    let canceled = readCanceled
    readCanceled = false
    let ready = canceled || visible > examined
    mustAnswer = ready && !canceled
    shown = ready ? visible : 0
    return (ready ? .ready : .empty, shown ?? 0, canceled)
  }

  mutating func advance(_ consumed: Int, _ newExamined: Int) -> AdvanceResult {
    guard let limit = shown, consumed <= newExamined, newExamined <= limit else { return .misused }
    guard newExamined == 0 || newExamined >= examined else { return .misused }
    shown = nil
    mustAnswer = false
    guard newExamined > 0 else { return .done }
    bytes.removeFirst(consumed)
    visible -= consumed
    examined = newExamined - consumed
    guard paused, visible - examined < resume else { return .done }
    paused = false
    return .writerResumed
  }
}
