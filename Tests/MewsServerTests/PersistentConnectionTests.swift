import CMews
import MewsCore
import Testing

@testable import MewsServer

@Suite("Persistent connections")
struct PersistentConnectionTests {
  @Test("A request in, a response out, byte for byte, and the connection stays open")
  func oneRequest() throws {
    try withServer { server in
      server.handle("GET", "/hello") { $0.respond("hello") }
      let client = server.connect()

      client.send(
        wire(
          """
          GET /hello HTTP/1.1
          Host: mews


          """))

      #expect(
        client.receive()
          == wire(
            """
            HTTP/1.1 200 OK
            Server: Mews
            Date: Sun, 06 Nov 1994 08:49:37 GMT
            Content-Type: text/plain
            Content-Length: 5

            hello
            """))
      #expect(client.state == .open)
    }
  }
}
