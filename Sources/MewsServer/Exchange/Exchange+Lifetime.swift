import CMewsShims
import Glibc
import MewsCore

/// A slot's way from request to request.
extension Exchange {
  @_noLocks @inline(__always)
  static func packet(_ exchange: ExchangePointer) -> PacketPointer {
    // The packet is the first field; a test holds it to that.
    UnsafeMutableRawPointer(exchange).assumingMemoryBound(to: Packet.self)
  }

  /// The exchange a packet is embedded in.
  @_noLocks @inline(__always)
  static func of(_ packet: PacketPointer) -> ExchangePointer {
    UnsafeMutableRawPointer(packet).assumingMemoryBound(to: Exchange.self)
  }

  /// Makes a slot that a context has just taken ready for its first request. `slot` and `control` stay.
  static func prepare(_ exchange: ExchangePointer, _ context: IOContextPointer) {
    exchange.pointee.context = context
    exchange.pointee.resources = context.pointee.resources
    exchange.pointee.arena = Arena()
    exchange.pointee.fields = ResponseFields()
    exchange.pointee.response = Pipe(pause: 0, resume: 0)
  }

  /// Gives back what a request left behind, on the exchange's I/O thread.
  ///
  /// - Parameter resources: those of that thread.
  @_noLocks
  static func reset(_ exchange: ExchangePointer, _ resources: ThreadResourcesPointer) {
    let cache = resources.pointee.cache
    exchange.pointee.resources = resources
    exchange.pointee.arena.reset(to: cache)
    exchange.pointee.fields.reset()
    if let pinned = exchange.pointee.pinned {
      cache.release(pinned)
      exchange.pointee.pinned = nil
    }
    if let buffer = exchange.pointee.bodyBuffer {
      _unsafePerformance { free(buffer) }
      exchange.pointee.bodyBuffer = nil
      exchange.pointee.bodyCapacity = 0
    }
    if !exchange.pointee.response.holdsNoBlock { exchange.pointee.response.reset(to: cache) }
    exchange.pointee.connection = nil
    exchange.pointee.base = nil
    exchange.pointee.body = nil
    exchange.pointee.bodyCount = 0
    exchange.pointee.path = nil
    exchange.pointee.pathCount = 0
    exchange.pointee.route = nil
    exchange.pointee.captureCount = 0
    exchange.pointee.output = nil
    exchange.pointee.status = 0
    exchange.pointee.keepAlive = false
    exchange.pointee.isAnsweredInPlace = false
  }
}
