import CMews
import CMewsShims
import MewsCore

/// A token of an exchange: what any thread may hold for as long as it likes, and complete the exchange with.
public struct ExchangeToken {
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  var generation: UInt64 { rawValue >> 32 }
  var slot: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  /// Whether somebody still waits for the response. Any thread.
  public func status() -> mews_result {
    guard let exchange = ExchangeDirectory.lookUp(slot) else { return mews_result(MEWS_E_GONE) }
    let control = shim_load_acquire(Exchange.controlWord(exchange))
    let isAwaited = ExchangeControl.generation(control) == generation && ExchangeControl.isAwaited(control)
    return mews_result(isAwaited ? MEWS_OK : MEWS_E_GONE)
  }

  /// Gives the token back. Any thread. The last one of an exchange that is over frees it, on its I/O thread; the last
  /// one of a pending exchange leaves nobody who could complete it, and ends it with an error.
  public func release() -> mews_result {
    guard let exchange = ExchangeDirectory.lookUp(slot) else { return mews_result(MEWS_E_GONE) }
    let word = Exchange.controlWord(exchange)
    let openBit = ExchangeControl.openBit
    let parkedBit = ExchangeControl.parkedBit
    var control = shim_load_acquire(word)
    while true {
      guard ExchangeControl.generation(control) == generation, control & ExchangeControl.countMask != 0 else {
        return mews_result(MEWS_E_GONE)
      }
      let holds = control & (openBit | parkedBit | ExchangeControl.holdMask)
      let isStranded = holds == openBit | parkedBit | 1
      let released = control &- 1
      let stranded = released | ExchangeControl.claimedBit | ExchangeControl.readyBit
      if shim_compare_exchange(word, &control, isStranded ? stranded : released) {
        if holds & ~parkedBit == 1 { ExchangeDirectory.sendHome(exchange, generation: generation) }
        if isStranded { Exchange.deliverFromOutside(exchange) }
        return mews_result(MEWS_OK)
      }
    }
  }

  /// Completes or continues the exchange. Any thread. MEWS_OK and MEWS_E_GONE spend the token; the completion is taken
  /// over by MEWS_OK and discarded after anything else.
  public func complete(_ completion: CompletionPointer) -> mews_result {
    let result = claim(completion)
    if result != mews_result(MEWS_OK) { Completion.discard(completion) }
    return result
  }

  private func claim(_ completion: CompletionPointer) -> mews_result {
    guard let exchange = ExchangeDirectory.lookUp(slot) else { return mews_result(MEWS_E_GONE) }
    let word = Exchange.controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      guard ExchangeControl.generation(control) == generation, control & ExchangeControl.countMask != 0 else {
        return mews_result(MEWS_E_GONE)
      }
      guard ExchangeControl.isAwaited(control) else {
        _ = release()
        return mews_result(MEWS_E_GONE)
      }
      guard control & ExchangeControl.claimedBit == 0 else { return mews_result(MEWS_E_WRONG_STATE) }
      if shim_compare_exchange(word, &control, control &- 1 | ExchangeControl.claimedBit) { break }
    }
    // The claim holds the exchange from here on, in the place of the token.
    exchange.pointee.completion = completion
    if shim_fetch_or(word, ExchangeControl.readyBit) & ExchangeControl.parkedBit != 0 {
      Exchange.deliverFromOutside(exchange)
    }
    return mews_result(MEWS_OK)
  }
}
