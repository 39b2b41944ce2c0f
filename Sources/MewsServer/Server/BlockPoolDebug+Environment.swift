import CMewsShims
import Glibc
import MewsCore

extension BlockPoolDebug {
  /// How a new server's pool watches its users: what the environment variable `MEWS_POOL` says, `malloc` (each block is
  /// an allocation of its own, for memory checkers) or `poison` (late writes are found and counted). Without it,
  /// `malloc` in a library that was built with the address sanitizer, and nothing in any other.
  static var fromEnvironment: BlockPoolDebug {
    switch getenv("MEWS_POOL").map({ String(cString: $0) }) {
    case "malloc": .everyBlockFromMalloc
    case "poison": .poison
    default: shim_is_address_sanitized() ? .everyBlockFromMalloc : []
    }
  }
}
