import CMews
import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// The process that serves: loads the plugins, says what it loaded, and runs until its supervisor or a signal ends it.
struct WorkerMain {
  private let options: RunOptions
  private let listeners: [ListeningSet]
  private let control: ControlChannel?
  private let processIndex: Int
  private let backend: IOBackend
  private let log: ServerLog

  /// - Parameter listeners: what it listens on when it runs without a supervisor; else they are inherited.
  init(options: RunOptions, worker: WorkerOptions, listeners: [ListeningSet] = []) {
    self.options = options
    self.listeners =
      listeners + worker.listeners.map { ListeningSet(descriptors: $0.descriptors, url: $0.url.description) }
    control = worker.controlDescriptor.map { ControlChannel(descriptor: $0) }
    processIndex = worker.processIndex
    log = StandardErrorLog.make(level: options.logLevel)
    backend = IOBackend(options.ioBackend, without: options.ioWithout)
  }

  func run() -> Int32 {
    // Before any thread, so that all of them leave the signals to the one that watches.
    let signals = shim_signals_watch()
    guard signals >= 0 else { return fail("\(SystemError(call: "signalfd", code: -signals))") }
    let host: Host
    do throws(SystemError) {
      host = try Host(options: hostOptions, log: log)
    } catch {
      return fail(error.description)
    }
    for listener in listeners { host.server.add(listener) }
    guard loadPlugins(host) else {
      _ = host.destroy()
      return 1
    }
    StopWatcher.start(host: host, signals: signals, control: control)
    do throws(SystemError) {
      try host.start()
    } catch {
      return fail("cannot start: \(error)")
    }
    // Before the lines that say so: who reads them may count on being served, whatever becomes of this process.
    control?.send(.ready)
    InspectionThread.start(host: host, process: control.map { shim_local_peer($0.descriptor) } ?? getpid())
    report(host)
    let isClean = host.wait()
    if !isClean { log.write(Int(MEWS_LEVEL_WARNING), "requests were cut off: they took longer than the drain timeout") }
    // A handler that never returned would keep an orderly exit from coming to an end.
    if !isClean { _exit(1) }
    log.write(Int(MEWS_LEVEL_INFO), "stopped")
    return 0
  }

  private var hostOptions: HostOptions {
    var result = HostOptions()
    result.server = options.serverOptions(backend)
    result.server.isLastOnAddresses = control == nil
    result.settings = options.settings
    result.processIndex = UInt32(processIndex)
    return result
  }

  /// Loads what the directory holds. False when the host shall not start.
  private func loadPlugins(_ host: Host) -> Bool {
    let files: [String]
    do throws(PluginDirectoryError) {
      files = try PluginDirectory.scan(options.directory)
    } catch {
      _ = fail(error.description)
      return false
    }
    var isComplete = true
    for file in files {
      do throws(PluginLoadError) {
        report(try host.loadPlugin(file))
      } catch {
        log.write(Int(MEWS_LEVEL_ERROR), error.description)
        isComplete = false
      }
    }
    if options.isStrict && !isComplete {
      log.write(Int(MEWS_LEVEL_ERROR), "not starting, because of --strict")
      return false
    }
    if host.plugins.isEmpty {
      log.write(Int(MEWS_LEVEL_WARNING), "no plugin in \(options.directory): every request is answered 404")
    }
    return true
  }

  private func report(_ plugin: Plugin) {
    log.write(
      Int(MEWS_LEVEL_INFO),
      "loaded \(plugin.file ?? ""): \(plugin.name) \(plugin.version)")
    for route in plugin.routes {
      let timeout = route.deadline.map { ", 504 after \($0.pointee.milliseconds) ms" } ?? ""
      log.write(Int(MEWS_LEVEL_INFO), "  \(route.method) \(route.pattern) (\(route.executionName)\(timeout))")
    }
  }

  private func report(_ host: Host) {
    let server = host.server.options
    log.write(
      Int(backend.isMisunderstood ? MEWS_LEVEL_WARNING : MEWS_LEVEL_INFO),
      "I/O by \(backend.name) (\(backend.reason)); I/O threads: \(server.effectiveIOThreads), "
        + "workers: \(server.effectiveWorkers) at once, \(server.effectiveWorkersMaximum) threads at most")
    for listener in host.server.listeningSets {
      let count = listener.descriptors.count
      log.write(Int(MEWS_LEVEL_INFO), "listening on \(listener.url)" + (count > 1 ? " with \(count) sockets" : ""))
    }
  }

  private func fail(_ text: String) -> Int32 {
    log.write(Int(MEWS_LEVEL_ERROR), text)
    return 1
  }
}

/// The thread that waits for a reason to stop: a signal, or a word of the supervisor, or its end.
private final class StopWatcher: @unchecked Sendable {
  private let host: Host
  private let signals: Int32
  private let control: ControlChannel?

  private init(host: Host, signals: Int32, control: ControlChannel?) {
    self.host = host
    self.signals = signals
    self.control = control
  }

  /// Starts the thread. It ends with the process.
  static func start(host: Host, signals: Int32, control: ControlChannel?) {
    let watcher = Unmanaged.passRetained(StopWatcher(host: host, signals: signals, control: control))
    var thread = pthread_t()
    let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
      guard let argument else { return nil }
      Unmanaged<StopWatcher>.fromOpaque(argument).takeUnretainedValue().watch()
      return nil
    }
    if pthread_create(&thread, nil, body, watcher.toOpaque()) == 0 {
      pthread_detach(thread)
    } else {
      watcher.release()
      host.log.write(Int(MEWS_LEVEL_WARNING), "no thread for signals: the host can only be killed")
    }
  }

  private func watch() {
    var isStopping = false
    var isControlOpen = control != nil
    while true {
      var entries = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0)]
      if isControlOpen, let control {
        entries.append(pollfd(fd: control.descriptor, events: Int16(POLLIN), revents: 0))
      }
      _ = poll(&entries, nfds_t(entries.count), -1)
      while case let signal = shim_signal_next(signals), signal != 0 {
        // Under a supervisor it is for the supervisor to count wishes; the terminal's signals are not meant for us.
        guard signal == SIGTERM || (control == nil && signal != SIGCHLD) else { continue }
        if isStopping { _exit(130) }
        isStopping = true
        if control == nil {
          host.log.write(Int(MEWS_LEVEL_INFO), "stopping: requests in flight are finished; once more ends at once")
        }
        host.stop()
      }
      guard isControlOpen, let control else { continue }
      switch control.receive() {
      case .nothing, .message(.ready): break
      case .message(.stop):
        isStopping = true
        host.server.becomeLastOnAddresses()
        host.stop()
      case .end:
        // The supervisor is gone: so is the worker, in good order.
        isControlOpen = false
        isStopping = true
        host.server.becomeLastOnAddresses()
        host.stop()
      }
    }
  }
}
