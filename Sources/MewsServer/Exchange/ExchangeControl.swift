import CMews
import CMewsShims
import MewsCore

/// The word that decides whether an exchange is open, who still holds it and who goes on with it: generation in the
/// upper half, then flags, then the number of tokens. A token is the same generation with the number of the slot.
///
/// A handler that returns MEWS_PENDING and the completion that takes its place may come in either order. The completion
/// is *claimed* by one caller, becomes *ready* when it lies in the exchange, and the exchange is *parked* when the
/// handler has left it. Whoever sets the second of ready and parked owns the exchange from then on, and delivers.
enum ExchangeControl {
  /// The request has not been finished. Its I/O thread holds the exchange.
  static var openBit: UInt64 { @_noLocks @inline(__always) get { 1 << 31 } }
  /// A completion was accepted and has not been dealt with. It holds the exchange as a token does.
  static var claimedBit: UInt64 { @_noLocks @inline(__always) get { 1 << 30 } }
  /// The completion lies in the exchange.
  static var readyBit: UInt64 { @_noLocks @inline(__always) get { 1 << 29 } }
  /// The handler has left the exchange to whoever completes it.
  static var parkedBit: UInt64 { @_noLocks @inline(__always) get { 1 << 28 } }
  /// The client has left: nobody waits for the response.
  static var disconnectedBit: UInt64 { @_noLocks @inline(__always) get { 1 << 27 } }
  /// The deadline has passed: the client has its answer, which is 504.
  static var expiredBit: UInt64 { @_noLocks @inline(__always) get { 1 << 26 } }
  static var countMask: UInt64 { @_noLocks @inline(__always) get { 0xFFFF } }
  /// What keeps the memory of an exchange that is over.
  static var holdMask: UInt64 { @_noLocks @inline(__always) get { claimedBit | countMask } }
  /// What belongs to one handler's call and its completion.
  static var stageMask: UInt64 { @_noLocks @inline(__always) get { claimedBit | readyBit | parkedBit } }
  /// The most tokens of one exchange.
  static var tokenLimit: UInt64 { 0xFFFF }

  @_noLocks @inline(__always) static func generation(_ control: UInt64) -> UInt64 { control >> 32 }

  /// Whether somebody waits for the response.
  @_noLocks @inline(__always)
  static func isAwaited(_ control: UInt64) -> Bool { control & (openBit | disconnectedBit | expiredBit) == openBit }

  /// The word of the next life of the slot: a new generation, which is never 0, closed and without tokens.
  @_noLocks @inline(__always)
  static func next(after control: UInt64) -> UInt64 {
    let generation = (control >> 32) &+ 1
    return (generation & 0xFFFF_FFFF == 0 ? 1 : generation) << 32
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

  /// Ends an exchange on its I/O thread. True: nobody holds it, its memory can be reused. False: it is held, and
  /// `closeHeld` is next.
  @_noLocks @inline(__always)
  static func close(_ exchange: ExchangePointer) -> Bool {
    let word = controlWord(exchange)
    let control = shim_load_acquire(word)
    guard control & ExchangeControl.holdMask == 0 else { return false }
    shim_store_release(word, ExchangeControl.next(after: control))
    return true
  }

  /// What became of an exchange that was held when it ended.
  enum HeldEnd {
    /// Nobody holds it any more: its memory can be reused.
    case free
    /// Tokens hold it; the last one to be released sends it back.
    case retained
    /// A completion was accepted although the handler responded itself. It is delivered by whoever brings it, and ends
    /// the exchange once more.
    case claimed
    /// The same, and it is for the caller to deliver it.
    case ready
  }

  /// Ends an exchange that `close` found held, on its I/O thread.
  @_noLocks
  static func closeHeld(_ exchange: ExchangePointer) -> HeldEnd {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      let isOpen = control & ExchangeControl.openBit != 0
      if isOpen && control & ExchangeControl.claimedBit != 0 {
        let parked = control & ~ExchangeControl.openBit | ExchangeControl.parkedBit
        guard shim_compare_exchange(word, &control, parked) else { continue }
        return control & ExchangeControl.stageMask == ExchangeControl.claimedBit | ExchangeControl.readyBit
          ? .ready : .claimed
      }
      guard control & ExchangeControl.countMask != 0 else {
        shim_store_release(word, ExchangeControl.next(after: control))
        return .free
      }
      // A claim on an exchange that is not open has been dealt with.
      let closed = control & ~(ExchangeControl.openBit | ExchangeControl.stageMask)
      if shim_compare_exchange(word, &control, closed) { return .retained }
    }
  }

  /// Accepts no more completions, because one has arrived that ends the exchange; its claim holds it until it is
  /// closed.
  @_noLocks
  static func endWait(_ exchange: ExchangePointer) {
    _ = shim_fetch_and(controlWord(exchange), ~ExchangeControl.openBit)
  }

  /// Ends the life of a slot whose last token was released.
  @_noLocks
  static func retire(_ exchange: ExchangePointer) {
    let word = controlWord(exchange)
    shim_store_release(word, ExchangeControl.next(after: shim_load_relaxed(word)))
  }

  /// Whether tokens of the exchange, or a completion on its way, hold it.
  @_noLocks @inline(__always)
  static func isRetained(_ exchange: ExchangePointer) -> Bool {
    shim_load_relaxed(controlWord(exchange)) & ExchangeControl.holdMask != 0
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
