import CMewsShims
import Glibc

/// Small exercises on sockets of its own, each of which shows that a feature works.
struct RingTrials {
  let ring: Ring
  /// Whether something could not be tried for want of a descriptor.
  private(set) var lackedDescriptors = false

  init(ring: Ring) { self.ring = ring }

  /// How long a completion may take that needs nothing but the kernel's work. It is there at once, or never.
  private static let patience: Int64 = 250_000_000
  /// How long the kernel may take to do away with a closed ring, in milliseconds. It is a matter of some.
  private static let closingMilliseconds: Int32 = 2_000

  /// What works, of what can be tried on a ring that is set up.
  mutating func perform() -> RingFeatures {
    var found: RingFeatures = []
    let kernel = shim_ring_features(handle)
    if kernel & SHIM_RING_HAS_NO_DROP != 0 { found.insert(.noDrop) }
    if kernel & SHIM_RING_HAS_TIMEOUT != 0, hasTimeout() { found.insert(.timeout) }
    if shim_ring_register(handle) == 0, completesNothing() { found.insert(.registeredRing) }
    if kernel & SHIM_RING_HAS_NO_IOWAIT != 0, avoidsIOWait() { found.insert(.noIOWait) }
    if knows(SHIM_RING_POLL), knows(SHIM_RING_CANCEL) { found.formUnion(pollAndCancel()) }
    if knows(SHIM_RING_ACCEPT), accepts() { found.insert(.multishotAccept) }
    if knows(SHIM_RING_RECEIVE) { found.formUnion(receives()) }
    if knows(SHIM_RING_SEND), knows(SHIM_RING_SENDMSG), sends() { found.insert(.send) }
    if knows(SHIM_RING_READ), knows(SHIM_RING_WRITE), knows(SHIM_RING_FSYNC), usesFiles() { found.insert(.files) }
    // A ring that only watches has nothing that it could take.
    if !found.contains(.multishotReceive) || leavesWhatCame() { found.insert(.takeover) }
    return found
  }

  private var handle: OpaquePointer { ring.state.pointee.ring }

  private func knows<Code: BinaryInteger>(_ code: Code) -> Bool { shim_ring_knows(handle, Int32(code)) }

  // MARK: Trials

  private func completesNothing() -> Bool {
    guard submit(1, { shim_entry_nop($0) }) else { return false }
    return next()?.result == 0
  }

  /// A wait in which nothing happens ends by its time.
  private func hasTimeout() -> Bool {
    shim_ring_enter(handle, 1, 1_000) == -ETIME
  }

  private func avoidsIOWait() -> Bool {
    shim_ring_count_iowait(handle, false)
    defer { shim_ring_count_iowait(handle, true) }
    return hasTimeout()
  }

  private mutating func pollAndCancel() -> RingFeatures {
    guard let pair = makePair() else { return [] }
    defer { pair.close() }
    guard submit(1, { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) }) else { return [] }
    for _ in 0..<2 {
      pair.sendFromPeer(1)
      guard let event = next(), event.data == 1, event.result & Int32(POLLIN) != 0,
        event.flags & SHIM_RING_MORE != 0
      else { return [] }
    }
    return cancels(1) && cancelsAll() ? [.multishotPoll, .cancel] : []
  }

  /// Whether an operation that repeats ends where it is canceled, with no completion but its own.
  private func cancels(_ data: UInt64) -> Bool {
    guard submit(2, { shim_entry_cancel($0, data) }), let event = next() else { return false }
    return event.data == data && event.result == -ECANCELED && event.flags & SHIM_RING_MORE == 0
      && shim_ring_unread(handle) == 0
  }

  /// Whether everything can be ended at once.
  private mutating func cancelsAll() -> Bool {
    guard let pair = makePair() else { return false }
    defer { pair.close() }
    guard submit(1, { shim_entry_poll($0, pair.ours, UInt32(POLLIN)) }) else { return false }
    guard ring.cancelAll(), let event = next() else { return false }
    return event.data == 1 && event.result == -ECANCELED && event.flags & SHIM_RING_MORE == 0
  }

  /// Two connections to a socket without a name.
  private mutating func accepts() -> Bool {
    let listener = makeSocket()
    guard listener >= 0 else { return false }
    defer { close(listener) }
    var address = sockaddr_un()
    var length = socklen_t(MemoryLayout<sa_family_t>.size)
    address.sun_family = sa_family_t(AF_UNIX)
    let isListening = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
        // With nothing but a family, the kernel finds a name.
        guard bind(listener, name, length) == 0, listen(listener, 4) == 0 else { return false }
        length = socklen_t(MemoryLayout<sockaddr_un>.size)
        return getsockname(listener, name, &length) == 0
      }
    }
    guard isListening, submit(1, { shim_entry_accept($0, listener) }) else { return false }
    for _ in 0..<2 {
      let client = makeSocket()
      guard client >= 0 else { return false }
      defer { close(client) }
      let isConnected = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, length) == 0 }
      }
      guard isConnected, let event = next() else { return false }
      if event.result == -EMFILE || event.result == -ENFILE { lackedDescriptors = true }
      guard event.result >= 0 else { return false }
      // Some kernels gave numbers that were no descriptors.
      guard shim_descriptor_close(event.result) == 0, event.flags & SHIM_RING_MORE != 0 else { return false }
    }
    return cancels(1)
  }

  /// Two pieces into buffers of the process's, and the end of the stream.
  private mutating func receives() -> RingFeatures {
    let size = 64
    guard let pair = makePair() else { return [] }
    defer { pair.close() }
    return withUnsafeTemporaryAllocation(byteCount: 4 * size, alignment: 64) { memory in
      guard let base = memory.baseAddress, shim_ring_add_buffers(handle, 4, Ring.bufferGroup) == 0 else { return [] }
      for number in 0..<4 {
        shim_ring_provide_buffer(handle, base + number * size, UInt32(size), UInt16(number))
      }
      shim_ring_publish_buffers(handle)
      guard submit(1, { shim_entry_receive($0, pair.ours, Ring.bufferGroup) }) else { return [] }
      var found: RingFeatures = []
      for value in UInt8(1)...2 {
        pair.sendFromPeer(value)
        guard let event = next(), event.result == 1, event.flags & SHIM_RING_BUFFER != 0 else { return found }
        let number = Int(event.flags >> SHIM_RING_BUFFER_SHIFT)
        guard number < 4, memory[number * size] == value else { return found }
        found.insert(.bufferRing)
        guard event.flags & SHIM_RING_MORE != 0 else { return found }
      }
      shutdown(pair.peers, Int32(SHUT_WR))
      guard let end = next(), end.result == 0, end.flags & SHIM_RING_MORE == 0 else { return found }
      return found.union(.multishotReceive)
    }
  }

  private mutating func sends() -> Bool {
    guard let pair = makePair() else { return false }
    defer { pair.close() }
    var byte: UInt8 = 7
    let isSent = withUnsafePointer(to: &byte) { byte in
      submit(1, { shim_entry_send($0, pair.ours, byte, 1) }) && next()?.result == 1
    }
    byte = 0
    return isSent && recv(pair.peers, &byte, 1, Int32(MSG_DONTWAIT)) == 1 && byte == 7
  }

  private mutating func usesFiles() -> Bool {
    let file = shim_memory_file()
    guard file >= 0 else {
      lackedDescriptors = true
      return false
    }
    defer { close(file) }
    var byte: UInt8 = 9
    return withUnsafeMutablePointer(to: &byte) { byte in
      guard submit(1, { shim_entry_write($0, file, byte, 1, 0) }), next()?.result == 1 else { return false }
      guard submit(1, { shim_entry_sync($0, file, true) }), next()?.result == 0 else { return false }
      byte.pointee = 0
      guard submit(1, { shim_entry_read($0, file, byte, 1, 0) }), next()?.result == 1 else { return false }
      return byte.pointee == 9
    }
  }

  /// Whether a byte that came for a ring, which its thread has not entered since, is still in the socket when that ring
  /// has been closed. The end of the socket tells: its peer is told of a reset if it was.
  private mutating func leavesWhatCame() -> Bool {
    let size = 64
    guard let other = try? Ring.create(ring.state.pointee.features, submissions: 4, completions: 8) else {
      return false
    }
    var isOpen = true
    defer { if isOpen { other.destroy() } }
    guard let pair = makePair() else { return false }
    defer { Glibc.close(pair.peers) }
    let handle = other.state.pointee.ring
    guard let memory = malloc(size), shim_ring_add_buffers(handle, 1, Ring.bufferGroup) == 0,
      let entry = other.nextEntry()
    else {
      Glibc.close(pair.ours)
      return false
    }
    shim_ring_provide_buffer(handle, memory, UInt32(size), 0)
    shim_ring_publish_buffers(handle)
    shim_entry_receive(entry, pair.ours, Ring.bufferGroup)
    shim_entry_set_data(entry, 1)
    let isArmed = shim_ring_submit(handle) == 0
    pair.sendFromPeer(1)
    other.destroy()
    isOpen = false
    Glibc.close(pair.ours)
    var event = pollfd(fd: pair.peers, events: Int16(POLLIN), revents: 0)
    // The kernel closes a ring behind the back of who asked for it.
    guard isArmed, poll(&event, 1, Self.closingMilliseconds) == 1 else { return false }
    var byte: UInt8 = 0
    let isUnread = recv(pair.peers, &byte, 1, Int32(MSG_DONTWAIT)) < 0 && errno == ECONNRESET
    // The kernel may write into it for as long as it has not let go of the socket.
    free(memory)
    return isUnread
  }

  // MARK: Sockets

  private mutating func makePair() -> SocketPair? {
    let pair = SocketPair()
    if pair == nil { lackedDescriptors = true }
    return pair
  }

  private mutating func makeSocket() -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
    if descriptor < 0 { lackedDescriptors = true }
    return descriptor
  }

  // MARK: The ring

  private func submit(_ data: UInt64, _ fill: (RingEntry) -> Void) -> Bool {
    guard let entry = ring.nextEntry() else { return false }
    fill(entry)
    shim_entry_set_data(entry, data)
    return shim_ring_submit(handle) == 0
  }

  private func next() -> shim_ring_event? {
    var event = shim_ring_event()
    if ring.nextEvent(&event) { return event }
    _ = ring.enter(timeoutNanoseconds: Self.patience)
    return ring.nextEvent(&event) ? event : nil
  }
}

/// Two sockets that are connected to each other.
private struct SocketPair {
  let ours: Int32
  let peers: Int32

  init?() {
    var pair: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK
    guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { return nil }
    ours = pair[0]
    peers = pair[1]
  }

  func sendFromPeer(_ value: UInt8) {
    var byte = value
    _ = send(peers, &byte, 1, Int32(MSG_NOSIGNAL))
  }

  func close() {
    Glibc.close(ours)
    Glibc.close(peers)
  }
}
