import MewsKit
import Synchronization

/// Uses what plain Swift code uses: classes, protocols, generics, dictionaries, casts, errors, actors, tasks, timers.
@main
final class Features: Plugin {
  private let host: Host
  private let words = Counter<String>()
  private let visitors = Visitors()
  private let banner = SharedBytes(Array(repeating: UInt8(ascii: "m"), count: 100_000))
  private let ticks = Mutex(0)
  private let sleepers = Sleepers()

  init(host: Host) throws {
    if let reason = host.settings["refuse"] { throw Refusal(reason: reason) }
    self.host = host
    try host.schedule(after: .milliseconds(50)) { [self] in ticks.withLock { $0 += 1 } }
    try host.schedule(after: .seconds(3600)) { [self] in ticks.withLock { $0 += 1000 } }.cancel()
  }

  func addRoutes(to routes: Routes) {
    addRequestRoutes(to: routes)
    addLanguageRoutes(to: routes)
    addErrorRoutes(to: routes)
    addAsyncRoutes(to: routes)
  }

  func stop() {
    host.log("stopped after \(words.total) words")
  }

  /// What a request holds and a response can be.
  private func addRequestRoutes(to routes: Routes) {
    routes.get("/features/request/{name}/{path...}") { request in
      let fields = request.headers.fields.map { "\($0.name)=\($0.value)" }.joined(separator: ";")
      return .text(
        """
        method \(request.method)
        target \(request.target)
        path \(request.path)
        version \(request.version)
        name \(request.parameters["name"] ?? "-")
        rest \(request.parameters["path"] ?? "-")
        absent \(request.parameters["absent"] ?? "-")
        query \(request.query.text ?? "-")
        q \(request.query["q"] ?? "-")
        x-two \(request.headers.all("X-Two").joined(separator: ","))
        fields \(fields)

        """)
    }
    routes.post("/features/echo") { request in
      let type = request.headers["Content-Type"].map { ContentType($0) } ?? .octetStream
      return try request.respond(contentType: type, headers: [Header("X-Echo", "yes")], copying: request.body)
    }
    routes.post("/features/sum", on: .ioThread) { request in
      let body = request.body
      let sum = body.byteOffsets.reduce(0) { $0 &+ Int(body.unsafeLoad(fromByteOffset: $1, as: UInt8.self)) }
      return .text("\(sum)\n")
    }
    routes.get("/features/shared") { [banner] _ in Response(contentType: .plainText, body: .shared(banner)) }
    routes.get("/features/headers") { _ in
      Response.status(.noContent).header("X-First", "1").header("X-Second", "2").header("X-First", "3")
    }
  }

  /// Classes, generics, dictionaries, casts and the host's services.
  private func addLanguageRoutes(to routes: Routes) {
    routes.post("/features/words") { [words] request in
      let text = request.withBody { String(decoding: $0, as: UTF8.self) }
      for word in text.split(separator: " ") { words.add(String(word)) }
      return .text(words.summary + "\n")
    }
    routes.get("/features/shapes") { _ in
      let shapes: [any Shape] = [Square(side: 2), Circle(radius: 1)]
      let squares = shapes.compactMap { $0 as? Square }.count
      return .text("\(shapes.map(\.name).joined(separator: ",")) \(squares)\n")
    }
    routes.get("/features/host") { [self] _ in
      let isOnWorker = host.workerIndex.map { $0 < host.workerCount } ?? false
      return .text("\(host.name) \(host.version) \(isOnWorker) \(ticks.withLock { $0 })\n")
    }
  }

  /// What becomes of errors.
  private func addErrorRoutes(to routes: Routes) {
    routes.get("/features/throws") { _ in throw Refusal(reason: "on purpose") }
    routes.get("/features/teapot") { _ in throw HTTPError(418, "short and stout") }
    routes.get("/features/bad-header") { _ in Response.text("x").header("", "empty name") }
    routes.get("/features/twice") { request in
      _ = try request.respond(copying: request.body)
      return .text("a second response\n")
    }
  }

  /// Asynchronous handlers, and an actor they share.
  private func addAsyncRoutes(to routes: Routes) {
    routes.post("/features/async/{name}") { [visitors] request in
      let number = await visitors.enter(request.parameters["name"] ?? "-")
      async let doubled = double(number)
      try await Task.sleep(for: .milliseconds(1))
      return .text("\(number) \(await doubled) \(request.query["q"] ?? "-") \(request.body.count)\n")
    }
    routes.get("/features/async-throws") { _ async throws in throw HTTPError(.conflict, "asynchronously") }
    routes.get("/features/async-sleep/{ms}") { [sleepers] request in
      sleepers.begin()
      try await sleep(request)
      sleepers.end()
      return .text("slept\n")
    }
    routes.get("/features/late-async/{ms}", timeout: .after(.milliseconds(100))) { [sleepers] request in
      sleepers.begin()
      try await sleep(request)
      sleepers.end()
      return .text("in time\n")
    }
    routes.get("/features/late/{ms}", on: .worker, timeout: .after(.milliseconds(100))) { request in
      let end = ContinuousClock.now + .milliseconds(Int(request.parameters["ms"] ?? "") ?? 0)
      while ContinuousClock.now < end {}
      return .text("in time\n")
    }
    routes.get("/features/async-sleepers") { [sleepers] _ in .text(sleepers.summary + "\n") }
    routes.get("/features/async-late-throw/{kind}/{ms}") { request in
      try await sleep(request)
      if request.parameters["kind"] == "http" { throw HTTPError(.conflict, "late") }
      throw Refusal(reason: "late, on purpose")
    }
    // Whether the pieces of a task, a child task and a task of the plugin's own run on the host's workers.
    routes.get("/features/async-threads") { [host] _ in
      let first = host.workerIndex != nil
      try await Task.sleep(for: .milliseconds(5))
      let second = host.workerIndex != nil
      async let child = host.workerIndex != nil
      let own = Task(executorPreference: host.taskExecutor) { host.workerIndex != nil }
      return .text("\(first) \(second) \(await child) \(await own.value)\n")
    }
    routes.get("/features/async-forgotten-task") { [host] _ in
      Task(executorPreference: host.taskExecutor) {
        while true { try await Task.sleep(for: .milliseconds(1)) }
      }
      return .text("started\n")
    }
  }
}

/// Why the plugin does not start, or a handler fails.
struct Refusal: Error {
  let reason: String
}

/// Counts values of any kind.
final class Counter<Value: Hashable & Comparable & Sendable>: Sendable {
  private let counts = Mutex<[Value: Int]>([:])

  func add(_ value: Value) {
    counts.withLock { $0[value, default: 0] += 1 }
  }

  var total: Int { counts.withLock { $0.values.reduce(0, +) } }

  var summary: String {
    counts.withLock { counts in
      counts.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
  }
}

/// How many asynchronous handlers have begun to sleep, and how many have come to their end.
final class Sleepers: Sendable {
  private let counts = Mutex((begun: 0, ended: 0))

  func begin() { counts.withLock { $0.begun += 1 } }

  func end() { counts.withLock { $0.ended += 1 } }

  var summary: String { counts.withLock { "\($0.begun) \($0.ended)" } }
}

/// Something with a name.
protocol Shape {
  var name: String { get }
}

struct Square: Shape {
  let side: Double
  var name: String { "square of \(side)" }
}

final class Circle: Shape {
  let radius: Double
  init(radius: Double) { self.radius = radius }
  var name: String { "circle of \(radius)" }
}

/// Numbers visitors by name.
actor Visitors {
  private var numbers: [String: Int] = [:]

  func enter(_ name: String) -> Int {
    numbers[name, default: 0] += 1
    return numbers[name, default: 0]
  }
}

func double(_ number: Int) async -> Int { number * 2 }

/// Suspends for as many milliseconds as the path says.
func sleep(_ request: OwnedRequest) async throws {
  try await Task.sleep(for: .milliseconds(Int(request.parameters["ms"] ?? "") ?? 0))
}
