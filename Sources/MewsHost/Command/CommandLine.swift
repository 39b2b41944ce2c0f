import MewsCore
import MewsServer

/// What a `mews` command line asks for.
public enum MewsCommand: Equatable, Sendable {
  /// Serve the plugins of a directory.
  case run(RunOptions)
  /// Be the worker process of a supervisor. Not for users.
  case worker(RunOptions, WorkerOptions)
  /// Print what a running server knows of its routes.
  case routes(RoutesOptions)
  /// Examine the machine, and print the findings for people or as JSON.
  case doctor(isJSON: Bool)
  /// Print the version.
  case version
  /// Print help on the standard output.
  case help(HelpTopic)

  /// The commands that a user can give.
  static let names = ["run", "routes", "doctor", "version", "help"]

  /// Reads the arguments behind the program's name.
  ///
  /// Options may stand before and behind the directory, with their value as the next argument or behind `=`; `--` ends
  /// them. `--listen` and `--set` add up; of another option given twice, the last counts.
  public init(parsing arguments: some Sequence<String>) throws(UsageError) {
    var parser = ArgumentParser(arguments)
    guard let name = parser.next() else { throw UsageError("expected a command: run, routes, doctor, version or help") }
    switch name {
    case "run": self = try parser.parseRun()
    case "worker": self = try parser.parseWorker()
    case "routes": self = try parser.parseRoutes()
    case "doctor": self = try parser.parseDoctor()
    case "version", "--version": self = try parser.parseVersion(name)
    case "help", "--help", "-h": self = try parser.parseHelp()
    default:
      throw .unknown(name.hasPrefix("-") ? "option" : "command", name, among: Self.names + ["--help", "--version"])
    }
  }

  /// The arguments that stand for the command: parsing them gives the command again. The supervisor starts its worker
  /// processes with them.
  public var arguments: [String] {
    switch self {
    case .run(let options): ["run"] + options.arguments
    case .worker(let options, let worker): ["worker"] + worker.arguments + options.arguments
    case .routes(let options): ["routes"] + options.arguments
    case .doctor(let isJSON): isJSON ? ["doctor", "--json"] : ["doctor"]
    case .version: ["version"]
    case .help(let topic): topic == .overview ? ["help"] : ["help", topic.rawValue]
    }
  }
}

/// Goes through the arguments of one command.
private struct ArgumentParser {
  private var remaining: ArraySlice<String>
  private var options = RunOptions()
  private var worker = WorkerOptions()
  private var positional: [String] = []
  private var wantsHelp = false

  init(_ arguments: some Sequence<String>) {
    remaining = Array(arguments)[...]
  }

  mutating func next() -> String? { remaining.popFirst() }

  mutating func parseRun() throws(UsageError) -> MewsCommand {
    try parseOptions(for: "run")
    if wantsHelp { return .help(.run) }
    if options.listen.isEmpty { options.listen = [RunOptions.defaultListen] }
    return .run(options)
  }

  mutating func parseWorker() throws(UsageError) -> MewsCommand {
    try parseOptions(for: "worker")
    return wantsHelp ? .help(.overview) : .worker(options, worker)
  }

  mutating func parseRoutes() throws(UsageError) -> MewsCommand {
    var options = RoutesOptions()
    while let argument = next() {
      switch argument {
      case "-h", "--help": return .help(.routes)
      case "--json": options.wantsJSON = true
      case _ where argument.hasPrefix("-"): throw .unknown("option", argument, among: ["--json", "--help"])
      case _ where options.process != nil:
        throw UsageError("routes: expected one process id, got also '\(printable(argument))'")
      default:
        guard let process = DecimalNumber.parse(argument, in: 1...Int(Int32.max)) else {
          throw UsageError("routes: expected a process id, got '\(printable(argument))'")
        }
        options.process = Int32(process)
      }
    }
    return .routes(options)
  }

  mutating func parseDoctor() throws(UsageError) -> MewsCommand {
    var isJSON = false
    while let argument = next() {
      switch argument {
      case "--json": isJSON = true
      case "--help", "-h": wantsHelp = true
      default:
        guard argument.hasPrefix("-") else {
          throw UsageError("doctor: expected no arguments, got '\(printable(argument))'")
        }
        throw .unknown("option", argument, among: ["--json", "--help"])
      }
    }
    return wantsHelp ? .help(.doctor) : .doctor(isJSON: isJSON)
  }

  mutating func parseVersion(_ name: String) throws(UsageError) -> MewsCommand {
    if let extra = next() { throw UsageError("\(name): expected no arguments, got '\(printable(extra))'") }
    return .version
  }

  mutating func parseHelp() throws(UsageError) -> MewsCommand {
    guard let name = next() else { return .help(.overview) }
    guard let topic = HelpTopic(rawValue: name), topic != .overview else {
      throw .unknown("command", name, among: MewsCommand.names)
    }
    if let extra = next() { throw UsageError("help: expected one command, got also '\(printable(extra))'") }
    return .help(topic)
  }

  /// Reads options and the directory up to the end.
  private mutating func parseOptions(for command: String) throws(UsageError) {
    let known = CommandOption.allCases.filter { !$0.isInternal || command == "worker" }
    while let argument = next() {
      if argument == "--" {
        positional += remaining
        remaining = []
      } else if argument == "-h" {
        wantsHelp = true
      } else if argument.hasPrefix("-"), argument != "-" {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let option = known.first(where: { $0.rawValue == parts[0] }) else {
          throw .unknown("option", String(parts[0]), among: known.filter { !$0.isInternal }.map(\.rawValue))
        }
        try apply(option, inlineValue: parts.count > 1 ? String(parts[1]) : nil)
      } else {
        positional.append(argument)
      }
    }
    if wantsHelp { return }
    guard let directory = positional.first, !directory.isEmpty else {
      throw UsageError("\(command): expected a plugin directory, got none")
    }
    guard positional.count == 1 else {
      throw UsageError("\(command): expected one plugin directory, got also '\(printable(positional[1]))'")
    }
    options.directory = directory
  }

  private mutating func apply(_ option: CommandOption, inlineValue: String?) throws(UsageError) {
    guard let expectation = option.expectation else {
      if let inlineValue {
        throw UsageError("\(option.rawValue): expected no value, got '\(printable(inlineValue))'")
      }
      return applyFlag(option)
    }
    guard let value = inlineValue ?? next() else {
      throw UsageError("\(option.rawValue): expected \(expectation), got nothing")
    }
    if option == .listen {
      options.listen.append(try listenURL(value, of: option))
    } else if try !apply(option, value: value) {
      throw UsageError("\(option.rawValue): expected \(expectation), got '\(printable(value))'")
    }
  }

  private mutating func applyFlag(_ option: CommandOption) {
    switch option {
    case .strict: options.isStrict = true
    case .noSupervisor: options.hasSupervisor = false
    default: wantsHelp = true
    }
  }

  /// Takes a value over; false when it is not what the option expects.
  private mutating func apply(_ option: CommandOption, value: String) throws(UsageError) -> Bool {
    switch option {
    case .io: return Self.assign(IOBackendChoice(rawValue: value), to: &options.ioBackend)
    case .ioWithout:
      guard let features = try? RingFeatures(parsing: value) else { return false }
      options.ioWithout.formUnion(features)
      return true
    case .listenSockets: return Self.assign(ListenSocketPolicy(rawValue: value), to: &options.listenSockets)
    case .execution: return Self.assign(ExecutionPolicy(rawValue: value), to: &options.execution)
    case .logLevel: return Self.assign(LogLevel.allCases.first { $0.name == value }, to: &options.logLevel)
    case .ioThreads: return Self.assign(number(value, CommandOption.threadRange), toOptional: &options.ioThreads)
    case .workers: return Self.assign(number(value, CommandOption.threadRange), toOptional: &options.workers)
    case .workersMax:
      return Self.assign(number(value, CommandOption.workerThreadRange), toOptional: &options.workersMax)
    case .handlerTimeout: return Self.assign(number(value, CommandOption.timeoutRange), to: &options.handlerTimeout)
    case .processIndex: return Self.assign(number(value, CommandOption.processRange), to: &worker.processIndex)
    case .controlDescriptor: return Self.assign(descriptor(value), toOptional: &worker.controlDescriptor)
    case .set:
      guard let setting = PluginSetting(parsing: value) else { return false }
      options.settings.append(setting)
      return true
    case .inheritListener:
      let parts = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let descriptors = parts[0].split(separator: ",", omittingEmptySubsequences: false).map { descriptor($0) }
      guard parts.count == 2, !descriptors.contains(nil) else { return false }
      worker.listeners.append(
        InheritedListener(
          descriptors: descriptors.compactMap { $0 }, url: try listenURL(String(parts[1]), of: option)))
      return true
    case .listen, .strict, .noSupervisor, .help: return false
    }
  }

  private static func assign<Value>(_ value: Value?, to field: inout Value) -> Bool {
    guard let value else { return false }
    field = value
    return true
  }

  private static func assign<Value>(_ value: Value?, toOptional field: inout Value?) -> Bool {
    guard let value else { return false }
    field = value
    return true
  }

  private func number(_ text: some StringProtocol, _ range: ClosedRange<Int>) -> Int? {
    DecimalNumber.parse(text, in: range)
  }

  private func descriptor(_ text: some StringProtocol) -> Int32? {
    number(text, CommandOption.descriptorRange).flatMap(Int32.init(exactly:))
  }

  private func listenURL(_ text: String, of option: CommandOption) throws(UsageError) -> ListenURL {
    do throws(ListenURLError) {
      return try ListenURL(parsing: text)
    } catch {
      throw UsageError("\(option.rawValue): \(error)")
    }
  }
}
