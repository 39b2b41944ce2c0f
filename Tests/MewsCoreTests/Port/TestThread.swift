import Foundation
import MewsCore

/// A thread that runs what it is given, one after the other, for tests in which it matters which thread does what.
final class TestThread: @unchecked Sendable {
  private let condition = NSCondition()
  private var work: [@Sendable () -> Void] = []
  private var isFinishing = false

  init() {
    let thread = Thread { [self] in
      while let next = takeWork() { next() }
    }
    thread.start()
  }

  /// Has the thread run the body and returns what it will return.
  func begin<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Pending<Value> {
    let pending = Pending<Value>()
    condition.withLock {
      work.append { pending.fulfil(body()) }
      condition.signal()
    }
    return pending
  }

  /// Has the thread run the body and waits for it.
  func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
    begin(body).value
  }

  /// Lets the thread exit when it has run everything.
  func finish() {
    condition.withLock {
      isFinishing = true
      condition.signal()
    }
  }

  private func takeWork() -> (@Sendable () -> Void)? {
    condition.withLock {
      while work.isEmpty && !isFinishing { condition.wait() }
      return work.isEmpty ? nil : work.removeFirst()
    }
  }
}

/// A value that another thread will produce.
final class Pending<Value: Sendable>: @unchecked Sendable {
  private let condition = NSCondition()
  private var stored: Value?

  func fulfil(_ value: Value) {
    condition.withLock {
      stored = value
      condition.broadcast()
    }
  }

  var isFulfilled: Bool { condition.withLock { stored != nil } }

  /// Waits for the value.
  var value: Value {
    condition.withLock {
      while true {
        if let stored { return stored }
        condition.wait()
      }
    }
  }
}

/// A value behind a lock that the thread sanitizer knows.
final class Guarded<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Value

  init(_ value: Value) { self.value = value }

  func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    try lock.withLock { try body(&value) }
  }
}

/// Waits until the condition holds. Returns false when it does not within ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
  let limit = Date(timeIntervalSinceNow: 10)
  while !condition() {
    if Date() > limit { return false }
    usleep(200)
  }
  return true
}

/// The name that the system shows for the calling thread.
func currentThreadName() -> String {
  let text = (try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? ""
  return text.trimmingCharacters(in: .newlines)
}

/// What a wait ended with, without pointers.
enum Outcome: Equatable, Sendable {
  case packet(key: UInt)
  case timedOut, abandoned, closed, noMemory

  init(_ result: PortResult) {
    switch result {
    case .packet(let packet): self = .packet(key: packet.pointee.key)
    case .timedOut: self = .timedOut
    case .abandoned: self = .abandoned
    case .closed: self = .closed
    case .noMemory: self = .noMemory
    }
  }
}

extension TestThread {
  /// Begins a wait that nothing but a packet or the end of the port ends.
  func beginGet(_ port: CompletionPort, timeoutNanoseconds: Int64 = -1) -> Pending<Outcome> {
    begin { Outcome(port.get(timeoutNanoseconds: timeoutNanoseconds)) }
  }

  /// Waits for a packet and returns the outcome.
  func get(_ port: CompletionPort, timeoutNanoseconds: Int64 = -1) -> Outcome {
    beginGet(port, timeoutNanoseconds: timeoutNanoseconds).value
  }

  /// Begins a wait and returns when the thread is on the port's stack of waiters.
  func park(_ port: CompletionPort) -> Pending<Outcome> {
    let waiters = port.waiterCount
    let pending = beginGet(port)
    while port.waiterCount == waiters { usleep(100) }
    return pending
  }
}

extension CompletionPort {
  /// Posts a packet that is told by its key.
  func post(key: UInt) {
    guard case .posted = post(key: key, bytes: 0, operation: nil) else { fatalError("the port takes no packets") }
  }
}

/// Creates a port for the body, and destroys it when the body is done.
func withPort<Value>(concurrency: Int, _ body: (CompletionPort) throws -> Value) rethrows -> Value {
  guard let port = CompletionPort.create(concurrency: concurrency) else { fatalError("no memory for a port") }
  defer { port.destroy() }
  return try body(port)
}

/// Creates threads for the body, and lets them exit when the body is done.
func withThreads<Value>(_ count: Int, _ body: ([TestThread]) throws -> Value) rethrows -> Value {
  let threads = (0..<count).map { _ in TestThread() }
  defer { for thread in threads { thread.finish() } }
  return try body(threads)
}
