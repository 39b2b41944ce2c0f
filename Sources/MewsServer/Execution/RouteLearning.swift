import MewsCore
import Synchronization

/// What the records of all routes of one server share.
public final class RouteLearning: Sendable {
  /// How many I/O threads count runs.
  let ioThreads: Int
  let log: ServerLog
  private let promotes = Atomic<Bool>(false)
  private let classChanges = Atomic<Int>(0)
  private let waitsInline = Atomic<Int>(0)

  public init(ioThreads: Int, log: ServerLog) {
    self.ioThreads = ioThreads
    self.log = log
  }

  /// Whether routes that are learned may become inline. Those that are inline already stay so. Any thread.
  ///
  /// False at first: an inline handler that waits after all holds up its I/O thread, unless another thread can take the
  /// I/O thread's work over.
  public var mayPromote: Bool {
    get { promotes.load(ordering: .relaxed) }
    set { promotes.store(newValue, ordering: .relaxed) }
  }

  /// How often routes have changed their class. Any thread.
  public var changes: Int { classChanges.load(ordering: .relaxed) }

  /// How often routes that are declared inline were seen to wait. Any thread.
  public var inlineWaits: Int { waitsInline.load(ordering: .relaxed) }

  func countChange() { classChanges.wrappingAdd(1, ordering: .relaxed) }
  func countInlineWait() { waitsInline.wrappingAdd(1, ordering: .relaxed) }
}
