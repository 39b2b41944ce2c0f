import CMewsShims
import MewsCore

/// What every thread that makes responses has for itself: memory, and the date.
public struct ThreadResources {
  /// Seconds since 1970, read for every response: a coarse clock, or a test's.
  public typealias Clock = @convention(c) () -> Int64

  public let cache: BlockCache
  var date = DateHeader()
  private let clock: Clock

  public init(cache: BlockCache, clock: @escaping Clock = { shim_wall_seconds() }) {
    self.cache = cache
    self.clock = clock
  }

  /// Copies the Server and Date fields and returns their size.
  @_noLocks @inline(__always)
  mutating func writeDate(to bytes: UnsafeMutablePointer<UInt8>) -> Int {
    let now = _unsafePerformance { clock() }
    return date.write(secondsSince1970: now, to: bytes)
  }

  static func create(_ pool: BlockPool) -> ThreadResourcesPointer? {
    guard let cache = pool.makeCache() else { return nil }
    let resources = ThreadResourcesPointer.allocate(capacity: 1)
    resources.initialize(to: ThreadResources(cache: cache))
    return resources
  }

  static func destroy(_ resources: ThreadResourcesPointer) {
    resources.pointee.cache.destroy()
    resources.deallocate()
  }

  /// Those of the calling worker or I/O thread.
  static var current: ThreadResourcesPointer? {
    @_noLocks @inline(__always) get {
      ThreadContext.current?.pointee.cache?.assumingMemoryBound(to: ThreadResources.self)
    }
  }
}

public typealias ThreadResourcesPointer = UnsafeMutablePointer<ThreadResources>
