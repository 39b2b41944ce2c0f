import CMews

/// The texts of the result codes.
public enum ResultText {
  public static func text(_ result: mews_result) -> StaticString {
    switch result {
    case mews_result(MEWS_PENDING): "started; the outcome follows"
    case 0...: "success"
    case mews_result(MEWS_E_FAILED): "the operation failed"
    case mews_result(MEWS_E_INVALID_ARGUMENT): "an argument is NULL, out of range or malformed"
    case mews_result(MEWS_E_NO_MEMORY): "memory is exhausted"
    case mews_result(MEWS_E_GONE): "what the handle stands for is over"
    case mews_result(MEWS_E_WRONG_THREAD): "called from a thread or at a time that is not allowed"
    case mews_result(MEWS_E_WRONG_STATE): "called out of order"
    case mews_result(MEWS_E_CONFLICT): "the route, name or address is taken"
    case mews_result(MEWS_E_NOT_FOUND): "nothing by that name"
    case mews_result(MEWS_E_LIMIT): "a limit is reached"
    case mews_result(MEWS_E_UNSUPPORTED): "this host, kernel or build cannot do it, or this is the child of a fork"
    case mews_result(MEWS_E_SYSTEM): "a system call failed"
    case mews_result(MEWS_E_TIMEOUT): "the time was over"
    case mews_result(MEWS_E_ABANDONED): "the port was shut down during the wait"
    case mews_result(MEWS_E_CANCELED): "the operation was cancelled before it was done"
    case mews_result(MEWS_E_BUSY): "the operation is in flight already"
    default: "unknown result"
    }
  }
}
