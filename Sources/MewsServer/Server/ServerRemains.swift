import CMewsShims
import MewsCore

/// What is left of a server when it is freed: the line of the log that shows, from outside, whether anything was lost.
struct ServerRemains: CustomStringConvertible {
  /// Connections and exchanges that are still there. 0 in a correct server.
  private(set) var connections = 0
  private(set) var exchanges = 0
  /// Exchanges that are over, and that somebody holds tokens of.
  private(set) var heldExchanges = 0
  /// Blocks that were not given back, and caches. 0 in a correct server.
  var blocks = 0

  /// Counts what contexts have, whose threads have ended.
  init(_ contexts: [IOContextPointer]) {
    for context in contexts {
      connections += context.pointee.connectionCount
      exchanges += context.pointee.exchangeCount
      heldExchanges += context.pointee.heldExchangeCount
    }
  }

  var description: String {
    "freed with \(connections) connections, \(exchanges) exchanges, \(heldExchanges) held by tokens, \(blocks) blocks"
  }
}

extension IOContext {
  /// How many of its exchanges are over and held by tokens.
  fileprivate var heldExchangeCount: Int {
    var count = 0
    for chunk in belongings._withUnsafeGuaranteedRef({ $0.chunks }) {
      for index in 0..<ExchangeDirectory.chunkCount where Exchange.isRetained(chunk + index) { count += 1 }
    }
    return count
  }
}
