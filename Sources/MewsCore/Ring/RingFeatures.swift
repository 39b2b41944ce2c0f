/// What rings of this kernel can do for this process. Each was seen to work, and each can be switched off by its name.
public struct RingFeatures: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32

  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A ring that one thread submits to (kernel 6.0).
  public static let singleIssuer = RingFeatures(rawValue: 1 << 0)
  /// Completions are worked on only where the ring's thread waits for them (6.1).
  public static let deferredTaskrun = RingFeatures(rawValue: 1 << 1)
  /// The ring says when there is such work (5.19).
  public static let taskrunFlag = RingFeatures(rawValue: 1 << 2)
  /// An entry that is refused does not hold up those behind it (5.18).
  public static let submitAll = RingFeatures(rawValue: 1 << 3)
  /// A wait with a time limit, without an operation for it (5.11).
  public static let timeout = RingFeatures(rawValue: 1 << 4)
  /// Completions that find no room are kept (5.5).
  public static let noDrop = RingFeatures(rawValue: 1 << 5)
  /// Entering the ring without a look-up of its descriptor (5.18).
  public static let registeredRing = RingFeatures(rawValue: 1 << 6)
  /// A thread that waits for completions does not count as one that waits for a disk (6.15).
  public static let noIOWait = RingFeatures(rawValue: 1 << 7)
  /// One operation that tells of every change of a descriptor's readiness (5.13).
  public static let multishotPoll = RingFeatures(rawValue: 1 << 8)
  /// Ending one operation (5.5), without a completion of the cancellation's own (5.17).
  public static let cancel = RingFeatures(rawValue: 1 << 9)
  /// One operation that takes every connection (5.19).
  public static let multishotAccept = RingFeatures(rawValue: 1 << 10)
  /// Memory that the kernel receives into, taken only where there are bytes (5.19).
  public static let bufferRing = RingFeatures(rawValue: 1 << 11)
  /// One operation that receives whatever comes (6.0).
  public static let multishotReceive = RingFeatures(rawValue: 1 << 12)
  /// Sending (5.6).
  public static let send = RingFeatures(rawValue: 1 << 13)
  /// Reading, writing and syncing files (5.6).
  public static let files = RingFeatures(rawValue: 1 << 14)

  /// A ring that is closed takes nothing more from its sockets, whatever was under way: another thread can go on with
  /// them on a ring of its own, while the first one's thread is stuck.
  public static let takeover = RingFeatures(rawValue: 1 << 15)

  /// Without one of these there is no ring.
  public static let required: RingFeatures = [
    .singleIssuer, .deferredTaskrun, .timeout, .noDrop, .multishotPoll, .cancel,
  ]

  /// Each with its name, as the switches and the log have it, in the order in which they are probed.
  public static let names: [(feature: RingFeatures, name: String)] = [
    (.singleIssuer, "single-issuer"), (.deferredTaskrun, "defer-taskrun"), (.taskrunFlag, "taskrun-flag"),
    (.submitAll, "submit-all"), (.timeout, "timeout"), (.noDrop, "no-drop"), (.registeredRing, "registered-ring"),
    (.noIOWait, "no-iowait"), (.multishotPoll, "multishot-poll"), (.cancel, "cancel"),
    (.multishotAccept, "multishot-accept"), (.bufferRing, "buffer-ring"), (.multishotReceive, "multishot-receive"),
    (.send, "send"), (.files, "files"), (.takeover, "takeover"),
  ]

  /// All that this version knows of.
  public static let all = RingFeatures(names.map(\.feature))

  /// The features of a list of names, divided by commas.
  ///
  /// - Throws: the first name that is none.
  public init(parsing list: String) throws(UnknownRingFeature) {
    self = []
    for name in list.split(separator: ",") {
      guard let known = Self.names.first(where: { $0.name == name }) else {
        throw UnknownRingFeature(name: String(name))
      }
      insert(known.feature)
    }
  }

  /// The names, divided by commas.
  public var list: String { Self.names.filter { contains($0.feature) }.map(\.name).joined(separator: ",") }
}

/// A name that no feature has.
public struct UnknownRingFeature: Error, Equatable {
  public let name: String
}
