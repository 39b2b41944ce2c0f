import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// What a machine is and allows, as `mews doctor` looks at it.
struct MachineFacts {
  /// A limit of the process; `UInt64.max` for none.
  struct Limit: Equatable {
    var soft: UInt64
    var hard: UInt64
  }

  /// Such as `6.1.0-18-amd64`.
  var kernelRelease = ""
  /// Such as `x86_64`.
  var machineName = ""
  /// CPUs of the affinity mask.
  var affinity = 1
  /// CPUs that the control groups allow; nil for no limit.
  var quota: Double?
  /// What the host would start, unless told otherwise.
  var ioThreads = 1
  var workers = 1
  var descriptors = Limit(soft: .max, hard: .max)
  var lockedMemory = Limit(soft: .max, hard: .max)
  /// `net.core.somaxconn`; nil when it cannot be read, like the others below.
  var listenQueue: Int?
  /// `kernel.io_uring_disabled`.
  var ringSwitch: Int?
  /// What io_uring can do; nil when the kernel was not asked.
  var ringProbe: RingProbe?
  /// Features of io_uring that MEWS_IO_WITHOUT names.
  var ringSwitchedOff: RingFeatures = []
  /// Whether a seccomp filter is in force.
  var hasSystemCallFilter: Bool?
  var hasMembarrier = false
  /// The errno for which a thread cannot see whether another sleeps; 0 when it can.
  var threadWatchError: Int32 = 0
  /// The errno for which the supervisor cannot start its own program anew; 0 when it can.
  var selfError: Int32 = 0
  /// What no server does without, and the errno of its failure; 0 when it works.
  var essentials: [(name: String, error: Int32)] = []

  /// Looks at the machine. Takes a moment: it starts a thread, opens and closes sockets, and reads files.
  static func gather() -> MachineFacts {
    var facts = MachineFacts()
    facts.kernelRelease = String(cString: shim_kernel_release())
    facts.machineName = String(cString: shim_machine_name())
    facts.affinity = ProcessorCount.affinity
    facts.quota = ProcessorCount.quota
    let server = ServerOptions()
    facts.ioThreads = server.effectiveIOThreads
    facts.workers = server.effectiveWorkers
    facts.descriptors = Limit(shim_descriptor_limit())
    facts.lockedMemory = Limit(shim_locked_memory_limit())
    facts.listenQueue = number(of: "/proc/sys/net/core/somaxconn")
    facts.ringSwitch = number(of: "/proc/sys/kernel/io_uring_disabled")
    facts.hasSystemCallFilter = seccompMode(ofStatus: SmallFile.text("/proc/self/status")).map { $0 != 0 }
    facts.ringProbe = RingProbe.ofThisProcess
    facts.ringSwitchedOff = IOBackend.switchedOffByEnvironment
    facts.hasMembarrier = shim_has_membarrier()
    facts.threadWatchError = shim_try_thread_watch()
    facts.selfError = access("/proc/self/exe", X_OK) == 0 ? 0 : errno
    facts.essentials = [
      ("epoll", shim_try_epoll()), ("eventfd", shim_try_eventfd()), ("timerfd", shim_try_timerfd()),
      ("a listening socket", shim_try_listen()),
    ]
    return facts
  }

  private static func number(of path: String) -> Int? {
    SmallFile.text(path)?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
  }

  /// The mode of the line "Seccomp: MODE"; nil when there is none.
  static func seccompMode(ofStatus text: String?) -> Int? {
    let line = text?.split(separator: "\n").first { $0.hasPrefix("Seccomp:") }
    return line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) }
  }
}

extension MachineFacts.Limit {
  init(_ limit: shim_limit) { self.init(soft: limit.soft, hard: limit.hard) }
}
