import CMewsShims
import Glibc
import MewsCore

/// The sockets that listen on one address: one that all I/O threads share, or several among which the kernel spreads
/// the connections (SO_REUSEPORT).
///
/// Each socket has a queue of connections of its own, and closing it resets what is queued there. So a set is bound
/// once, by the supervisor where there is one, and lives as long as the server listens, whatever becomes of the
/// processes and threads that take from it.
public struct ListeningSet: Sendable {
  /// At least one.
  public let descriptors: [Int32]
  /// The address as it is shown: "http://127.0.0.1:8080".
  public let url: String

  public init(descriptors: [Int32], url: String) {
    self.descriptors = descriptors
    self.url = url
  }

  /// Binds an address and listens on it. With port 0, all sockets get the port that the first one got.
  ///
  /// An address in use is an error, whoever uses it. Sockets that allow sharing from the outset would not notice: they
  /// would join any other server of the same user that allows it as well. So the first socket is bound and listens for
  /// itself alone, and allows sharing only then, which is when the kernel takes it into the group of the others. A
  /// program of the same user that asks for SO_REUSEPORT and does not look first can join later; the kernel offers
  /// nothing against that.
  ///
  /// - Parameters:
  ///   - address: a socket address that is ready for bind(2).
  ///   - count: the number of sockets, at least 1.
  /// - Throws: `SystemError` with the call that failed.
  public static func bind(_ address: SocketAddress, count: Int) throws(SystemError) -> ListeningSet {
    let first = try ListeningSocket.bind(address)
    var descriptors = [first.descriptor]
    do throws(SystemError) {
      if count > 1 { try first.allowSharing() }
      while descriptors.count < count {
        let sibling = try ListeningSocket.bind(address.with(port: first.port), isShared: true)
        descriptors.append(sibling.descriptor)
      }
      return ListeningSet(descriptors: descriptors, url: first.url)
    } catch {
      for descriptor in descriptors { Glibc.close(descriptor) }
      throw error
    }
  }

  /// Those that an I/O thread watches. Each socket is watched by somebody, and as many threads as possible have sockets
  /// of their own, also where there are more sockets than threads or fewer.
  public func descriptors(forThread thread: Int, of threads: Int) -> [Int32] {
    let groups = max(1, min(threads, descriptors.count))
    return descriptors.indices.filter { $0 % groups == thread % groups }.map { descriptors[$0] }
  }

  /// The address that the sockets are bound to.
  public func boundAddress() throws(SystemError) -> SocketAddress { try SocketAddress.bound(descriptors.first ?? -1) }

  /// The port, or 0 when the sockets have none.
  public var port: UInt16 { (try? boundAddress().port) ?? 0 }

  /// Has the kernel ignore further connections, for good and for every process that has the sockets, while those whose
  /// handshake has begun can still be taken: for who is about to close the sockets and loses what is queued then. Where
  /// the kernel cannot do that, nothing changes.
  public func admitNoMore() { for descriptor in descriptors { _ = shim_listener_admit_no_more(descriptor) } }

  /// Closes the sockets.
  public func close() { for descriptor in descriptors { Glibc.close(descriptor) } }
}
