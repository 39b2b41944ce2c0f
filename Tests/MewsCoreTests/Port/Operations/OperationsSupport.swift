import CMewsShims
import Foundation
import MewsCore
import Testing

/// Not Foundation's.
typealias Operation = MewsCore.Operation

/// An operation with memory for it to read into or to write from. The memory is never freed: many tests end with
/// operations in flight, whose memory belongs to the port. It stays known, so that it is no leak to a sanitizer.
final class TestOperation: @unchecked Sendable {
  let pointer: OperationPointer
  let bytes: UnsafeMutableRawPointer
  let capacity: Int

  private static let memory = Guarded<[UnsafeMutableRawPointer]>([])

  init(capacity: Int = 64, content: String = "") {
    pointer = .allocate(capacity: 1)
    pointer.initialize(to: Operation())
    self.capacity = max(capacity, content.utf8.count)
    bytes = .allocate(byteCount: max(1, self.capacity), alignment: 16)
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: max(1, self.capacity))
    bytes.copyMemory(from: Array(content.utf8), byteCount: content.utf8.count)
    Self.memory.withLock { $0 += [UnsafeMutableRawPointer(pointer), bytes] }
  }

  func buffer(_ length: Int? = nil) -> OperationBuffer { OperationBuffer(iov_base: bytes, iov_len: length ?? capacity) }

  func text(_ count: Int) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
  }
}

/// A packet without pointers into the port.
struct Received: Equatable {
  var key: UInt64
  var bytes: UInt64
  var status: Int32
  var operation: UnsafeMutableRawPointer?

  static func done(_ operation: TestOperation, key: UInt64 = 7, bytes: Int) -> Received {
    Received(key: key, bytes: UInt64(bytes), status: 0, operation: operation.pointer)
  }

  static func canceled(_ operation: TestOperation, key: UInt64 = 7, bytes: Int = 0) -> Received {
    Received(key: key, bytes: UInt64(bytes), status: -14, operation: operation.pointer)
  }
}

extension OperationPort {
  /// The next packet, or nil when none comes in time: at once unless said otherwise.
  func next(milliseconds: Int64 = 0) -> Received? {
    var packet = PortPacket()
    var count = 0
    let result = get(into: &packet, capacity: 1, timeoutNanoseconds: milliseconds * 1_000_000, count: &count)
    guard result == .packets else { return nil }
    return Received(
      key: packet.key, bytes: packet.bytes, status: packet.status, operation: packet.operation)
  }

  /// The next packet, which has to come.
  func await() -> Received? { next(milliseconds: 10_000) }

  func receive(_ handle: Handle, _ operation: TestOperation, _ length: Int? = nil) -> OperationResult {
    var buffer = operation.buffer(length)
    return receive(handle, operation.pointer, &buffer, count: 1)
  }

  func send(_ handle: Handle, _ operation: TestOperation, _ length: Int? = nil) -> OperationResult {
    var buffer = operation.buffer(length)
    return send(handle, operation.pointer, &buffer, count: 1)
  }

  func handle(_ descriptor: Int32, key: UInt = 7, skips: Bool = false) -> Handle {
    var handle = Handle(rawValue: 0)
    let result = associate(descriptor, key: key, skipsSuccess: skips, handle: &handle)
    precondition(result == .done, "associate: \(result)")
    return handle
  }
}

extension Trait where Self == ConditionTrait {
  /// For tests that need io_uring.
  static var ring: Self { .enabled(if: RingProbe.ofThisProcess.isUsable, "this machine has no io_uring for Mews") }
}

extension PortBackend {
  /// What moves sockets and pipes on this machine.
  static let tested: [PortBackend] = RingProbe.ofThisProcess.isUsable ? [.epoll, .ring] : [.epoll]
  /// What moves files.
  static let allTested: [PortBackend] = tested + [.automatic]
}

func withOperationPort<Value>(
  concurrency: Int = 1, backend: PortBackend = .epoll, _ body: (OperationPort) throws -> Value
) throws -> Value {
  let port = try OperationPort.create(concurrency: concurrency, backend: backend)
  defer {
    port.port.leave()
    port.close()
  }
  return try body(port)
}

func socketPair(_ type: __socket_type = SOCK_STREAM) -> (ours: Int32, theirs: Int32) {
  var pair: [Int32] = [0, 0]
  precondition(socketpair(AF_UNIX, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
  return (pair[0], pair[1])
}

func write(_ text: String, to descriptor: Int32) {
  precondition(Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count)
}

func read(from descriptor: Int32, _ count: Int = 4096) -> String {
  var buffer = [UInt8](repeating: 0, count: count)
  let received = Glibc.read(descriptor, &buffer, count)
  return String(decoding: buffer[..<max(0, received)], as: UTF8.self)
}

/// A socket that listens on the loopback interface, and its address.
func listeningSocket() -> (descriptor: Int32, address: sockaddr_in) {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  let address = bound(descriptor)
  precondition(listen(descriptor, 16) == 0)
  return (descriptor, address)
}

/// Binds a socket to a free port of the loopback interface.
func bound(_ descriptor: Int32) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      precondition(bind(descriptor, $0, length) == 0)
      precondition(getsockname(descriptor, $0, &length) == 0)
    }
  }
  return address
}

/// A file in the folder for temporary files that has no name any more.
func temporaryFile() -> Int32 {
  let template = FileManager.default.temporaryDirectory.appendingPathComponent(
    "mews-" + String(repeating: "X", count: 6)
  ).path
  var path = Array(template.utf8CString)
  let descriptor = mkstemp(&path)
  precondition(descriptor >= 0)
  unlink(path)
  return descriptor
}

func isReadable(_ descriptor: Int32) -> Bool {
  var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  return poll(&wanted, 1, 0) == 1
}

/// Runs the body in a forked child, and returns what it returned as the exit code. Swift hides fork.
///
/// The child of a process with other threads waits for ever for a lock that one of them had, and the Swift runtime has
/// locks of its own: so this is for a process that runs one test (`#expect(processExitsWith:)`), not for one that runs
/// them all.
func inForkedChild(_ body: () -> Int32) -> Int32 {
  typealias Fork = @convention(c) () -> pid_t
  let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: 0), "fork")
  let fork = unsafeBitCast(symbol, to: Fork.self)
  let child = fork()
  if child == 0 { _exit(body()) }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 && errno == EINTR {}
  return status & 0x7f == 0 ? status >> 8 & 0xff : -1
}
