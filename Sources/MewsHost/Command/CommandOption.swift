import MewsCore
import MewsServer

/// The options of `mews run` and `mews worker`, by their spelling.
enum CommandOption: String, CaseIterable {
  case listen = "--listen"
  case io = "--io"
  case ioWithout = "--io-without"
  case ioThreads = "--io-threads"
  case workers = "--workers"
  case workersMax = "--workers-max"
  case listenSockets = "--listen-sockets"
  case handlerTimeout = "--handler-timeout"
  case set = "--set"
  case strict = "--strict"
  case noSupervisor = "--no-supervisor"
  case execution = "--execution"
  case logLevel = "--log-level"
  case help = "--help"
  case inheritListener = "--inherit-listener"
  case controlDescriptor = "--control-descriptor"
  case processIndex = "--process-index"

  /// Threads of one kind.
  static let threadRange = 1...1024
  /// Worker threads, those included whose handlers sleep.
  static let workerThreadRange = 1...4096
  /// Milliseconds, up to a day; 0 for none.
  static let timeoutRange = 0...86_400_000
  /// 0 to 2 are the standard streams.
  static let descriptorRange = 3...1_048_575
  static let processRange = 0...1023

  /// What the option's value must be, in words; nil for an option that takes none.
  var expectation: String? {
    switch self {
    case .strict, .noSupervisor, .help: nil
    case .listen: "http://HOST:PORT"
    case .io: Self.list(IOBackendChoice.allCases.map(\.rawValue))
    case .ioWithout: "names out of " + RingFeatures.all.list + ", divided by commas"
    case .listenSockets: Self.list(ListenSocketPolicy.allCases.map(\.rawValue))
    case .execution: Self.list(ExecutionPolicy.allCases.map(\.rawValue))
    case .logLevel: Self.list(LogLevel.allCases.map(\.name))
    case .ioThreads, .workers: Self.number(Self.threadRange)
    case .workersMax: Self.number(Self.workerThreadRange)
    case .handlerTimeout: Self.number(Self.timeoutRange)
    case .set: "PLUGIN.KEY=VALUE"
    case .inheritListener: "FD[,FD...]=URL with " + Self.number(Self.descriptorRange)
    case .controlDescriptor: Self.number(Self.descriptorRange)
    case .processIndex: Self.number(Self.processRange)
    }
  }

  /// Whether only the supervisor uses it, for its worker processes.
  var isInternal: Bool {
    switch self {
    case .inheritListener, .controlDescriptor, .processIndex: true
    default: false
    }
  }

  private static func number(_ range: ClosedRange<Int>) -> String {
    "a number from \(range.lowerBound) to \(range.upperBound)"
  }

  private static func list(_ names: [String]) -> String {
    names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
  }
}
