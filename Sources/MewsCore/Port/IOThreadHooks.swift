import CMewsShims

/// Functions that are called for an I/O thread, by the thread that does its work.
public struct IOThreadHooks {
  /// How the work came to the thread that does it now.
  public struct Adoption {
    /// The packet in whose handler the thread before this one is stuck; nil for the first thread. The packet is that
    /// handler's still.
    public let stuckPacket: PacketPointer?
    /// Whether the handler gave the work away of its own accord.
    public let isGiven: Bool
    /// For how long the handler was seen to run, in nanoseconds. It may have run for a millisecond more.
    public let nanoseconds: Int64
  }

  /// Called once, before the first pass, after `adopt`.
  public var start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Called by every thread that begins to do the work, first thing, with a pointer to an `Adoption` that is valid
  /// during the call; nil for the first thread.
  public var adopt: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ adoption: UnsafeRawPointer?) -> Void)?
  /// Called when the kernel has lost completions of the thread's ring, before those are told that are left: what came
  /// of operations has to be distrusted, and all of them end.
  public var lost: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Called once, after the last pass.
  public var exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)?
  /// Passed to all of them. The caller keeps it valid until the threads have been joined.
  public var context: UnsafeMutableRawPointer?

  public init(
    start: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    adopt: (@convention(c) (_ context: UnsafeMutableRawPointer?, _ adoption: UnsafeRawPointer?) -> Void)? = nil,
    lost: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    exit: (@convention(c) (_ context: UnsafeMutableRawPointer?) -> Void)? = nil,
    context: UnsafeMutableRawPointer? = nil
  ) {
    self.start = start
    self.adopt = adopt
    self.lost = lost
    self.exit = exit
    self.context = context
  }
}
