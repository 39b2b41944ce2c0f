import CMewsShims
import Glibc
import MewsCore
import MewsServer

/// A worker process, as its supervisor sees it.
struct WorkerProcess {
  let process: Int32
  let control: ControlChannel
  let startedAt = IOThread.clock
  private var hasServed = false
  private(set) var isControlOpen = true
  /// Started in place of one that died after it had served.
  var isReplacement = false

  /// Whether the worker has come to serve, itself or in its predecessor: then its death is no reason to give up.
  var isReady: Bool { hasServed || isReplacement }

  private init(process: Int32, control: ControlChannel) {
    self.process = process
    self.control = control
  }

  /// Starts this program anew as a worker that inherits the sockets.
  static func start(_ options: RunOptions, _ listeners: [ListeningSet]) throws(SystemError) -> WorkerProcess {
    let (mine, theirs) = try ControlChannel.pair()
    defer { theirs.close() }
    var worker = WorkerOptions()
    worker.listeners = try listeners.map { listener throws(SystemError) in
      let address = try listener.boundAddress()
      return InheritedListener(
        descriptors: listener.descriptors, url: ListenURL(host: .address(address), port: address.port))
    }
    worker.controlDescriptor = theirs.descriptor
    let arguments = ["mews"] + MewsCommand.worker(options, worker).arguments
    var texts: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    texts.append(nil)
    defer { for text in texts { free(text) } }
    let descriptors = listeners.flatMap(\.descriptors) + [theirs.descriptor]
    let process = shim_spawn_self(texts, descriptors, Int32(descriptors.count))
    guard process > 0 else {
      mine.close()
      throw SystemError(call: "posix_spawn", code: -process)
    }
    return WorkerProcess(process: process, control: mine)
  }

  /// Takes what the worker has said.
  mutating func readControl() {
    while isControlOpen {
      switch control.receive() {
      case .message(.ready): hasServed = true
      case .message: break
      case .nothing: return
      case .end: isControlOpen = false
      }
    }
  }

  /// How it ended, once it has.
  func end() -> ProcessEnd? {
    var status: Int32 = 0
    guard shim_reap(process, &status) != 0 else { return nil }
    let signal = shim_exit_signal(status)
    return signal == 0 ? .exit(shim_exit_code(status)) : .signal(signal)
  }
}

/// How a process ended.
enum ProcessEnd: CustomStringConvertible {
  case exit(Int32)
  case signal(Int32)

  /// What the supervisor exits with in turn.
  var exitStatus: Int32 {
    switch self {
    case .exit(let code): code
    case .signal(let signal): 128 + signal
    }
  }

  var description: String {
    switch self {
    case .exit(let code): "ended with status \(code)"
    case .signal(let signal):
      "was ended by signal \(signal) (\(strsignal(signal).map { String(cString: $0) } ?? "unknown"))"
    }
  }
}
