import Testing

@testable import MewsHost

/// The rules of routing said as plainly as possible: every route is tried, and the best of those that fit is taken.
struct ReferenceRouter {
  struct Route {
    let method: String
    let pattern: RoutePattern
    let payload: Int
  }

  var routes: [Route] = []

  /// What a pattern captures from a path, or nil if it does not fit.
  private func captures(_ pattern: RoutePattern, _ path: String) -> [String]? {
    guard path.first == "/" else { return nil }
    let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    var captures: [String] = []
    for (index, segment) in pattern.segments.enumerated() {
      switch segment {
      case .rest:
        guard index < parts.count else { return nil }
        return captures + [parts[index...].joined(separator: "/")]
      case .parameter:
        guard index < parts.count, !parts[index].isEmpty else { return nil }
        captures.append(parts[index])
      case .literal(let bytes):
        guard index < parts.count, Array(parts[index].utf8) == bytes else { return nil }
      }
    }
    return parts.count == pattern.segments.count ? captures : nil
  }

  private func ranks(_ pattern: RoutePattern) -> [Int] {
    pattern.segments.map { segment in
      switch segment {
      case .literal: 0
      case .parameter: 1
      case .rest: 2
      }
    }
  }

  /// How well a route fits a method: lower is better, nil is not at all.
  private func methodRank(_ route: Route, _ method: String) -> Int? {
    if route.method == method { return 0 }
    if route.method == "GET" && method == "HEAD" { return 1 }
    return route.method == "*" ? 2 : nil
  }

  func answer(_ method: String, _ path: String) -> LookupAnswer {
    let fitting = routes.compactMap { route in captures(route.pattern, path).map { (route, $0) } }
    let candidates = fitting.compactMap { route, captures in
      methodRank(route, method).map { (key: ranks(route.pattern) + [$0], route: route, captures: captures) }
    }
    if let best = candidates.min(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      return LookupAnswer(
        outcome: .found, payload: best.route.payload, pattern: best.route.pattern.text, parameters: best.captures,
        allow: [])
    }
    guard !fitting.isEmpty else { return LookupAnswer(outcome: .notFound, parameters: [], allow: []) }
    let methods = Set(fitting.map(\.0.method))
    return LookupAnswer(
      outcome: .methodNotAllowed, parameters: [], allow: methods.contains("GET") ? methods.union(["HEAD"]) : methods)
  }
}

@Suite("A route table, compared with the plain rules")
struct RouteTableReferenceTests {
  let words = ["a", "b", "ab", "abc", "hello"]
  let methods = ["GET", "HEAD", "POST", "OPTIONS", "*", "PURGE", "BREW"]

  func randomPattern(_ random: inout SeededGenerator) -> String {
    let count = Int.random(in: 1...4, using: &random)
    var pattern = ""
    for index in 0..<count {
      let isLast = index == count - 1
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<5: pattern += "/" + (words.randomElement(using: &random) ?? "")
      case 5..<8: pattern += "/{p\(index)}"
      case 8 where isLast: pattern += "/{r...}"
      case 9 where isLast: pattern += "/"
      default: pattern += "/x"
      }
    }
    return pattern
  }

  func randomPath(_ random: inout SeededGenerator) -> String {
    (0..<Int.random(in: 1...5, using: &random)).map { _ in
      switch Int.random(in: 0..<10, using: &random) {
      case 0: "/"
      case 1: "/other"
      case 2: "/x"
      default: "/" + (words.randomElement(using: &random) ?? "")
      }
    }.joined()
  }

  @Test("gives the same answers for random routes and paths", arguments: 0..<40)
  func sameAnswers(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    var router = Router()
    var reference = ReferenceRouter()
    for index in 0..<Int.random(in: 1...60, using: &random) {
      let method = methods.randomElement(using: &random) ?? "GET"
      let pattern = randomPattern(&random)
      do throws(RouterError) {
        try router.add(method: method, pattern: pattern, owner: testOwner, payload: payload(index))
      } catch {
        guard case .conflict = error else { throw error }
        continue
      }
      reference.routes.append(.init(method: method, pattern: try RoutePattern(parsing: pattern), payload: index))
    }
    let table = try #require(router.makeTable())
    defer { table.destroy() }
    for _ in 0..<500 {
      let method = (methods + ["DELETE", "MKCOL"]).filter { $0 != "*" }.randomElement(using: &random) ?? "GET"
      let path = randomPath(&random)
      let expected = reference.answer(method, path)
      #expect(table.answer(method, path) == expected, "\(method) \(path)")
    }
  }
}
