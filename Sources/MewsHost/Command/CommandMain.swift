import CMews
import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// What the `mews` command does.
public enum CommandMain {
  /// Runs a command line, program name included.
  ///
  /// - Returns: the exit status: 0, 1 for what went wrong, 2 for wrong arguments.
  public static func run(_ arguments: [String]) -> Int32 {
    shim_occupy_standard_streams()
    do throws(UsageError) {
      switch try MewsCommand(parsing: arguments.dropFirst()) {
      case .run(let options): return run(options)
      case .worker(let options, let worker): return WorkerMain(options: options, worker: worker).run()
      case .routes(let options): return routes(options)
      case .doctor(let isJSON): return examine(isJSON: isJSON)
      case .version: return print("mews \(MEWS_VERSION_STRING)\n")
      case .help(let topic): return print(topic.text)
      }
    } catch {
      _ = write(Array((error.description + "\n").utf8), to: STDERR_FILENO)
      return 2
    }
  }

  /// Binds the sockets, so that a port that is taken is told at once, and goes on as supervisor or alone.
  private static func run(_ options: RunOptions) -> Int32 {
    let log = StandardErrorLog.make(level: options.logLevel)
    let backend = IOBackend(options.ioBackend, without: options.ioWithout)
    guard backend.isAvailable else {
      log.write(Int(MEWS_LEVEL_ERROR), "\(backend.request): \(backend.reason)")
      return 1
    }
    var listeners: [ListeningSet] = []
    do throws(ListenError) {
      let socketCount = options.serverOptions(backend).listenSocketCount
      for url in options.listen { listeners += try Endpoint.listen(url, socketCount: socketCount) }
    } catch {
      log.write(Int(MEWS_LEVEL_ERROR), error.description)
      return 1
    }
    guard options.hasSupervisor else {
      return WorkerMain(options: options, worker: WorkerOptions(), listeners: listeners).run()
    }
    let signals = shim_signals_watch()
    guard signals >= 0 else {
      log.write(Int(MEWS_LEVEL_ERROR), "\(SystemError(call: "signalfd", code: -signals))")
      return 1
    }
    var supervisor = Supervisor(options: options, listeners: listeners, log: log, signals: signals)
    return supervisor.run()
  }

  private static func routes(_ options: RoutesOptions) -> Int32 {
    do throws(InspectionError) {
      return write(try RoutesCommand(options: options).run(), to: STDOUT_FILENO) ? 0 : 1
    } catch {
      _ = write(Array("mews: \(error)\n".utf8), to: STDERR_FILENO)
      return 1
    }
  }

  /// Prints what the machine is like. The status says whether Mews can run on it.
  private static func examine(isJSON: Bool) -> Int32 {
    let report = DoctorReport(findings: Examination(MachineFacts.gather()).findings)
    let status = print(isJSON ? report.json : report.text)
    return report.isHealthy ? status : 1
  }

  private static func print(_ text: String) -> Int32 { write(Array(text.utf8), to: STDOUT_FILENO) ? 0 : 1 }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var bytes = bytes[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      bytes = bytes.dropFirst(count)
    }
    return true
  }
}
