import Testing

@testable import MewsHost

@Suite("A route table")
struct RouteTableTests {
  func found(_ payload: Int, _ pattern: String, _ parameters: [String] = []) -> LookupAnswer {
    LookupAnswer(outcome: .found, payload: payload, pattern: pattern, parameters: parameters, allow: [])
  }

  let notFound = LookupAnswer(outcome: .notFound, parameters: [], allow: [])

  func notAllowed(_ allow: Set<String>) -> LookupAnswer {
    LookupAnswer(outcome: .methodNotAllowed, parameters: [], allow: allow)
  }

  @Test("finds literals, parameters and rests, and where they lie in the path")
  func basics() throws {
    try withTable(["GET /", "GET /hello/{name}", "GET /files/{path...}", "POST /hello"]) { table in
      #expect(table.answer("GET", "/") == found(0, "/"))
      #expect(table.answer("GET", "/hello/world") == found(1, "/hello/{name}", ["world"]))
      #expect(table.answer("GET", "/files/") == found(2, "/files/{path...}", [""]))
      #expect(table.answer("GET", "/files/a/b//c/") == found(2, "/files/{path...}", ["a/b//c/"]))
      #expect(table.answer("POST", "/hello") == found(3, "/hello"))
      #expect(table.answer("GET", "/files") == notFound)
      #expect(table.answer("GET", "/hello/world/x") == notFound)
    }
  }

  @Test("counts a slash at the end, and lets an empty segment match only a rest")
  func slashes() throws {
    try withTable(["GET /a", "GET /b/", "GET /p/{x}", "GET /r/{x...}", "GET /p/{x}/"]) { table in
      #expect(table.answer("GET", "/a/") == notFound)
      #expect(table.answer("GET", "/b") == notFound)
      #expect(table.answer("GET", "/b/") == found(1, "/b/"))
      #expect(table.answer("GET", "/b//") == notFound)
      #expect(table.answer("GET", "//a") == notFound)
      #expect(table.answer("GET", "/p/") == notFound)
      #expect(table.answer("GET", "/p//") == notFound)
      #expect(table.answer("GET", "/p/1/") == found(4, "/p/{x}/", ["1"]))
      #expect(table.answer("GET", "/r//") == found(3, "/r/{x...}", ["/"]))
    }
  }

  @Test("prefers literal to parameter to rest, and goes back when a branch leads nowhere")
  func precedence() throws {
    let routes = ["GET /a/b", "GET /a/{x}", "GET /a/{x...}", "GET /{x}/c", "GET /{x...}", "GET /a/b/c/d"]
    try withTable(routes) { table in
      #expect(table.answer("GET", "/a/b") == found(0, "/a/b"))
      #expect(table.answer("GET", "/a/c") == found(1, "/a/{x}", ["c"]))
      #expect(table.answer("GET", "/a/b/c") == found(2, "/a/{x...}", ["b/c"]))
      #expect(table.answer("GET", "/a/b/c/d") == found(5, "/a/b/c/d"))
      #expect(table.answer("GET", "/b/c") == found(3, "/{x}/c", ["b"]))
      #expect(table.answer("GET", "/b/d") == found(4, "/{x...}", ["b/d"]))
      #expect(table.answer("GET", "/a") == found(4, "/{x...}", ["a"]))
    }
  }

  @Test("drops the captures of a branch that it leaves")
  func capturesAfterBacktracking() throws {
    try withTable(["GET /{a}/{b}/{c}/x", "GET /{a}/{b}/{rest...}", "GET /{a}/{b}/{c}/{d}/y"]) { table in
      #expect(table.answer("GET", "/1/2/3/x") == found(0, "/{a}/{b}/{c}/x", ["1", "2", "3"]))
      #expect(table.answer("GET", "/1/2/3/y") == found(1, "/{a}/{b}/{rest...}", ["1", "2", "3/y"]))
      #expect(table.answer("GET", "/1/2/3/4/y") == found(2, "/{a}/{b}/{c}/{d}/y", ["1", "2", "3", "4"]))
      #expect(table.answer("GET", "/1/2/3/4/z") == found(1, "/{a}/{b}/{rest...}", ["1", "2", "3/4/z"]))
    }
  }

  @Test("answers HEAD with GET's route unless HEAD has its own, and '*' last")
  func methods() throws {
    try withTable(["GET /g", "GET /h", "HEAD /h", "GET /s", "* /s", "PURGE /g", "* /only"]) { table in
      #expect(table.answer("HEAD", "/g").payload == 0)
      #expect(table.answer("HEAD", "/h").payload == 2)
      #expect(table.answer("GET", "/h").payload == 1)
      #expect(table.answer("HEAD", "/s").payload == 3)
      #expect(table.answer("DELETE", "/s").payload == 4)
      #expect(table.answer("BREW", "/s").payload == 4)
      #expect(table.answer("PURGE", "/g").payload == 5)
      #expect(table.answer("CONNECT", "/only").payload == 6)
    }
  }

  @Test("says which methods a path has when the method is not among them")
  func allow() throws {
    try withTable(["POST /x", "GET /x", "PURGE /x", "DELETE /y", "PUT /{any}"]) { table in
      #expect(table.answer("PATCH", "/x") == notAllowed(["GET", "HEAD", "POST", "PURGE", "PUT"]))
      #expect(table.answer("BREW", "/y") == notAllowed(["DELETE", "PUT"]))
      #expect(table.answer("get", "/y") == notAllowed(["DELETE", "PUT"]))
      #expect(table.answer("PUT", "/x") == found(4, "/{any}", ["x"]))
      #expect(table.answer("GET", "/x/y") == notFound)
    }
  }

  @Test("writes Allow in a fixed order, and leaves out what does not fit")
  func allowText() throws {
    try withTable(["PURGE /x", "GET /x", "OPTIONS /x"]) { table in
      var match = RouteMatch()
      Array("/x".utf8).withUnsafeBufferPointer { path in
        guard let bytes = path.baseAddress else { return }
        table.lookup(path: bytes, count: 2, method: 2, methodText: bytes, methodCount: 0, into: &match)
      }
      #expect(match.outcome == .methodNotAllowed)
      #expect(table.allowText(match.allowedMethods, capacity: table.allowCapacity) == "GET, HEAD, OPTIONS, PURGE")
      #expect(table.allowText(match.allowedMethods, capacity: 12) == "GET, HEAD")
      #expect(table.allowText(match.allowedMethods, capacity: 2) == "")
    }
  }

  @Test("finds nothing for what is no path", arguments: ["", "*", "a", "a/b", "http://host/x"])
  func noPath(path: String) throws {
    try withTable(["* /{x...}"]) { table in #expect(table.answer("GET", path) == notFound) }
  }

  @Test("without routes finds nothing")
  func empty() throws {
    try withTable([]) { table in #expect(table.answer("GET", "/") == notFound) }
  }

  @Test("tells a parameter's place by its name")
  func names() throws {
    try withTable(["GET /{first}/{second}/{third...}"]) { table in
      var match = RouteMatch()
      Array("/1/2/3/4".utf8).withUnsafeBufferPointer { path in
        guard let bytes = path.baseAddress else { return }
        table.lookup(path: bytes, count: path.count, method: 0, methodText: bytes, methodCount: 0, into: &match)
      }
      let route = try #require(match.route).pointee
      func index(_ name: String) -> Int? {
        Array((name + "?").utf8).withUnsafeBufferPointer { bytes in
          bytes.baseAddress.flatMap { route.parameterIndex(name: $0, count: name.utf8.count) }
        }
      }
      #expect(index("first") == 0)
      #expect(index("second") == 1)
      #expect(index("third") == 2)
      #expect(index("fourth") == nil)
      #expect(index("secon") == nil)
      #expect(index("") == nil)
    }
  }

  @Test("captures sixteen parameters")
  func sixteenParameters() throws {
    let pattern = (0..<15).map { "/{p\($0)}" }.joined() + "/{rest...}"
    let path = (0..<20).map { "/\($0)" }.joined()
    try withTable(["GET \(pattern)"]) { table in
      let answer = table.answer("GET", path)
      #expect(answer.parameters == (0..<15).map(String.init) + ["15/16/17/18/19"])
    }
  }

  @Test("finds each of many literals, which share prefixes and lengths")
  func manyLiterals() throws {
    let names = (0..<500).map { "item\($0)" } + (0..<100).map { String(repeating: "x", count: $0 + 1) }
    try withTable(names.map { "GET /v/\($0)" }) { table in
      for (index, name) in names.enumerated() { #expect(table.answer("GET", "/v/\(name)").payload == index) }
      #expect(table.answer("GET", "/v/item500") == notFound)
      #expect(table.answer("GET", "/v/item") == notFound)
      #expect(table.answer("GET", "/v/") == notFound)
    }
  }
}
