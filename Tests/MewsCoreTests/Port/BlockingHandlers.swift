import Foundation
import MewsCore
import Testing

/// What a handler blocks in.
struct Block: Sendable, CustomTestStringConvertible {
  let testDescription: String
  /// False for what takes the thread away from its port by itself.
  let isNoticedByMonitor: Bool
  /// Makes what stands in the way.
  let obstacle: @Sendable () -> any Obstacle

  static let all = [
    Block(testDescription: "nanosleep", isNoticedByMonitor: true) { Nap() },
    Block(testDescription: "a mutex", isNoticedByMonitor: true) { HeldMutex() },
    Block(testDescription: "a read from a pipe", isNoticedByMonitor: true) { EmptyPipe() },
    Block(testDescription: "a wait on another completion port", isNoticedByMonitor: false) { OtherPort() },
  ]
}

/// What stands in the way of a handler until it is removed.
protocol Obstacle: AnyObject, Sendable {
  /// Blocks the calling thread.
  func block()
  func remove()
}

/// Sleeps, and has a look from time to time whether it may wake up.
private final class Nap: Obstacle {
  private let isOver = Guarded(false)

  func block() {
    while !isOver.withLock({ $0 }) {
      var time = timespec(tv_sec: 0, tv_nsec: 50_000_000)
      nanosleep(&time, nil)
    }
  }

  func remove() { isOver.withLock { $0 = true } }
}

/// A mutex that a thread holds meanwhile, for only its holder may unlock it.
private final class HeldMutex: Obstacle, @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let holder = TestThread()

  init() {
    pthread_mutex_init(mutex, nil)
    holder.perform { [self] in _ = pthread_mutex_lock(mutex) }
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func block() {
    pthread_mutex_lock(mutex)
    pthread_mutex_unlock(mutex)
  }

  func remove() {
    holder.perform { [self] in _ = pthread_mutex_unlock(mutex) }
    holder.finish()
  }
}

private final class EmptyPipe: Obstacle {
  private let pipe = Pipe()

  func block() { _ = read(from: pipe.fileHandleForReading.fileDescriptor, 1) }

  func remove() { write("x", to: pipe.fileHandleForWriting.fileDescriptor) }
}

private final class OtherPort: Obstacle {
  private let port: CompletionPort

  init() {
    guard let port = CompletionPort.create(concurrency: 1) else { preconditionFailure("no memory for a port") }
    self.port = port
  }

  deinit { port.destroy() }

  func block() {
    _ = port.get(timeoutNanoseconds: -1)
    port.leave()
  }

  func remove() { port.post(key: 1) }
}
