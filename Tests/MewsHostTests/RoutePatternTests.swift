import Testing

@testable import MewsHost

@Suite("A route pattern")
struct RoutePatternTests {
  @Test("is a row of literals, parameters and at most one rest")
  func segments() throws {
    let pattern = try RoutePattern(parsing: "/hello/{name}/files/{path...}")
    #expect(
      pattern.segments == [
        .literal(Array("hello".utf8)), .parameter(name: "name"), .literal(Array("files".utf8)), .rest(name: "path"),
      ])
    #expect(pattern.parameterNames == ["name", "path"])
    #expect(pattern.text == "/hello/{name}/files/{path...}")
  }

  @Test("keeps the slash at its end as an empty literal")
  func trailingSlash() throws {
    #expect(try RoutePattern(parsing: "/").segments == [.literal([])])
    #expect(try RoutePattern(parsing: "/a/").segments == [.literal(Array("a".utf8)), .literal([])])
    #expect(try RoutePattern(parsing: "/a").segments == [.literal(Array("a".utf8))])
  }

  @Test("has a shape that does not depend on the names of its parameters")
  func shape() throws {
    #expect(try RoutePattern(parsing: "/{a}/x/{b...}").shape == RoutePattern(parsing: "/{c}/x/{d...}").shape)
    #expect(try RoutePattern(parsing: "/{a}").shape != RoutePattern(parsing: "/{a...}").shape)
    #expect(try RoutePattern(parsing: "/{a}").shape != RoutePattern(parsing: "/{a}/").shape)
  }

  @Test("takes sixteen parameters and not one more")
  func parameterLimit() throws {
    let sixteen = (0..<16).map { "/{p\($0)}" }.joined()
    #expect(try RoutePattern(parsing: sixteen).parameterNames.count == 16)
    #expect(throws: RoutePatternError.self) { try RoutePattern(parsing: sixteen + "/{p16}") }
  }

  @Test(
    "says what is wrong with it",
    arguments: [
      ("", "the pattern '' must start with '/'"),
      ("hello", "the pattern 'hello' must start with '/'"),
      ("*", "the pattern '*' must start with '/'"),
      ("/a?b=c", "the pattern '/a?b=c' must be a path only, without '?' and '#'"),
      ("/a#b", "the pattern '/a#b' must be a path only, without '?' and '#'"),
      ("/a\nb", "the pattern '/a\\x0Ab' has a control character"),
      ("//a", "the pattern '//a' has an empty segment ('//'), which only a rest such as {path...} can match"),
      ("/a//", "the pattern '/a//' has an empty segment ('//'), which only a rest such as {path...} can match"),
      ("/a/../b", "the pattern '/a/../b' has the segment '..', which no normalized path has"),
      ("/a/.", "the pattern '/a/.' has the segment '.', which no normalized path has"),
      ("/{}", "the pattern '/{}' has a parameter without a name"),
      ("/{...}", "the pattern '/{...}' has a parameter without a name"),
      (
        "/{a b}",
        "the pattern '/{a b}' has the parameter name 'a b': a name has letters, digits and '_' "
          + "and does not start with a digit"
      ),
      (
        "/{1a}",
        "the pattern '/{1a}' has the parameter name '1a': a name has letters, digits and '_' "
          + "and does not start with a digit"
      ),
      ("/{a}/{a}", "the pattern '/{a}/{a}' has the parameter 'a' twice"),
      ("/{a}/{a...}", "the pattern '/{a}/{a...}' has the parameter 'a' twice"),
      ("/{a...}/b", "the pattern '/{a...}/b' has {a...} before its end: a rest is the last segment"),
      ("/{a...}/", "the pattern '/{a...}/' has {a...} before its end: a rest is the last segment"),
      (
        "/{a}.json",
        "the pattern '/{a}.json' has braces inside the segment '{a}.json': "
          + "a parameter is a whole segment, such as {name}"
      ),
      (
        "/x}",
        "the pattern '/x}' has braces inside the segment 'x}': a parameter is a whole segment, such as {name}"
      ),
    ])
  func errors(pattern: String, text: String) {
    do throws(RoutePatternError) {
      _ = try RoutePattern(parsing: pattern)
      Issue.record("accepted \(pattern)")
    } catch {
      #expect(error.description == text)
    }
  }
}
