/// A system call that failed.
public struct SystemError: Error, Equatable {
  /// The call's name, for the log.
  public let call: StaticString
  /// Its errno.
  public let code: Int32

  public static func == (left: SystemError, right: SystemError) -> Bool {
    left.code == right.code && left.call.description == right.call.description
  }
}
