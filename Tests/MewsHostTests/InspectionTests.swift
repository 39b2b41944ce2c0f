import Glibc
import Testing

@testable import MewsHost

@Suite("What a running server tells about itself")
struct InspectionTests {
  @Test(
    "Texts in JSON escape what has to be, and nothing else",
    arguments: [
      ("/a/{b}", #""/a/{b}""#),
      (#"a"b\c"#, #""a\"b\\c""#),
      ("a\nb\u{1f}\u{0}", #""a\u000ab\u001f\u0000""#),
      ("\u{7f}ä\u{1f600}", "\"\u{7f}ä\u{1f600}\""),
    ])
  func quoting(text: String, quoted: String) {
    #expect(RoutesReport.quoted(text) == quoted)
  }

  @Test("A server is told to its user and to root")
  func permission() {
    #expect(Inspection.mayAsk(0, serverOf: 1000))
    #expect(Inspection.mayAsk(1000, serverOf: 1000))
    #expect(!Inspection.mayAsk(1001, serverOf: 1000))
    #expect(!Inspection.mayAsk(1000, serverOf: 0))
  }

  @Test("The line of every question is as long as a server reads")
  func questions() {
    for question in Inspection.Question.allCases { #expect(question.line.utf8.count < Inspection.Question.longestLine) }
  }

  @Test("A process's command line is readable, and empty when there is no such process")
  func commandLine() {
    #expect(!Inspection.commandLine(of: getpid()).isEmpty)
    #expect(Inspection.commandLine(of: Int32.max) == "")
  }
}
