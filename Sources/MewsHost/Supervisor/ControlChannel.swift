import CMewsShims
import Glibc
import MewsCore

/// What supervisor and worker process say to each other, a byte at a time over a socket pair. Its end says that the
/// other process is gone.
enum ControlMessage: UInt8 {
  /// From the worker: it serves.
  case ready = 0x52
  /// To the worker: finish what is in flight, and end.
  case stop = 0x53
}

/// One end of the channel.
struct ControlChannel {
  let descriptor: Int32

  /// Both ends: the supervisor's, and the worker's.
  static func pair() throws(SystemError) -> (supervisor: ControlChannel, worker: ControlChannel) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK
    guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw SystemError(call: "socketpair", code: errno) }
    return (ControlChannel(descriptor: ends[0]), ControlChannel(descriptor: ends[1]))
  }

  func send(_ message: ControlMessage) {
    var byte = message.rawValue
    withUnsafeMutablePointer(to: &byte) { byte in
      var piece = iovec(iov_base: byte, iov_len: 1)
      _ = shim_send(descriptor, &piece, 1)
    }
  }

  enum Received {
    case message(ControlMessage)
    case nothing
    case end
  }

  func receive() -> Received {
    var byte: UInt8 = 0
    switch shim_receive(descriptor, &byte, 1) {
    case 1: return ControlMessage(rawValue: byte).map { .message($0) } ?? .nothing
    case 0: return .end
    case -Int(EAGAIN): return .nothing
    default: return .end
    }
  }

  func close() { Glibc.close(descriptor) }
}
