/// How many sockets listen on an address.
///
/// One socket that every I/O thread watches spreads connections evenly: whoever is awake takes the next one, and while
/// one thread is busy the others take its share. But all threads then contend for the lock of one accept queue, and the
/// kernel wakes threads that find the queue empty. With a socket for each thread (SO_REUSEPORT) there is neither; the
/// kernel chooses the socket by a hash of the addresses, whatever its thread is doing, so that threads get unequal
/// numbers of connections, and a connection waits for its thread while others idle. That pays once many threads would
/// contend.
public enum ListenSocketPolicy: String, CaseIterable, Sendable {
  /// One for all I/O threads up to seven of them, one for each from eight on.
  case automatic = "auto"
  /// One for all I/O threads.
  case shared
  /// One for each I/O thread.
  case perThread = "per-thread"

  /// The number of I/O threads from which on `automatic` gives each a socket of its own.
  static let manyThreads = 8

  /// The number of sockets for an address.
  public func socketCount(ioThreads: Int) -> Int {
    switch self {
    case .automatic: ioThreads >= Self.manyThreads ? ioThreads : 1
    case .shared: 1
    case .perThread: max(1, ioThreads)
    }
  }
}
