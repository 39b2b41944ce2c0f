import Testing

@testable import MewsCore

@Suite("The request parser")
struct RequestParserTests {
  @Test("accepts what RFC 9112 allows", arguments: acceptedRequests)
  func accepts(_ request: String) {
    guard case .complete(let head) = parse(request) else {
      Issue.record("not complete: \(parse(request))")
      return
    }
    #expect(head.consumed == request.utf8.count)
  }

  @Test("refuses everything else, with a cause", arguments: refusedRequests)
  func refuses(_ request: RefusedRequest) {
    #expect(parse(request.text) == .failed(request.error))
  }

  @Test("gives method, target, path, query and version as sent")
  func requestLine() throws {
    let head = try #require(parsed("GET /a%20b/c?d=e&f HTTP/1.1\r\nHost: example.com:8080\r\n\r\n"))
    #expect(head.method == .get)
    #expect(head.methodText == "GET")
    #expect(head.target == "/a%20b/c?d=e&f")
    #expect(head.form == .origin)
    #expect(head.path == "/a%20b/c")
    #expect(head.query == "d=e&f")
    #expect(head.versionMinor == 1)
    #expect(head.authority == "example.com:8080")
    #expect(head.hostIndex == 0)
  }

  @Test(
    "tells methods apart by case",
    arguments: [
      ("GET", Method.get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("OPTIONS", .options),
      ("PATCH", .patch), ("TRACE", .trace), ("get", .other), ("Get", .other), ("GETS", .other), ("G", .other),
      ("POSt", .other), ("PURGE", .other), ("PROPFIND", .other), ("OPTIONs", .other), ("DELETf", .other),
    ])
  func methods(_ name: String, _ method: Method) throws {
    let head = try #require(parsed("\(name) / HTTP/1.1\r\nHost: a\r\n\r\n"))
    #expect(head.method == method)
    #expect(head.methodText == name)
  }

  @Test("an empty query is not the same as none")
  func emptyQuery() throws {
    #expect(try #require(parsed("GET /a? HTTP/1.0\r\n\r\n")).query == "")
    #expect(try #require(parsed("GET /a HTTP/1.0\r\n\r\n")).query == nil)
  }

  @Test(
    "takes path and authority out of the absolute form, and ignores Host for it",
    arguments: [
      ("http://b.example:81/p/q?r", "b.example:81", "/p/q", "r" as String?, false),
      ("https://b.example/", "b.example", "/", nil, false),
      ("http://b.example", "b.example", "", nil, true),
      ("http://b.example?r", "b.example", "", "r", true),
      ("http://[2001:db8::1]:80/", "[2001:db8::1]:80", "/", nil, false),
    ])
  func absoluteForm(_ target: String, _ authority: String, _ path: String, _ query: String?, _ implied: Bool) throws {
    let head = try #require(parsed("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n"))
    #expect(head.form == .absolute)
    #expect(head.authority == authority)
    #expect(head.path == path)
    #expect(head.query == query)
    #expect(head.pathIsImplied == implied)
    #expect(head.fields.first?.value == "a")
  }

  @Test("knows the asterisk and authority forms")
  func otherForms() throws {
    let options = try #require(parsed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"))
    #expect(options.form == .asterisk)
    #expect(options.pathIsImplied && options.path.isEmpty)
    #expect(options.authority == "a")
    let connect = try #require(parsed("CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n"))
    #expect(connect.form == .authority)
    #expect(connect.authority == "b:443")
    #expect(connect.pathIsImplied && connect.path.isEmpty)
  }

  @Test(
    "knows which paths need no normalization",
    arguments: [
      ("/", true), ("/a", true), ("/a/b/c", true), ("/a.b/c", true), ("/a?b//c%20/..", true), ("/a/", true),
      ("//", false), ("/a//b", false), ("/a/./b", false), ("/a/..", false), ("/.", false), ("/a%20b", false),
      ("/.hidden", false), ("/0123456789abcd/.", false), ("/0123456789abc/./", false), ("/0123456789abcde//", false),
      ("/0123456789abcdef/0123456789abcdef/0123456789abcdef%41", false),
      ("/0123456789abcdef/0123456789abcdef/0123456789abcdef?%41", true),
    ])
  func plainPaths(_ target: String, _ isPlain: Bool) throws {
    #expect(try #require(parsed("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")).pathIsPlain == isPlain)
    // With nothing after the target that fills a vector.
    #expect(try #require(parsed("GET \(target) HTTP/1.0\r\n\r\n")).pathIsPlain == isPlain)
  }

  @Test("keeps header fields in order, with repetitions, without the white space around values")
  func fields() throws {
    let head = try #require(
      parsed("GET / HTTP/1.1\r\nB: 1\r\nHost:a\r\nb:  2 3\t \r\nEmpty:\r\nBlank: \t \r\nB:\t4\r\n\r\n"))
    #expect(
      head.fields == [
        .init(name: "B", value: "1", known: .other), .init(name: "Host", value: "a", known: .host),
        .init(name: "b", value: "2 3", known: .other), .init(name: "Empty", value: "", known: .other),
        .init(name: "Blank", value: "", known: .other), .init(name: "B", value: "4", known: .other),
      ])
    #expect(head.hostIndex == 1)
  }

  @Test("leaves the bytes after the head alone")
  func consumed() throws {
    let first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(try #require(parsed(first + "\u{0}\u{1}garbage")).consumed == first.utf8.count)
  }

  @Test(
    "stays open by version and Connection field",
    arguments: [
      ("HTTP/1.1", [], true), ("HTTP/1.1", ["close"], false), ("HTTP/1.1", ["Close"], false),
      ("HTTP/1.1", ["keep-alive"], true), ("HTTP/1.1", ["keep-alive, close"], false),
      ("HTTP/1.1", ["keep-alive", "close"], false), ("HTTP/1.1", ["x, , close ,"], false),
      ("HTTP/1.1", ["closed"], true), ("HTTP/1.0", [], false), ("HTTP/1.0", ["keep-alive"], true),
      ("HTTP/1.0", ["Keep-Alive"], true), ("HTTP/1.0", ["te, KEEP-ALIVE"], true),
      ("HTTP/1.0", ["keep-alive", "close"], false),
    ])
  func keepAlive(_ version: String, _ options: [String], _ keepAlive: Bool) throws {
    let fields = options.map { "Connection: \($0)\r\n" }.joined()
    #expect(try #require(parsed("GET / \(version)\r\nHost: a\r\n\(fields)\r\n")).keepAlive == keepAlive)
  }

  @Test("knows an offer to upgrade")
  func upgrade() throws {
    func upgrade(_ version: String, _ fields: String) throws -> Bool {
      try #require(parsed("GET / \(version)\r\nHost: a\r\n\(fields)\r\n")).upgrade
    }
    #expect(try upgrade("HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
    #expect(try upgrade("HTTP/1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n"))
    #expect(try !upgrade("HTTP/1.1", "Upgrade: websocket\r\n"))
    #expect(try !upgrade("HTTP/1.1", "Connection: upgrade\r\n"))
    #expect(try !upgrade("HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"))
  }

  @Test("knows who waits for 100 Continue")
  func expectContinue() throws {
    func expects(_ version: String, _ value: String) throws -> Bool {
      try #require(parsed("PUT / \(version)\r\nHost: a\r\nExpect: \(value)\r\n\r\n")).expectsContinue
    }
    #expect(try expects("HTTP/1.1", "100-continue"))
    #expect(try expects("HTTP/1.1", "100-Continue"))
    #expect(try !expects("HTTP/1.1", "100-continued"))
    #expect(try !expects("HTTP/1.0", "100-continue"))
  }

  @Test(
    "frames the body",
    arguments: [
      ("", Int64(-1), false), ("Content-Length: 0\r\n", 0, false), ("content-length: 42\r\n", 42, false),
      ("Content-Length: 9223372036854775807\r\n", Int64.max, false), ("Transfer-Encoding: Chunked\r\n", -1, true),
    ])
  func framing(_ field: String, _ length: Int64, _ isChunked: Bool) throws {
    let head = try #require(parsed("POST / HTTP/1.1\r\nHost: a\r\n\(field)\r\n"))
    #expect(head.contentLength == length)
    #expect(head.isChunked == isChunked)
  }

  @Test(
    "recognizes field names in any case, and only whole ones",
    arguments: [
      ("Accept", KnownHeader.accept), ("ACCEPT-ENCODING", .acceptEncoding), ("accept-language", .acceptLanguage),
      ("Authorization", .authorization), ("Cache-Control", .cacheControl), ("Content-Encoding", .contentEncoding),
      ("Content-Type", .contentType), ("Cookie", .cookie), ("Date", .date), ("If-Modified-Since", .ifModifiedSince),
      ("If-None-Match", .ifNoneMatch), ("Origin", .origin), ("Range", .range), ("Referer", .referer),
      ("Sec-WebSocket-Key", .secWebSocketKey), ("Server", .server), ("User-Agent", .userAgent), ("Expect", .expect),
      ("Connection", .connection), ("Upgrade", .upgrade), ("X-Accept", .other), ("Hosts", .other), ("Hos", .other),
      ("User_Agent", .other), ("If-Modified-Sinc1", .other), ("Cookif", .other), ("Cpntent-Type", .other),
    ])
  func knownNames(_ name: String, _ known: KnownHeader) throws {
    let head = try #require(parsed("GET / HTTP/1.1\r\nHost: a\r\n\(name): x\r\n\r\n"))
    #expect(head.fields.last == .init(name: name, value: "x", known: known))
  }

  @Test("finds fields by number and by name")
  func lookup() {
    let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
    head.initialize(to: RequestHead())
    defer { head.deallocate() }
    var parser = RequestParser(limits: RequestLimits())
    let bytes = Array("GET / HTTP/1.1\r\nX-A: 1\r\nCookie: 2\r\nhost: a\r\nx-a: 3\r\nCOOKIE: 4\r\n\r\n".utf8)
    GuardedBytes.with(bytes) { base, count in
      #expect(parser.parse(base, count, into: head).isComplete)
      #expect(head.pointee.index(of: .cookie) == 1)
      #expect(head.pointee.index(of: .cookie, from: 2) == 4)
      #expect(head.pointee.index(of: .cookie, from: 5) == -1)
      #expect(head.pointee.index(of: .range) == -1)
      func find(_ name: String, from first: Int = 0) -> Int {
        GuardedBytes.with(Array(name.utf8)) { head.pointee.index(of: $0, $1, in: base, from: first) }
      }
      #expect(find("X-a") == 0)
      #expect(find("X-A", from: 1) == 3)
      #expect(find("HOST") == 2)
      #expect(find("X\rA") == -1)
      #expect(find("X") == -1)
      #expect(find("") == -1)
    }
  }

  @Test("every cause has a status and a reason")
  func causes() {
    for request in refusedRequests {
      #expect([400, 501, 505].contains(request.error.status))
      #expect(request.error.reason.utf8CodeUnitCount > 10)
    }
    #expect(RequestError.targetTooLong.status == 414)
    #expect(RequestError.tooManyFields.status == 431)
    #expect(RequestError.fieldsTooLarge.status == 431)
    #expect(RequestError.trailersTooLarge.status == 431)
    #expect(RequestError.unsupportedVersion.status == 505)
    #expect(RequestError.unsupportedTransferCoding.status == 501)
    #expect(RequestError.noError.status == 0)
  }
}
