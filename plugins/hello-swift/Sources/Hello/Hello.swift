import MewsKit

/// Greets whoever the path names, and serves the plain text that benchmarks ask for.
@main
struct Hello: Plugin {
  init(host: Host) {}

  func addRoutes(to routes: Routes) {
    routes.get("/swift/hello/{name}") { request in
      .text("Hello, \(request.parameters["name"] ?? "stranger")!\n")
    }

    // Short and never waiting, so it may run on the I/O thread; constant, so it is sent from where it lies.
    routes.get("/swift/plaintext", on: .ioThread) { _ in
      Response(contentType: "text/plain", body: .constant("Hello, World!"))
    }
  }
}
