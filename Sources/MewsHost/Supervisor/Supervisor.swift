import CMews
import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// The process that the operator starts: one thread, which owns the listening sockets and runs no plugin code. It
/// starts a worker process, which inherits the sockets, passes signals on, and starts another worker when one dies.
///
/// Since the sockets are the supervisor's, connections wait in the kernel's queues while there is no worker.
struct Supervisor {
  /// How long to wait before starting a worker anew, and what that grows to while they keep dying.
  private static let pauseMilliseconds: Int32 = 100
  private static let longestPauseMilliseconds: Int32 = 5_000
  /// A worker that lived this long died of something else than its predecessor.
  private static let healthyMilliseconds: UInt64 = 10_000

  private let options: RunOptions
  private let listeners: [ListeningSet]
  private let log: ServerLog
  private let signals: Int32
  private var worker: WorkerProcess?
  private var isStopping = false
  private var pause = Self.pauseMilliseconds

  /// What the operator's second wish to stop ends the process with: 128 and SIGINT, as shells count.
  private static let impatientStatus: Int32 = 130

  init(options: RunOptions, listeners: [ListeningSet], log: ServerLog, signals: Int32) {
    self.options = options
    self.listeners = listeners
    self.log = log
    self.signals = signals
  }

  /// Runs until the operator ends it, or the first worker cannot serve.
  ///
  /// - Returns: the exit status.
  mutating func run() -> Int32 {
    do throws(SystemError) {
      worker = try WorkerProcess.start(options, listeners)
    } catch {
      log.write(Int(MEWS_LEVEL_ERROR), "cannot start a worker process: \(error)")
      return 1
    }
    while true {
      wait(milliseconds: worker == nil ? pause : -1)
      if let status = handleSignals() { return status }
      worker?.readControl()
      if let status = worker == nil ? restart() : reap() { return status }
    }
  }

  private func wait(milliseconds: Int32) {
    var entries = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0)]
    if let worker, worker.isControlOpen {
      entries.append(pollfd(fd: worker.control.descriptor, events: Int16(POLLIN), revents: 0))
    }
    _ = poll(&entries, nfds_t(entries.count), milliseconds)
  }

  /// An exit status when the process ends now.
  private mutating func handleSignals() -> Int32? {
    while true {
      let signal = shim_signal_next(signals)
      if signal == 0 { return nil }
      guard signal != SIGCHLD else { continue }
      guard let worker else { return 0 }
      if isStopping {
        kill(worker.process, SIGKILL)
        return Self.impatientStatus
      }
      isStopping = true
      log.write(Int(MEWS_LEVEL_INFO), "stopping: requests in flight are finished; once more ends at once")
      for listener in listeners { listener.admitNoMore() }
      worker.control.send(.stop)
      for listener in listeners { listener.close() }
    }
  }

  /// Looks whether the worker has ended. An exit status when the process ends with it.
  private mutating func reap() -> Int32? {
    guard let worker, let end = worker.end() else { return nil }
    worker.control.close()
    self.worker = nil
    if isStopping || !worker.isReady {
      if case .signal = end { log.write(Int(MEWS_LEVEL_ERROR), "worker process 0 \(end)") }
      // A worker that gives up by itself has said why, and ends with 1.
      guard !isStopping, case .exit(let status) = end, status != 1 else { return end.exitStatus }
      log.write(Int(MEWS_LEVEL_ERROR), "worker process 0 \(end) before it served (does a plugin call exit?)")
      return max(status, 1)
    }
    if IOThread.clock - worker.startedAt > Self.healthyMilliseconds { pause = Self.pauseMilliseconds }
    log.write(Int(MEWS_LEVEL_ERROR), "worker process 0 (\(worker.process)) \(end); starting another in \(pause) ms")
    return nil
  }

  private mutating func restart() -> Int32? {
    do throws(SystemError) {
      worker = try WorkerProcess.start(options, listeners)
      worker?.isReplacement = true
    } catch {
      log.write(Int(MEWS_LEVEL_ERROR), "cannot start a worker process: \(error)")
    }
    pause = min(pause * 2, Self.longestPauseMilliseconds)
    return nil
  }
}
