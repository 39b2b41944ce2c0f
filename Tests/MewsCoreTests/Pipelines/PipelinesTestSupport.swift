import Glibc
import Testing

@testable import MewsCore

/// A chain with its cache, by reference, so that expectations can call what changes it. Bytes go in and out as arrays.
final class ChainBox {
  var chain = SegmentChain()
  let cache: BlockCache

  init(_ cache: BlockCache) {
    self.cache = cache
  }

  var count: Int { chain.count }

  /// All unread bytes, as `writev` would send them.
  var bytes: [UInt8] { allBytes { chain.gather($0, $1) } }

  /// The address and the capacity of each block, empty ones too.
  var blocks: [BlockPointer] {
    var result: [BlockPointer] = []
    var block = chain.head
    while let current = block {
      result.append(current)
      block = current.pointee.next
    }
    return result
  }

  func reserve(_ minimum: Int) -> UnsafeMutableRawBufferPointer? { chain.reserve(minimum, from: cache) }

  func advance(_ count: Int) -> Bool { chain.advance(count) }

  /// Reserves, writes and commits.
  func write(_ bytes: [UInt8]) -> Bool {
    guard let room = chain.reserve(bytes.count, from: cache) else { return false }
    room.copyBytes(from: bytes)
    return chain.advance(bytes.count)
  }

  func append(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return true }
      return chain.append(start, bytes.count, from: cache)
    }
  }

  func append(_ block: BlockPointer) { chain.append(block) }

  func append(contentsOf other: ChainBox) { chain.append(contentsOf: &other.chain) }

  func consume(_ count: Int) { chain.consume(count, to: cache) }

  func coalesce(_ count: Int, room: Int) -> Bool { chain.coalesce(count, room: room, from: cache) }

  func cancelReservation() { chain.cancelReservation(to: cache) }

  func removeAll() { chain.removeAll(to: cache) }
}

/// A pipe with its cache, by reference, so that expectations can call what changes it.
final class PipeBox {
  var pipe: MewsCore.Pipe
  let cache: BlockCache

  init(_ cache: BlockCache, pause: Int = Pipe.defaultPause, resume: Int = Pipe.defaultResume) {
    self.pipe = Pipe(pause: pause, resume: resume)
    self.cache = cache
  }

  /// The visible bytes, as a transport would send them.
  var bytes: [UInt8] { allBytes { pipe.gather($0, $1) } }

  func reserve(_ minimum: Int = 0) -> UnsafeMutableRawBufferPointer? { pipe.reserve(minimum, from: cache) }

  func advance(_ count: Int) -> Bool { pipe.advance(count) }

  func write(_ bytes: [UInt8]) -> WriteResult {
    bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return .accepted }
      return pipe.append(start, bytes.count, from: cache)
    }
  }

  func write(count: Int) -> WriteResult { write([UInt8](repeating: 0x61, count: count)) }

  func append(_ block: BlockPointer) -> WriteResult { pipe.append(block, to: cache) }

  func append(contentsOf chain: ChainBox) -> WriteResult { pipe.append(contentsOf: &chain.chain, to: cache) }

  func flush() -> FlushResult { pipe.flush() }

  /// Writes and flushes.
  func send(count: Int) -> FlushResult {
    _ = write(count: count)
    return pipe.flush()
  }

  func read() -> ReadResult { pipe.read() }

  func advance(consumed: Int, examined: Int) -> AdvanceResult {
    pipe.advance(consumed: consumed, examined: examined, to: cache)
  }

  /// Reads and consumes; the read must be ready.
  func readAndConsume(_ count: Int) -> AdvanceResult {
    guard pipe.read().status == .ready else { return .misused }
    return advance(consumed: count, examined: count)
  }

  func consume(_ count: Int) -> AdvanceResult { pipe.consume(count, to: cache) }

  func coalesce(_ count: Int, room: Int) -> Bool { pipe.coalesce(count, room: room, from: cache) }

  func completeWriter(error: Int32 = 0) { pipe.completeWriter(error: error, to: cache) }

  func completeReader(error: Int32 = 0) { pipe.completeReader(error: error, to: cache) }

  func complete() {
    completeWriter()
    completeReader()
  }
}

/// Runs a test with a pipe, completes both sides afterwards and checks that every block came back.
func withPipe(
  pause: Int = Pipe.defaultPause, resume: Int = Pipe.defaultResume, limit: Int = 64 << 20,
  _ body: (PipeBox, BlockPool) throws -> Void
) throws {
  try withPool(limit: limit) { pool, cache in
    let pipe = PipeBox(cache, pause: pause, resume: resume)
    try body(pipe, pool)
    pipe.complete()
    #expect(pipe.pipe.holdsNoBlock)
  }
}

/// The bytes that a gather function describes; it is given room for all vectors.
private func allBytes(_ gather: (UnsafeMutablePointer<iovec>, Int) -> Int) -> [UInt8] {
  var vectors = [iovec](repeating: iovec(), count: 4096)
  let filled = vectors.withUnsafeMutableBufferPointer { buffer in
    buffer.baseAddress.map { gather($0, buffer.count) } ?? 0
  }
  return vectors[..<filled].flatMap { Array(UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len)) }
}

/// `count` bytes that tell their place: the slice of an endless row that starts at `start`.
func pattern(_ count: Int, from start: Int = 0) -> [UInt8] {
  let offset = start % patternPeriod
  if offset + count <= patternRow.count { return Array(patternRow[offset..<(offset + count)]) }
  return (start..<(start + count)).map { patternRow[$0 % patternPeriod] }
}

/// A prime, so that the row does not repeat in step with blocks.
private let patternPeriod = 65_521
private let patternRow = (0..<(4 * patternPeriod)).map { index in
  UInt8(truncatingIfNeeded: (index % patternPeriod) &* 31 &+ (index % patternPeriod) >> 8)
}
