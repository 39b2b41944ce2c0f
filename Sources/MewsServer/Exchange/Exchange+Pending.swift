import CMews
import CMewsShims
import Glibc
import MewsCore

/// A handler that returned MEWS_PENDING, and what comes in its place.
extension Exchange {
  /// What becomes of an exchange whose handler returned MEWS_PENDING.
  enum Parking {
    /// It waits for its completion, or is on its way with it: it is no longer the caller's.
    case parked
    /// The client has left, or has its 504.
    case unawaited
    /// Nobody holds a token, so nobody can complete it.
    case stranded
  }

  /// Leaves an exchange to whoever completes it. Called by the thread that has run its handler.
  static func park(_ exchange: ExchangePointer) -> Parking {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      if control & ExchangeControl.claimedBit == 0 {
        guard ExchangeControl.isAwaited(control) else { return .unawaited }
        guard control & ExchangeControl.countMask != 0 else { return .stranded }
      } else if control & ExchangeControl.openBit == 0 {
        // The completion that ran the handler still holds an exchange that is over.
        return .unawaited
      }
      if shim_compare_exchange(word, &control, control | ExchangeControl.parkedBit) {
        if control & ExchangeControl.readyBit != 0 { deliver(exchange) }
        return .parked
      }
    }
  }

  /// The client has left while the exchange was with its handler or pending. Called on its I/O thread. True: it was
  /// pending, and is the I/O thread's again. False: it is on its way, and will come to the I/O thread.
  static func clientDidLeave(_ exchange: ExchangePointer) -> Bool {
    stopAwaiting(exchange, ExchangeControl.disconnectedBit)
  }

  /// The same when the deadline has passed.
  static func deadlineDidPass(_ exchange: ExchangePointer) -> Bool {
    stopAwaiting(exchange, ExchangeControl.expiredBit)
  }

  private static func stopAwaiting(_ exchange: ExchangePointer, _ reason: UInt64) -> Bool {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while true {
      let isPending = control & ExchangeControl.stageMask == ExchangeControl.parkedBit
      let unawaited = control | reason
      if shim_compare_exchange(word, &control, isPending ? unawaited & ~ExchangeControl.parkedBit : unawaited) {
        return isPending
      }
    }
  }

  /// Sends an exchange, parked and with its completion ready, to where that is dealt with: a continuation to a worker,
  /// anything else to its I/O thread. Any thread.
  static func deliver(_ exchange: ExchangePointer) {
    // It is still counted by its I/O thread, which therefore still runs.
    guard let context = exchange.pointee.context else { return }
    if exchange.pointee.completion?.pointee.handler != nil {
      exchange.pointee.packet.action = { packet in Exchange.continueOnWorker(Exchange.of(packet)) }
      // The slot may have served another route before, and this one's handler may have run inline.
      exchange.pointee.packet.isUncounted = exchange.pointee.route.map(Route.execution) == 3 ? 1 : 0
      context.pointee.port.post(packet(exchange))
    } else {
      exchange.pointee.packet.action = { packet in Connection.completionDidArrive(Exchange.of(packet)) }
      context.pointee.thread.post(packet(exchange))
    }
  }

  /// `deliver` for a thread that may not be the server's, and that the server does not wait for when it ends.
  static func deliverFromOutside(_ exchange: ExchangePointer) {
    guard let life = exchange.pointee.context?.pointee.life else { return deliver(exchange) }
    ServerLife.enter(life)
    deliver(exchange)
    ServerLife.leave(life)
  }

  /// Runs the handler that continues an exchange, on a worker.
  private static func continueOnWorker(_ exchange: ExchangePointer) {
    guard let context = exchange.pointee.context, let completion = exchange.pointee.completion else { return }
    exchange.pointee.completion = nil
    let state = completion.pointee.state
    let handler = completion.pointee.handler
    free(completion)
    guard let handler else { return }
    beginStage(exchange)
    if let resources = ThreadResources.current { exchange.pointee.resources = resources }
    exchange.pointee.output = withUnsafeMutablePointer(to: &exchange.pointee.response) { $0 }
    guard runHandler(exchange, handler, state) else { return }
    sendBack(exchange, to: context)
  }

  /// Opens the exchange to a further completion, because a handler goes on with it. One that is over stays claimed:
  /// that is what holds it.
  private static func beginStage(_ exchange: ExchangePointer) {
    let word = controlWord(exchange)
    var control = shim_load_acquire(word)
    while control & ExchangeControl.openBit != 0 {
      if shim_compare_exchange(word, &control, control & ~ExchangeControl.stageMask) { return }
    }
  }
}

extension Connection {
  /// The completion of a pending exchange is there; this is its I/O thread.
  static func completionDidArrive(_ exchange: ExchangePointer) {
    guard let context = exchange.pointee.context else { return }
    let completion = exchange.pointee.completion
    exchange.pointee.completion = nil
    Exchange.endWait(exchange)
    if exchange.pointee.connection?.pointee.phase == .running {
      exchange.pointee.resources = context.pointee.resources
      exchange.pointee.output = withUnsafeMutablePointer(to: &exchange.pointee.response) { $0 }
      if let completion {
        Completion.send(completion, to: exchange)
      } else {
        Exchange.fail(exchange, "it is pending, and every token was released")
      }
    } else if let completion {
      Completion.discard(completion)
    }
    handlerDidReturn(exchange)
  }
}
