import CMews
import CMewsShims
import MewsCore

/// The word that decides whether an exchange is open and who still holds it: generation in the upper half, then the
/// open bit, then the number of tokens. A token is the same generation with the number of the slot.
enum ExchangeControl {
  static var openBit: UInt64 { @_noLocks @inline(__always) get { 1 << 31 } }
  static var countMask: UInt64 { @_noLocks @inline(__always) get { 0xFFFF } }
  /// The most tokens of one exchange.
  static var tokenLimit: UInt64 { 0xFFFF }

  @_noLocks @inline(__always) static func generation(_ control: UInt64) -> UInt64 { control >> 32 }

  /// The word of the next life of the slot: a new generation, which is never 0, closed and without tokens.
  @_noLocks @inline(__always)
  static func next(after control: UInt64) -> UInt64 {
    let generation = (control >> 32) &+ 1
    return (generation & 0xFFFF_FFFF == 0 ? 1 : generation) << 32
  }
}

/// A token of an exchange: what any thread may hold for as long as it likes.
public struct ExchangeToken {
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  var generation: UInt64 { rawValue >> 32 }
  var slot: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  /// Whether the exchange still waits for its response. Any thread.
  public func status() -> mews_result {
    guard let exchange = ExchangeDirectory.lookUp(slot) else { return mews_result(MEWS_E_GONE) }
    let control = shim_load_acquire(Exchange.controlWord(exchange))
    guard ExchangeControl.generation(control) == generation, control & ExchangeControl.openBit != 0 else {
      return mews_result(MEWS_E_GONE)
    }
    return mews_result(MEWS_OK)
  }

  /// Gives the token back; the last one of an exchange that is over frees it, on its I/O thread. Any thread.
  public func release() -> mews_result {
    guard let exchange = ExchangeDirectory.lookUp(slot) else { return mews_result(MEWS_E_GONE) }
    let word = Exchange.controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      guard ExchangeControl.generation(control) == generation, control & ExchangeControl.countMask != 0 else {
        return mews_result(MEWS_E_GONE)
      }
      let isLast = control & (ExchangeControl.openBit | ExchangeControl.countMask) == 1
      if shim_compare_exchange(word, &control, control &- 1) {
        if isLast { ExchangeDirectory.sendHome(exchange, generation: generation) }
        return mews_result(MEWS_OK)
      }
    }
  }
}

extension Exchange {
  @_noLocks @inline(__always)
  static func controlWord(_ exchange: ExchangePointer) -> UnsafeMutablePointer<UInt64> {
    UnsafeMutableRawPointer(exchange).advanced(by: controlOffset).assumingMemoryBound(to: UInt64.self)
  }

  @_noLocks @inline(__always)
  static func handlerWord(_ exchange: ExchangePointer) -> UnsafeMutablePointer<UInt64> {
    UnsafeMutableRawPointer(exchange).advanced(by: controlOffset &+ 8).assumingMemoryBound(to: UInt64.self)
  }

  /// `control` and `handlerThread` follow the packet; a test holds them to it.
  static var controlOffset: Int {
    @_noLocks @inline(__always) get { MemoryLayout<Packet>.stride }
  }

  /// Opens a fresh exchange: the I/O thread has rented it for a request.
  @_noLocks @inline(__always)
  static func open(_ exchange: ExchangePointer) {
    let word = controlWord(exchange)
    shim_store_relaxed(word, shim_load_relaxed(word) | ExchangeControl.openBit)
  }

  /// Ends an exchange on its I/O thread. True: nobody holds it, its memory can be reused. False: a token does, and the
  /// last one to be released sends the exchange back.
  @_noLocks
  static func close(_ exchange: ExchangePointer) -> Bool {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while control & ExchangeControl.countMask != 0 {
      if shim_compare_exchange(word, &control, control & ~ExchangeControl.openBit) { return false }
    }
    shim_store_release(word, ExchangeControl.next(after: control))
    return true
  }

  /// Ends the life of a slot whose last token was released.
  @_noLocks
  static func retire(_ exchange: ExchangePointer) {
    let word = controlWord(exchange)
    shim_store_release(word, ExchangeControl.next(after: shim_load_relaxed(word)))
  }

  /// Whether tokens of the exchange are held.
  @_noLocks @inline(__always)
  static func isRetained(_ exchange: ExchangePointer) -> Bool {
    shim_load_relaxed(controlWord(exchange)) & ExchangeControl.countMask != 0
  }

  /// Takes a token. Called by the thread that runs the handler.
  public static func retain(_ exchange: ExchangePointer, _ token: inout UInt64) -> mews_result {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      guard control & ExchangeControl.openBit != 0 else { return mews_result(MEWS_E_GONE) }
      guard control & ExchangeControl.countMask != ExchangeControl.tokenLimit else { return mews_result(MEWS_E_LIMIT) }
      if shim_compare_exchange(word, &control, control &+ 1) {
        token = ExchangeControl.generation(control) << 32 | UInt64(exchange.pointee.slot)
        return mews_result(MEWS_OK)
      }
    }
  }

  /// Whether the calling thread is running this exchange's handler now: MEWS_OK, MEWS_E_GONE when no thread is, or
  /// MEWS_E_WRONG_THREAD when another one is.
  @_noLocks @inline(__always)
  public static func check(_ exchange: ExchangePointer) -> mews_result {
    let thread = shim_load_relaxed(handlerWord(exchange))
    let current = UInt64(UInt(bitPattern: shim_thread_context()))
    if thread == current && current != 0 { return 0 }
    return thread == 0 ? -4 : -5
  }
}
