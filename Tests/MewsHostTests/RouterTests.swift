import Testing

@testable import MewsHost

@Suite("A router")
struct RouterTests {
  let hello = RouteOwner(name: "hello", file: "hello.so")
  let other = RouteOwner(name: "other", file: "other.so")

  func error(_ method: String, _ pattern: String, by owner: RouteOwner, in router: inout Router) -> String? {
    do throws(RouterError) {
      try router.add(method: method, pattern: pattern, owner: owner, payload: payload(0))
      return nil
    } catch {
      return error.description
    }
  }

  @Test("names both plugins that claim one route")
  func conflict() {
    var router = Router()
    #expect(error("GET", "/x", by: hello, in: &router) == nil)
    #expect(
      error("GET", "/x", by: other, in: &router) == "GET /x is claimed by hello (hello.so) and by other (other.so)")
    #expect(router.routes.count == 1)
  }

  @Test("takes patterns that differ only in the names of their parameters for one")
  func conflictOfShapes() {
    var router = Router()
    #expect(error("GET", "/x/{a}", by: hello, in: &router) == nil)
    #expect(
      error("GET", "/x/{b}", by: other, in: &router)
        == "GET /x/{b} is claimed by hello (hello.so), as /x/{a}, and by other (other.so)")
    #expect(error("GET", "/x/{a...}", by: other, in: &router) == nil)
    #expect(
      error("GET", "/x/{rest...}", by: hello, in: &router)
        == "GET /x/{rest...} is claimed by other (other.so), as /x/{a...}, and by hello (hello.so)")
  }

  @Test("says when one plugin claims a route twice, and names a program without a file")
  func conflictWithItself() {
    var router = Router()
    let program = RouteOwner(name: "program")
    #expect(error("GET", "/x", by: program, in: &router) == nil)
    #expect(error("GET", "/x", by: program, in: &router) == "GET /x is claimed twice by program")
  }

  @Test("lets other methods, the method '*' and other shapes of a pattern stand beside each other")
  func noConflict() {
    var router = Router()
    for method in ["GET", "HEAD", "POST", "*", "PURGE", "get"] {
      #expect(error(method, "/x", by: hello, in: &router) == nil)
    }
    for pattern in ["/x/", "/{x}", "/{x...}", "/X"] {
      #expect(error("GET", pattern, by: other, in: &router) == nil)
    }
    #expect(error("*", "/x", by: other, in: &router) == "* /x is claimed by hello (hello.so) and by other (other.so)")
  }

  @Test("refuses a method that is no token", arguments: ["", "GET POST", "GÉT", "a,b", "GET\r"])
  func badMethods(method: String) {
    var router = Router()
    #expect(
      error(method, "/", by: hello, in: &router)
        == "the method '\(printable(method))' is neither a token such as GET nor '*'")
  }

  @Test("passes on what is wrong with a pattern")
  func badPattern() {
    var router = Router()
    #expect(error("GET", "x", by: hello, in: &router) == "the pattern 'x' must start with '/'")
  }

  @Test("takes 63 methods in all and refuses the next, known ones still fitting")
  func methodLimit() throws {
    var router = Router()
    for index in 0..<54 { #expect(error("M\(index)", "/", by: hello, in: &router) == nil) }
    #expect(
      error("M54", "/", by: hello, in: &router)
        == "the method 'M54' is one too many: the routes may name 63 methods together")
    #expect(error("M53", "/other", by: hello, in: &router) == nil)
    #expect(error("CONNECT", "/", by: hello, in: &router) == nil)
    let table = try #require(router.makeTable())
    defer { table.destroy() }
    #expect(table.answer("M53", "/").outcome == .found)
    #expect(table.answer("M54", "/").allow.count == 55)
  }

  @Test("is a value: a copy made before a plugin's start undoes the start")
  func rollback() {
    var router = Router()
    let before = router
    #expect(error("GET", "/x", by: hello, in: &router) == nil)
    router = before
    #expect(error("GET", "/x", by: other, in: &router) == nil)
  }
}
