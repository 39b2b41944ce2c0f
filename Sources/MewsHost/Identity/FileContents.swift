import Glibc

/// Reading whole files.
enum FileContents {
  /// The bytes of a regular file. They are copied and not mapped, since a mapped file that somebody cuts short kills
  /// the process that looks at it.
  ///
  /// - Parameter limit: the most bytes that are read.
  static func read(path: String, limit: Int) throws(IdentityError.Cause) -> [UInt8] {
    // Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .unreadable(action: "open it", code: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .unreadable(action: "read it", code: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegularFile }
    guard status.st_size <= limit else { throw .tooLarge(size: status.st_size) }
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: status.st_size) { buffer, count in
      while let base = buffer.baseAddress, count < buffer.count {
        let received = Glibc.read(descriptor, base + count, buffer.count - count)
        if received < 0 && errno == EINTR { continue }
        if received < 0 { failure = errno }
        guard received > 0 else { return }
        count += received
      }
    }
    guard failure == 0 else { throw .unreadable(action: "read it", code: failure) }
    return bytes
  }
}
