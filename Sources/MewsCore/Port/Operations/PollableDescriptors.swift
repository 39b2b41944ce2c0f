import CMewsShims

/// What lets another event loop wait for a port: an epoll set over the port's own set, its queue of packets and its
/// timers. Watching it consumes nothing.
struct PollableDescriptors {
  private var set: Int32 = -1
  private var packets: Int32 = -1
  private var timers: Int32 = -1

  /// Creates the descriptors.
  ///
  /// - Returns: 0 or an errno.
  fileprivate mutating func open(watching poll: Int32) -> Int32 {
    set = shim_epoll_create()
    packets = shim_eventfd_create()
    timers = shim_timerfd_create()
    for descriptor in [set, packets, timers] where descriptor < 0 {
      close()
      return 0 &- descriptor
    }
    for watched in [poll, packets, timers] {
      let error = shim_epoll_add(set, watched, SHIM_EPOLL_READABLE, 0)
      guard error < 0 else { continue }
      close()
      return 0 &- error
    }
    return 0
  }

  mutating func close() {
    for descriptor in [set, packets, timers] where descriptor >= 0 { _ = shim_descriptor_close(descriptor) }
    self = PollableDescriptors()
  }

  fileprivate var all: (set: Int32, packets: Int32, timers: Int32) { (set, packets, timers) }
}

extension OperationPort {
  /// A descriptor that is readable when a `get` without a timeout may have something to do, or when the port is shut
  /// down. It belongs to the port.
  ///
  /// - Returns: the descriptor, or an errno negated; -1 also in a child process.
  public func pollableDescriptor() -> Int32 {
    guard !isInChild else { return -1 }
    port.state.pointee.lock.lock()
    let isNew = state.pointee.pollable.all.set < 0
    var error: Int32 = 0
    if isNew {
      error = state.pointee.pollable.open(watching: state.pointee.poll.descriptor)
      if error == 0 { port.state.pointee.queue.descriptor = state.pointee.pollable.all.packets }
    }
    let (set, _, timers) = state.pointee.pollable.all
    PortState.unlock(port.state)
    guard error == 0 else { return 0 &- error }
    // Not under the port's lock: the timers' comes first.
    if isNew { state.pointee.parts.timers.show(on: timers) }
    return set
  }
}
