@testable import MewsHost

/// Payloads are never dereferenced by a router: any address does.
func payload(_ number: Int) -> UnsafeMutableRawPointer {
  UnsafeMutableRawPointer(bitPattern: number + 1)!
}

let testOwner = RouteOwner(name: "test", file: "test.so")

/// What a lookup answered, as values that a test can compare.
struct LookupAnswer: Equatable, CustomStringConvertible {
  var outcome: RouteOutcome
  var payload: Int?
  var pattern: String?
  var parameters: [String]
  var allow: Set<String>

  var description: String { "\(outcome) payload \(payload ?? -1) \(pattern ?? "-") \(parameters) allow \(allow)" }
}

extension RouteTable {
  /// The methods of the nine with a code of their own.
  static let codes = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"]

  func answer(_ method: String, _ path: String) -> LookupAnswer {
    var match = RouteMatch()
    var allow = ""
    let pathBytes = Array(path.utf8)
    let code = UInt8(Self.codes.firstIndex(of: method) ?? 9)
    // Exact allocations, so that the address sanitizer sees a read behind the end.
    pathBytes.withUnsafeBufferPointer { path in
      Array(method.utf8).withUnsafeBufferPointer { text in
        guard let text = text.baseAddress, let bytes = path.baseAddress else { return }
        lookup(
          path: bytes, count: path.count, method: code, methodText: text, methodCount: method.utf8.count, into: &match)
      }
    }
    if match.outcome == .methodNotAllowed {
      allow = allowText(match.allowedMethods, capacity: allowCapacity)
    }
    let parameters = (0..<Int(match.parameterCount)).map { index in
      let capture = match.parameters[index]
      return String(decoding: pathBytes[Int(capture.offset)..<Int(capture.offset + capture.length)], as: UTF8.self)
    }
    let route = match.route?.pointee
    return LookupAnswer(
      outcome: match.outcome, payload: route.map { Int(bitPattern: $0.payload) - 1 },
      pattern: route.map {
        String(decoding: UnsafeBufferPointer(start: $0.pattern.bytes, count: $0.pattern.count), as: UTF8.self)
      },
      parameters: parameters, allow: Set(allow.split(separator: ", ").map(String.init)))
  }

  func allowText(_ methods: RouteMethodSet, capacity: Int) -> String {
    withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 1) { buffer in
      String(decoding: buffer.prefix(writeAllow(methods, into: buffer)), as: UTF8.self)
    }
  }
}

/// Freezes routes given as "METHOD PATTERN", with their places as payloads, for the length of a call.
func withTable<Result>(_ routes: [String], _ body: (RouteTable) throws -> Result) throws -> Result {
  var router = Router()
  for (index, route) in routes.enumerated() {
    let parts = route.split(separator: " ", maxSplits: 1).map(String.init)
    try router.add(method: parts[0], pattern: parts[1], owner: testOwner, payload: payload(index))
  }
  guard let table = router.makeTable() else { throw NoTable() }
  defer { table.destroy() }
  return try body(table)
}

struct NoTable: Error {}

/// A repeatable source of random numbers (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
