import CMewsShims
import Glibc
import MewsCore

/// What `mews routes` was asked to do.
public struct RoutesOptions: Equatable, Sendable {
  /// The server to ask, by the process that was started; nil for the only one there is.
  public var process: Int32?
  public var wantsJSON = false

  public init() {}
}

/// Why a server could not be asked. The description is one line, or one with a list behind it.
struct InspectionError: Error, CustomStringConvertible {
  let description: String
}

/// Asks a running server about its routes.
struct RoutesCommand {
  let options: RoutesOptions

  private static let callMilliseconds: Int32 = 5_000
  private static let longestAnswer = 64 << 20

  /// The server's answer.
  func run() throws(InspectionError) -> [UInt8] {
    let process = if let named = options.process { named } else { try Self.onlyServer() }
    var user: UInt32 = 0
    let connection = shim_local_connect(
      Inspection.socketName(process: process, index: 0), Self.callMilliseconds, &user)
    guard connection >= 0 else {
      if connection == -ECONNREFUSED { throw InspectionError(description: "no server with the process id \(process)") }
      throw InspectionError(description: "process \(process): \(SystemError(call: "connect", code: -connection))")
    }
    defer { close(connection) }
    // Anybody can take a name, and what is printed should be the server's.
    guard user == 0 || Inspection.mayAsk(geteuid(), serverOf: user) else {
      throw InspectionError(description: "process \(process) belongs to another user")
    }
    let question = options.wantsJSON ? Inspection.Question.routesJSON : .routesTable
    let line = Array(question.line.utf8)
    guard send(connection, line, line.count, Int32(MSG_NOSIGNAL)) == line.count else {
      throw InspectionError(description: "process \(process): \(SystemError(call: "send", code: errno))")
    }
    let answer = Inspection.readAll(connection, limit: Self.longestAnswer)
    guard answer.last == UInt8(ascii: "\n") else {
      throw InspectionError(
        description: "process \(process) does not answer" + (user == geteuid() ? "" : ": it belongs to another user"))
    }
    return answer
  }

  private static func onlyServer() throws(InspectionError) -> Int32 {
    let servers = Inspection.runningServers()
    guard let server = servers.first else { throw InspectionError(description: "no server is running") }
    guard servers.count > 1 else { return server }
    let list = servers.map { "\n  \($0)  \(Inspection.commandLine(of: $0))" }.joined()
    throw InspectionError(description: "several servers are running; name one, as in 'mews routes \(server)':\(list)")
  }
}
