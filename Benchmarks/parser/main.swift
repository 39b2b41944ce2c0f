import Glibc

/// Nanoseconds for one request head, the best of several rounds: the parser alone, on bytes that are in the cache.

func request(_ lines: [String]) -> [UInt8] { Array((lines + ["", ""]).joined(separator: "\r\n").utf8) }

let browser = [
  "GET /articles/2024/parsing?page=2 HTTP/1.1", "Host: www.example.com", "Connection: keep-alive",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: en-US,en;q=0.5",
  "Accept-Encoding: gzip, deflate, br", "Cookie: session=0123456789abcdef; theme=dark",
]

let requests: [(String, [UInt8])] = [
  ("short", request(["GET /plaintext HTTP/1.1", "Host: a:8080"])),
  ("browser", request(browser)),
  ("large", request(browser + (0..<20).map { "X-Custom-Field-\($0): \(String(repeating: "value ", count: 9))" })),
]

func now() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
head.initialize(to: RequestHead())
var parser = RequestParser(limits: RequestLimits())
for (name, bytes) in requests {
  var best = Double.infinity
  let rounds = 200_000
  bytes.withUnsafeBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return }
    for _ in 0..<15 {
      let start = now()
      for _ in 0..<rounds where parser.parse(base, bytes.count, into: head).consumed != bytes.count { abort() }
      best = min(best, Double(now() - start) / Double(rounds))
    }
  }
  let fields = head.pointee.headerCount
  print("\(name): \(bytes.count) bytes, \(fields) fields, \((best * 10).rounded() / 10) ns")
}
