import CMewsShims
import MewsCore
import Glibc

/// Every exchange of the process by the number of its slot, so that a token finds its exchange from any thread, also
/// when its server is gone. Memory of exchanges is never unmapped: that is what makes a late look-up safe.
enum ExchangeDirectory {
  static let chunkCount = 64
  static let chunkLimit = 4096

  /// The chunks, each a row of `chunkCount` exchanges; nil beyond the last.
  private nonisolated(unsafe) static let chunks: UnsafeMutablePointer<UInt64> = {
    let chunks = UnsafeMutablePointer<UInt64>.allocate(capacity: chunkLimit)
    chunks.initialize(repeating: 0, count: chunkLimit)
    return chunks
  }()
  private nonisolated(unsafe) static var used = 0
  /// Chunks of servers that are gone, linked through the first exchange's `next`.
  private nonisolated(unsafe) static var free: ExchangePointer?
  private nonisolated(unsafe) static let lock: UnsafeMutablePointer<pthread_mutex_t> = {
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    lock.initialize(to: pthread_mutex_t())
    pthread_mutex_init(lock, nil)
    return lock
  }()

  static func lookUp(_ slot: UInt32) -> ExchangePointer? {
    let chunk = Int(slot) / chunkCount
    guard chunk < chunkLimit else { return nil }
    guard let first = ExchangePointer(bitPattern: UInt(shim_load_acquire(chunks + chunk))) else { return nil }
    return first + Int(slot) % chunkCount
  }

  /// The last token of an exchange that is over was released: its I/O thread reuses it, if its server is still there.
  static func sendHome(_ exchange: ExchangePointer, generation: UInt64) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    guard ExchangeControl.generation(shim_load_acquire(Exchange.controlWord(exchange))) == generation,
      let context = exchange.pointee.context
    else { return }
    IOContext.returnExchange(exchange, to: context)
  }

  /// A chunk of exchanges for one I/O thread, or nil when memory or the slots are exhausted.
  static func takeChunk() -> ExchangePointer? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    if let chunk = free {
      free = chunk.pointee.next
      return chunk
    }
    guard used < chunkLimit else { return nil }
    var memory: UnsafeMutableRawPointer?
    let size = MemoryLayout<Exchange>.stride * chunkCount
    guard posix_memalign(&memory, 64, size) == 0, let memory else { return nil }
    memset(memory, 0, size)
    let chunk = memory.bindMemory(to: Exchange.self, capacity: chunkCount)
    for index in 0..<chunkCount {
      chunk[index].slot = UInt32(used * chunkCount + index)
      chunk[index].control = 1 << 32
    }
    shim_store_release(chunks + used, UInt64(UInt(bitPattern: chunk)))
    used += 1
    return chunk
  }

  /// Takes the exchanges of a chunk from their I/O thread: they are over, tokens of them answer that they are gone, and
  /// none is sent home any more.
  static func disown(_ chunk: ExchangePointer) {
    pthread_mutex_lock(lock)
    for index in 0..<chunkCount {
      Exchange.retire(chunk + index)
      chunk[index].context = nil
    }
    pthread_mutex_unlock(lock)
  }

  /// Takes a chunk that was disowned back, for other servers.
  static func returnChunk(_ chunk: ExchangePointer) {
    pthread_mutex_lock(lock)
    chunk.pointee.next = free
    free = chunk
    pthread_mutex_unlock(lock)
  }
}
