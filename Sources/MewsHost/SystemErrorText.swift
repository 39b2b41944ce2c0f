import Glibc

/// What an errno means, in the words of the C library. Any thread: glibc keeps the text in the thread (since 2.32).
func systemErrorText(_ code: Int32) -> String {
  guard let text = strerror(code) else { return "error \(code)" }
  return String(cString: text)
}
