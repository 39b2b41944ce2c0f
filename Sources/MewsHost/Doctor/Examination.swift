import MewsCore
import MewsServer

/// What the facts of a machine mean for Mews, one finding each.
struct Examination {
  let facts: MachineFacts

  /// What the ring needs, and what the whole host does: major and minor version.
  private static let ringKernel = KernelVersion(major: 6, minor: 1)
  private static let oldestKernel = KernelVersion(major: 4, minor: 14)
  /// Descriptors besides connections: listening sockets, event descriptors, plugins' files.
  private static let reservedDescriptors: UInt64 = 64
  /// Fewer connections than this are not what a server is put up for.
  private static let usefulConnections: UInt64 = 4096

  init(_ facts: MachineFacts) { self.facts = facts }

  /// All findings, in the order in which they are printed.
  var findings: [Finding] {
    [
      kernel, processors, descriptors, lockedMemory, listenQueue, ringSwitch, systemCallFilter, membarrier,
      threadWatch,
    ] + essentials + ring + [backend, supervisor, workerMonitor, takeover]
  }

  private var kernel: Finding {
    let release = printable(facts.kernelRelease)
    guard let version = KernelVersion(release: facts.kernelRelease) else {
      return Finding(.note, "kernel", "\(release): a version that cannot be read; Mews is made for Linux")
    }
    if version < Self.oldestKernel {
      return Finding(
        .problem, "kernel", "\(release) is older than \(Self.oldestKernel)",
        advice: "use a newer kernel, best \(Self.ringKernel) or later")
    }
    if version < Self.ringKernel {
      return Finding(
        .note, "kernel", "\(release): epoll only; the io_uring backend needs \(Self.ringKernel)",
        advice: "nothing needs to be done, epoll serves")
    }
    return Finding(.ok, "kernel", "\(release) on \(printable(facts.machineName)): new enough for every backend")
  }

  private var processors: Finding {
    var limits = "\(facts.affinity) in the affinity mask"
    limits += facts.quota.map { ", \(Self.decimal($0)) by the control group's quota" } ?? ", no quota"
    let threads = "\(Self.count(facts.ioThreads, "I/O thread")) and \(Self.count(facts.workers, "worker")) at once"
    if let quota = facts.quota, quota < 1 {
      return Finding(
        .note, "processors", "\(limits): \(threads), and the kernel stops all of them for a part of the time",
        advice: "allow a whole processor for even response times")
    }
    return Finding(.ok, "processors", "\(limits): \(threads), unless --io-threads and --workers say otherwise")
  }

  private var descriptors: Finding {
    let (soft, hard) = (facts.descriptors.soft, facts.descriptors.hard)
    guard soft != .max else { return Finding(.ok, "descriptors", "no limit") }
    if soft < Self.reservedDescriptors {
      return Finding(
        .note, "descriptors", "\(soft) at once, which leave hardly any for connections",
        advice: Self.raiseDescriptors(hard))
    }
    let text = "\(soft) at once, which is about \(soft - Self.reservedDescriptors) connections"
    guard soft < Self.usefulConnections else { return Finding(.ok, "descriptors", text) }
    return Finding(.note, "descriptors", text, advice: Self.raiseDescriptors(hard))
  }

  private static func raiseDescriptors(_ hard: UInt64) -> String {
    guard hard >= usefulConnections else {
      return
        "the hard limit is \(hard): have root raise it to 65536 in limits.conf, or by LimitNOFILE= in the systemd unit"
    }
    return "'ulimit -n \(min(hard, 65_536))' in the shell that starts it, or LimitNOFILE= in its systemd unit"
  }

  private var lockedMemory: Finding {
    let soft = facts.lockedMemory.soft
    let limit = soft == .max ? "no limit" : "\(soft >> 10) KiB"
    return Finding(.ok, "locked memory", "\(limit); Mews locks none, and its rings are not counted from Linux 5.12 on")
  }

  private var listenQueue: Finding {
    guard let length = facts.listenQueue else {
      return Finding(.note, "listen queue", "net.core.somaxconn cannot be read")
    }
    guard length < Int(ListeningSocket.backlog) else {
      let asked = ListeningSocket.backlog
      return Finding(.ok, "listen queue", "net.core.somaxconn is \(length): Mews gets the \(asked) it asks for")
    }
    return Finding(
      .note, "listen queue", "net.core.somaxconn is \(length): bursts of more new connections than that are refused",
      advice: "sysctl -w net.core.somaxconn=\(ListeningSocket.backlog)")
  }

  private var ringSwitch: Finding {
    switch facts.ringSwitch {
    case nil:
      return Finding(.ok, "io_uring switch", "kernel.io_uring_disabled is not there: the kernel has no such switch")
    case 0: return Finding(.ok, "io_uring switch", "kernel.io_uring_disabled is 0: every process may use it")
    case 1:
      return Finding(
        .note, "io_uring switch", "kernel.io_uring_disabled is 1: only members of kernel.io_uring_group may use it",
        advice: "sysctl -w kernel.io_uring_disabled=0, or run as a member; epoll serves meanwhile")
    default:
      return Finding(
        .note, "io_uring switch", "kernel.io_uring_disabled is \(facts.ringSwitch ?? 2): no process may use it",
        advice: "sysctl -w kernel.io_uring_disabled=0; epoll serves meanwhile")
    }
  }

  private var systemCallFilter: Finding {
    switch facts.hasSystemCallFilter {
    case nil: return Finding(.note, "seccomp", "/proc/self/status does not say whether system calls are filtered")
    case false: return Finding(.ok, "seccomp", "no filter on system calls")
    default:
      return Finding(
        .note, "seccomp", "system calls are filtered, as containers do: io_uring and membarrier may be refused",
        advice: "a profile that allows io_uring_setup, io_uring_enter and io_uring_register; epoll serves meanwhile")
    }
  }

  private var membarrier: Finding {
    facts.hasMembarrier
      ? Finding(.ok, "membarrier", "available")
      : Finding(
        .note, "membarrier", "not available", advice: "a kernel with CONFIG_MEMBARRIER, or a filter that allows it")
  }

  private var threadWatch: Finding {
    guard facts.threadWatchError != 0 else {
      return Finding(.ok, "thread states", "one thread sees of another whether it sleeps, in /proc/self/task")
    }
    return Finding(
      .note, "thread states",
      "a thread cannot see whether another sleeps (\(SystemError.text(facts.threadWatchError)))",
      advice: "mount /proc, and allow this process to read its own part of it")
  }

  private var essentials: [Finding] {
    let broken = facts.essentials.filter { $0.error != 0 }
    guard !broken.isEmpty else {
      let names = facts.essentials.map(\.name).joined(separator: ", ")
      return [Finding(.ok, "system calls", "\(names): all work")]
    }
    return broken.map { name, error in
      Finding(.problem, "system calls", "\(name): \(SystemError.text(error))", advice: "Mews cannot run without it")
    }
  }

  private var supervisor: Finding {
    facts.selfError == 0
      ? Finding(.ok, "supervisor", "it can start worker processes, from /proc/self/exe")
      : Finding(
        .problem, "supervisor",
        "it cannot start worker processes (/proc/self/exe: \(SystemError.text(facts.selfError)))",
        advice: "mount /proc, or run with --no-supervisor")
  }

  private var backend: Finding {
    let choice = IOBackend(.automatic)
    guard choice.isAvailable else {
      return Finding(
        .problem, "--io auto", "\(choice.request): \(choice.reason)",
        advice: "take MEWS_IO or MEWS_IO_WITHOUT out of the environment, or say --io epoll")
    }
    return Finding(
      choice.isMisunderstood ? .note : .ok, "--io auto", "takes \(choice.name) (\(choice.reason))",
      advice: choice.isMisunderstood ? "mend the environment variable" : nil)
  }

  private var workerMonitor: Finding {
    facts.threadWatchError == 0
      ? Finding(.ok, "worker monitor", "a worker that sleeps in a handler is noticed, and another takes its place")
      : Finding(
        .note, "worker monitor", "a worker that sleeps in a handler keeps its place",
        advice: "declare handlers that sleep as blocking, or give more --workers")
  }

  private var takeover: Finding {
    guard facts.hasMembarrier else {
      return Finding(
        .note, "takeover",
        "an I/O thread whose handler blocks cannot be replaced, so handlers run inline only if declared so",
        advice: "needs membarrier")
    }
    return facts.threadWatchError == 0
      ? Finding(.ok, "takeover", "an I/O thread whose handler blocks is replaced")
      : Finding(
        .note, "takeover", "an I/O thread whose handler blocks is replaced, after 10 ms instead of 1",
        advice: "needs thread states")
  }

  private static func count(_ number: Int, _ name: String) -> String { "\(number) \(name)\(number == 1 ? "" : "s")" }

  /// With one digit behind the point.
  private static func decimal(_ number: Double) -> String {
    let tenths = Int((min(number, 100_000) * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}

/// The version of a kernel, as far as features go by it.
struct KernelVersion: Comparable, CustomStringConvertible {
  let major: Int
  let minor: Int

  init(major: Int, minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// Reads a release such as `6.1.0-18-amd64`; nil when it does not begin with two numbers.
  init?(release: String) {
    let parts = release.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count > 1, let major = Int(parts[0]),
      let minor = Int(parts[1].prefix { $0.isASCII && $0.isNumber }), major >= 0
    else { return nil }
    self.init(major: major, minor: minor)
  }

  var description: String { "\(major).\(minor)" }

  static func < (first: Self, second: Self) -> Bool {
    (first.major, first.minor) < (second.major, second.minor)
  }
}
