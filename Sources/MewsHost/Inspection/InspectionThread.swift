import CMews
import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// The thread of a server that answers questions: one client after the other, each for a few seconds at most, so that
/// nobody who asks can hold up anything but others who ask.
final class InspectionThread: @unchecked Sendable {
  private let host: Host
  private let listener: Int32

  private static let stackSize = 256 << 10
  /// How long one call may wait for the client, and how long all of them together.
  private static let callMilliseconds: Int32 = 1_000
  private static let clientMilliseconds: UInt64 = 5_000
  /// How long it waits when connections cannot be taken, since there are no descriptors.
  private static let pauseMicroseconds: UInt32 = 100_000

  private init(host: Host, listener: Int32) {
    self.host = host
    self.listener = listener
  }

  /// Starts the thread, which ends with the process. Where it cannot, a line of the log says so, and the server goes on
  /// without.
  ///
  /// - Parameter process: whose name the socket has.
  static func start(host: Host, process: Int32) {
    let name = Inspection.socketName(process: process, index: Int(host.processIndex))
    let listener = shim_local_listen(name)
    guard listener >= 0 else {
      return host.log.write(
        Int(MEWS_LEVEL_WARNING), "'mews routes' cannot ask: \(SystemError(call: "bind", code: -listener))")
    }
    let thread = Unmanaged.passRetained(InspectionThread(host: host, listener: listener))
    let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
      guard let argument else { return nil }
      shim_thread_set_plain_name("mews-inspect")
      Unmanaged<InspectionThread>.fromOpaque(argument).takeUnretainedValue().serve()
      return nil
    }
    var identity = pthread_t()
    let error = shim_thread_create(&identity, stackSize, body, thread.toOpaque())
    guard error == 0 else {
      close(listener)
      thread.release()
      return host.log.write(
        Int(MEWS_LEVEL_WARNING), "'mews routes' cannot ask: \(SystemError(call: "pthread_create", code: error))")
    }
    pthread_detach(identity)
  }

  private func serve() {
    while true {
      var user: UInt32 = .max
      let client = shim_local_accept(listener, Self.callMilliseconds, &user)
      guard client >= 0 else {
        if client != -EINTR && client != -ECONNABORTED { usleep(Self.pauseMicroseconds) }
        continue
      }
      if Inspection.mayAsk(user, serverOf: geteuid()), let question = receive(from: client) {
        send(answer(to: question), to: client)
      }
      close(client)
    }
  }

  /// The question, which comes in one piece. Nil when it is none.
  private func receive(from client: Int32) -> Inspection.Question? {
    withUnsafeTemporaryAllocation(byteCount: Inspection.Question.longestLine, alignment: 1) { buffer in
      let count = recv(client, buffer.baseAddress, buffer.count, 0)
      guard count > 0 else { return nil }
      let line = String(decoding: UnsafeRawBufferPointer(buffer)[..<count], as: UTF8.self)
      return Inspection.Question.allCases.first { $0.line == line }
    }
  }

  private func answer(to question: Inspection.Question) -> String {
    let report = RoutesReport(host)
    return switch question {
    case .routesTable: report.table
    case .routesJSON: report.json
    }
  }

  private func send(_ text: String, to client: Int32) {
    let deadline = IOThread.clock + Self.clientMilliseconds
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty, IOThread.clock < deadline {
      let count = bytes.withUnsafeBytes { Glibc.send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }
}
