import Testing

@testable import MewsHost

@Suite("The command line")
struct CommandLineTests {
  func run(_ arguments: String...) throws -> RunOptions {
    let command = try MewsCommand(parsing: ["run"] + arguments)
    guard case .run(let options) = command else { throw UsageError("not run: \(command)") }
    return options
  }

  func failure(_ arguments: [String]) -> String? {
    do throws(UsageError) {
      _ = try MewsCommand(parsing: arguments)
      return nil
    } catch {
      return error.description
    }
  }

  @Test("run needs a directory only")
  func defaults() throws {
    let options = try run("plugins")
    var expected = RunOptions()
    expected.directory = "plugins"
    expected.listen = [RunOptions.defaultListen]
    #expect(options == expected)
    #expect(options.listen.map(\.description) == ["http://127.0.0.1:8080"])
    #expect(options.ioThreads == nil && options.workers == nil && options.hasSupervisor && !options.isStrict)
  }

  @Test("takes every option, before and behind the directory, with its value behind '=' or as the next argument")
  func everyOption() throws {
    let options = try run(
      "--listen", "http://*:80", "--io=epoll", "--io-threads", "2", "plugins", "--workers=1024",
      "--workers-max", "4096", "--set", "a.b=c=d", "--set=x.y.z=", "--strict", "--no-supervisor", "--execution",
      "worker", "--log-level=warning", "--listen-sockets=per-thread", "--handler-timeout", "1500",
      "--listen=http://[::1]:1")
    #expect(options.directory == "plugins")
    #expect(options.listen.map(\.description) == ["http://*:80", "http://[::1]:1"])
    #expect(options.ioBackend == .epoll)
    #expect(options.ioThreads == 2)
    #expect(options.workers == 1024)
    #expect(options.workersMax == 4096)
    #expect(options.settings.map(\.path) == ["a.b", "x.y.z"])
    #expect(options.settings.map(\.value) == ["c=d", ""])
    #expect(options.isStrict)
    #expect(!options.hasSupervisor)
    #expect(options.execution == .worker)
    #expect(options.logLevel == .warning)
    #expect(options.listenSockets == .perThread)
    #expect(options.handlerTimeout == 1500)
    #expect(options.serverOptions(IOBackend(.epoll)).handlerTimeoutMilliseconds == 1500)
  }

  @Test("lets the last of two options count")
  func repeated() throws {
    let options = try run("d", "--workers", "1", "--workers=2", "--io", "epoll", "--io", "auto")
    #expect(options.workers == 2)
    #expect(options.ioBackend == .automatic)
  }

  @Test("reads no options behind '--'")
  func endOfOptions() throws {
    #expect(try run("--strict", "--", "--workers").directory == "--workers")
    #expect(try run("--", "-h").directory == "-h")
    #expect(try run("-").directory == "-")
    #expect(failure(["run", "--", "a", "--strict"]) == "mews: run: expected one plugin directory, got also '--strict'")
  }

  @Test("knows version and help in their usual spellings")
  func otherCommands() throws {
    #expect(try MewsCommand(parsing: ["version"]) == .version)
    #expect(try MewsCommand(parsing: ["--version"]) == .version)
    #expect(try MewsCommand(parsing: ["help"]) == .help(.overview))
    #expect(try MewsCommand(parsing: ["--help"]) == .help(.overview))
    #expect(try MewsCommand(parsing: ["-h"]) == .help(.overview))
    #expect(try MewsCommand(parsing: ["help", "run"]) == .help(.run))
    #expect(try MewsCommand(parsing: ["run", "--help"]) == .help(.run))
    #expect(try MewsCommand(parsing: ["doctor"]) == .doctor(isJSON: false))
    #expect(try MewsCommand(parsing: ["doctor", "--json"]) == .doctor(isJSON: true))
    #expect(try MewsCommand(parsing: ["doctor", "--json", "-h"]) == .help(.doctor))
    #expect(try MewsCommand(parsing: ["run", "-h", "plugins"]) == .help(.run))
  }

  @Test(
    "says in one line what was given and what was expected",
    arguments: [
      ([], "expected a command: run, routes, doctor, version or help"),
      (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
      (["verson"], "unknown command 'verson'; did you mean 'version'?"),
      (["serve"], "unknown command 'serve'; see 'mews help'"),
      ([""], "unknown command ''; see 'mews help'"),
      (["--hepl"], "unknown option '--hepl'; did you mean '--help'?"),
      (["plugins/\n"], "unknown command 'plugins/\\x0A'; see 'mews help'"),
      (["version", "x"], "version: expected no arguments, got 'x'"),
      (["doctor", "x"], "doctor: expected no arguments, got 'x'"),
      (["doctor", "--jsno"], "unknown option '--jsno'; did you mean '--json'?"),
      (["help", "rum"], "unknown command 'rum'; did you mean 'run'?"),
      (["help", "worker"], "unknown command 'worker'; see 'mews help'"),
      (["help", "run", "x"], "help: expected one command, got also 'x'"),
      (["routes", "0"], "routes: expected a process id, got '0'"),
      (["routes", "mews"], "routes: expected a process id, got 'mews'"),
      (["routes", "1", "2"], "routes: expected one process id, got also '2'"),
      (["routes", "--jsno"], "unknown option '--jsno'; did you mean '--json'?"),
      (["run"], "run: expected a plugin directory, got none"),
      (["run", ""], "run: expected a plugin directory, got none"),
      (["run", "a", "b"], "run: expected one plugin directory, got also 'b'"),
      (["run", "a", "--workers", "x"], "--workers: expected a number from 1 to 1024, got 'x'"),
      (["run", "a", "--workers", "0"], "--workers: expected a number from 1 to 1024, got '0'"),
      (["run", "a", "--workers=1025"], "--workers: expected a number from 1 to 1024, got '1025'"),
      (["run", "a", "--workers=+1"], "--workers: expected a number from 1 to 1024, got '+1'"),
      (["run", "a", "--workers", "--strict"], "--workers: expected a number from 1 to 1024, got '--strict'"),
      (["run", "a", "--workers-max=4097"], "--workers-max: expected a number from 1 to 4096, got '4097'"),
      (["run", "a", "--workers="], "--workers: expected a number from 1 to 1024, got ''"),
      (
        ["run", "a", "--io-threads", "99999999999999999999"],
        "--io-threads: expected a number from 1 to 1024, got '99999999999999999999'"
      ),
      (["run", "a", "--io-threads"], "--io-threads: expected a number from 1 to 1024, got nothing"),
      (["run", "a", "--io", "kqueue"], "--io: expected auto, io_uring or epoll, got 'kqueue'"),
      (["run", "a", "--execution=inline"], "--execution: expected auto, declared or worker, got 'inline'"),
      (["run", "a", "--listen-sockets", "2"], "--listen-sockets: expected auto, shared or per-thread, got '2'"),
      (
        ["run", "a", "--handler-timeout", "86400001"],
        "--handler-timeout: expected a number from 0 to 86400000, got '86400001'"
      ),
      (["run", "a", "--handler-timeout=1s"], "--handler-timeout: expected a number from 0 to 86400000, got '1s'"),
      (["run", "a", "--log-level", "loud"], "--log-level: expected debug, info, warning or error, got 'loud'"),
      (["run", "a", "--set", "key=value"], "--set: expected PLUGIN.KEY=VALUE, got 'key=value'"),
      (["run", "a", "--set", "a.b"], "--set: expected PLUGIN.KEY=VALUE, got 'a.b'"),
      (["run", "a", "--set", ".b=c"], "--set: expected PLUGIN.KEY=VALUE, got '.b=c'"),
      (["run", "a", "--set", "a.=c"], "--set: expected PLUGIN.KEY=VALUE, got 'a.=c'"),
      (["run", "a", "--strict=yes"], "--strict: expected no value, got 'yes'"),
      (["run", "a", "--listen", "8080"], "--listen: expected http://HOST:PORT, got '8080'"),
      (["run", "a", "--listen"], "--listen: expected http://HOST:PORT, got nothing"),
      (["run", "a", "--worker", "1"], "unknown option '--worker'; did you mean '--workers'?"),
      (["run", "a", "--lisetn=x"], "unknown option '--lisetn'; did you mean '--listen'?"),
      (["run", "a", "-x"], "unknown option '-x'; see 'mews help'"),
      (["run", "a", "--process-index", "1"], "unknown option '--process-index'; see 'mews help'"),
      (["run", "a", "---"], "unknown option '---'; see 'mews help'"),
    ])
  func errors(arguments: [String], text: String) {
    #expect(failure(arguments) == "mews: " + text)
  }

  @Test("routes takes a process and the form of its answer, or neither")
  func routes() throws {
    var expected = RoutesOptions()
    #expect(try MewsCommand(parsing: ["routes"]) == .routes(expected))
    expected.process = 4711
    #expect(try MewsCommand(parsing: ["routes", "4711"]) == .routes(expected))
    expected.wantsJSON = true
    #expect(try MewsCommand(parsing: ["routes", "--json", "4711"]) == .routes(expected))
    #expect(try MewsCommand(parsing: MewsCommand.routes(expected).arguments) == .routes(expected))
    #expect(try MewsCommand(parsing: ["routes", "--help"]) == .help(.routes))
  }

  @Test("has options of its own for worker processes")
  func worker() throws {
    let command = try MewsCommand(parsing: [
      "worker", "plugins", "--inherit-listener", "5,7=http://127.0.0.1:8080", "--inherit-listener=6=http://[::1]:8080",
      "--control-descriptor", "4", "--process-index=3", "--workers", "2",
    ])
    guard case .worker(let options, let worker) = command else {
      Issue.record("not a worker: \(command)")
      return
    }
    #expect(options.directory == "plugins" && options.workers == 2 && options.listen.isEmpty)
    #expect(worker.listeners.map(\.descriptors) == [[5, 7], [6]])
    #expect(worker.listeners.map(\.url.description) == ["http://127.0.0.1:8080", "http://[::1]:8080"])
    #expect(worker.controlDescriptor == 4)
    #expect(worker.processIndex == 3)
    #expect(
      failure(["worker", "d", "--inherit-listener", "2=http://*:1"])
        == "mews: --inherit-listener: expected FD[,FD...]=URL with a number from 3 to 1048575, got '2=http://*:1'")
    #expect(failure(["worker", "d", "--inherit-listener", "5,=http://*:1"]) != nil)
    #expect(failure(["worker", "d", "--inherit-listener", "5"]) != nil)
    #expect(
      failure(["worker", "d", "--inherit-listener=5=x"])
        == "mews: --inherit-listener: expected http://HOST:PORT, got 'x'")
    #expect(
      failure(["worker", "d", "--control-descriptor=x"])
        == "mews: --control-descriptor: expected a number from 3 to 1048575, got 'x'")
  }

  @Test("turns a command into arguments that give the command again")
  func roundTrip() throws {
    var options = RunOptions()
    options.directory = "--odd"
    options.listen = [try ListenURL(parsing: "http://*:0"), RunOptions.defaultListen]
    options.ioBackend = .ioUring
    options.ioThreads = 3
    options.workers = 7
    options.workersMax = 70
    options.listenSockets = .perThread
    options.handlerTimeout = 250
    options.settings = ["a.b=c", "a.b=", "x.y=--strict"].compactMap(PluginSetting.init(parsing:))
    options.isStrict = true
    options.hasSupervisor = false
    options.execution = .worker
    options.logLevel = .error
    var worker = WorkerOptions()
    worker.listeners = [InheritedListener(descriptors: [9, 12], url: RunOptions.defaultListen)]
    worker.controlDescriptor = 8
    worker.processIndex = 1
    var commands: [MewsCommand] = [.run(options), .worker(options, worker), .version]
    commands += HelpTopic.allCases.map(MewsCommand.help)
    #expect(options.settings.count == 3)
    for command in commands { #expect(try MewsCommand(parsing: command.arguments) == command) }
  }
}

@Suite("A plugin's setting")
struct PluginSettingTests {
  @Test("is for the plugin whose name its path starts with, dots in names and keys included")
  func keys() throws {
    let setting = try #require(PluginSetting(parsing: "a.b.c=1"))
    #expect(setting.key(forPlugin: "a") == "b.c")
    #expect(setting.key(forPlugin: "a.b") == "c")
    #expect(setting.key(forPlugin: "a.b.c") == nil)
    #expect(setting.key(forPlugin: "b") == nil)
    #expect(setting.key(forPlugin: "") == nil)
  }
}

@Suite("The help")
struct HelpTopicTests {
  @Test("fits 80 columns and ends in a line break", arguments: HelpTopic.allCases)
  func width(topic: HelpTopic) {
    #expect(topic.text.hasSuffix("\n"))
    for line in topic.text.split(separator: "\n") {
      #expect(line.count <= 80, "\(line)")
      #expect(line.last != " ")
    }
  }

  @Test("of run explains every option of users and none of the internal ones")
  func complete() {
    for option in CommandOption.allCases {
      #expect(HelpTopic.run.text.contains(option.rawValue) == !option.isInternal, "\(option.rawValue)")
    }
  }

  @Test("of the overview names every command of users")
  func commands() {
    for name in MewsCommand.names { #expect(HelpTopic.overview.text.contains("\n  \(name) ")) }
    #expect(!HelpTopic.overview.text.contains("worker"))
  }
}
