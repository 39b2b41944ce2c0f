import Synchronization

/// How many servers of linking programs this process has.
public enum HostCount {
  /// A program that makes more has most likely forgotten to destroy them.
  public static let limit = 64

  private static let count = Atomic<Int>(0)

  /// Takes a place for one more. False: there is none. Any thread.
  public static func claim() -> Bool {
    guard count.wrappingAdd(1, ordering: .relaxed).newValue > limit else { return true }
    release()
    return false
  }

  /// Gives a place back. Any thread.
  public static func release() { count.wrappingSubtract(1, ordering: .relaxed) }
}
