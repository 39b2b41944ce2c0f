import MewsServer

/// What `mews routes` shows: every route with the class it has, and why.
struct RoutesReport {
  let routes: [RouteReport]
  /// Whether learned routes may become inline.
  let mayPromote: Bool
  /// How often classes have changed, and how often routes that are declared inline were seen to wait.
  let changes: Int
  let inlineWaits: Int

  init(_ host: Host) {
    routes = (host.plugins.filter { $0.phase == .started } + [host.program]).flatMap(\.routes).compactMap(\.report)
    mayPromote = host.server.learning.mayPromote
    changes = host.server.learning.changes
    inlineWaits = host.server.learning.inlineWaits
  }

  /// Columns for people, a line for each route.
  var table: String {
    let head = ["METHOD", "PATTERN", "PLUGIN", "DECLARED", "CLASS", "RUNS", "CHANGES", "WHY"]
    let rows =
      [head]
      + routes.map { route in
        [
          printable(route.names.method), printable(route.names.pattern), printable(route.names.plugin),
          route.names.declared, route.execution.name, String(route.inlineRuns &+ route.workerRuns),
          String(route.changes), route.why,
        ]
      }
    let widths = head.indices.map { column in rows.map { $0[column].unicodeScalars.count }.max() ?? 0 }
    var text = ""
    for row in rows {
      let cells = zip(row, widths).map { cell, width in
        cell + String(repeating: " ", count: max(0, width - cell.unicodeScalars.count))
      }
      text += Self.withoutTrailingSpaces(cells.joined(separator: "  ")) + "\n"
    }
    if !mayPromote { text += "\nLearned routes do not become inline in this server.\n" }
    return text
  }

  /// The same for programs: one JSON object (RFC 8259).
  var json: String {
    let objects = routes.map { route in
      "{\"method\":\(Self.quoted(route.names.method)),\"pattern\":\(Self.quoted(route.names.pattern)),"
        + "\"plugin\":\(Self.quoted(route.names.plugin)),\"declared\":\(Self.quoted(route.names.declared)),"
        + "\"class\":\(Self.quoted(route.execution.name)),\"why\":\(Self.quoted(route.why)),"
        + "\"inline_runs\":\(route.inlineRuns),\"worker_runs\":\(route.workerRuns),\"changes\":\(route.changes),"
        + "\"inline_waits\":\(route.inlineWaits)}"
    }
    return "{\"may_promote\":\(mayPromote),\"changes\":\(changes),\"inline_waits\":\(inlineWaits),\"routes\":["
      + objects.joined(separator: ",") + "]}\n"
  }

  private static func withoutTrailingSpaces(_ line: String) -> String {
    var line = line
    while line.last == " " { line.removeLast() }
    return line
  }

  /// A JSON string (RFC 8259, 7).
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case "\0"..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
