import CMews

/// What `mews doctor` prints.
struct DoctorReport {
  let findings: [Finding]

  /// Whether Mews can run.
  var isHealthy: Bool { !findings.contains { $0.mark == .problem } }

  /// For people: one finding a line, and what it comes to.
  var text: String {
    let markWidth = Finding.Mark.problem.rawValue.count
    let subjectWidth = findings.map(\.subject.count).max() ?? 0
    var lines = findings.map { finding in
      let advice = finding.advice.map { " -- \($0)" } ?? ""
      return Self.padded(finding.mark.rawValue, markWidth) + "  " + Self.padded(finding.subject, subjectWidth) + "  "
        + finding.text + advice
    }
    let notes = findings.count { $0.mark == .note }
    lines += ["", isHealthy ? "mews can run here" + (notes == 0 ? "" : "; notes: \(notes)") : "mews cannot run here"]
    return lines.joined(separator: "\n") + "\n"
  }

  /// For programs: an object in JSON (RFC 8259), in one line.
  var json: String {
    let items = findings.map { finding in
      let advice = finding.advice.map(Self.quoted) ?? "null"
      return #"{"mark":\#(Self.quoted(finding.mark.rawValue)),"subject":\#(Self.quoted(finding.subject)),"#
        + #""text":\#(Self.quoted(finding.text)),"advice":\#(advice)}"#
    }
    return #"{"version":\#(Self.quoted(MEWS_VERSION_STRING)),"can_run":\#(isHealthy),"findings":["#
      + items.joined(separator: ",") + "]}\n"
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
