import CMewsShims
import Glibc
import MewsCore

/// Children that are forked from a process with a server, and live on without exec. A server's threads do not exist
/// there, its locks may be held by them for ever, and its descriptors are still those of the parent: so nothing of it
/// is to be used.
public enum ForkedChild {
  /// Children of this process can be told from here on. Kernels before 4.14 do not tell them.
  public static func watch() throws(SystemError) {
    guard shim_process_mark() else { throw SystemError(call: "mmap", code: ENOMEM) }
  }

  /// Whether this process is such a child.
  public static var isThisProcess: Bool { shim_process_is_child() }
}
