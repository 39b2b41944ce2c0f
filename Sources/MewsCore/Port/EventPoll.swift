import CMewsShims
import Glibc

/// Kinds of readiness, as the bits that an event source is told.
public enum ReadyEvents {
  /// Bytes or a connection to take, or the end of the stream.
  public static var readable: UInt32 { @_noLocks get { SHIM_EPOLL_READABLE } }
  /// Room to write.
  public static var writable: UInt32 { @_noLocks get { SHIM_EPOLL_WRITABLE } }
  /// The peer writes no more.
  public static var peerClosed: UInt32 { @_noLocks get { SHIM_EPOLL_PEER_CLOSED } }
  /// Both directions are closed.
  public static var hangup: UInt32 { @_noLocks get { SHIM_EPOLL_HANGUP } }
  /// The descriptor has failed.
  public static var error: UInt32 { @_noLocks get { SHIM_EPOLL_ERROR } }
  /// What a source hears of.
  static var all: UInt32 { @_noLocks get { SHIM_EPOLL_READABLE | SHIM_EPOLL_WRITABLE | SHIM_EPOLL_PEER_CLOSED } }
  /// Of several who wait for a descriptor, one or a few hear of it.
  static var exclusive: UInt32 { @_noLocks get { SHIM_EPOLL_EXCLUSIVE } }
  /// A TCP stream has an urgent mark, at which receiving stops short.
  static var urgent: UInt32 { @_noLocks get { SHIM_EPOLL_URGENT } }
}

/// An epoll set with room for the events of one wait.
struct EventPoll {
  /// Itself readable while there are events.
  let descriptor: Int32
  private let events: UnsafeMutablePointer<epoll_event>

  /// How many events one wait returns at most.
  static var capacity: Int { 256 }

  static func create() throws(SystemError) -> EventPoll {
    guard let memory = malloc(capacity * MemoryLayout<epoll_event>.stride) else {
      throw SystemError(call: "malloc", code: ENOMEM)
    }
    let descriptor = shim_epoll_create()
    guard descriptor >= 0 else {
      free(memory)
      throw SystemError(call: "epoll_create1", code: -descriptor)
    }
    return EventPoll(
      descriptor: descriptor, events: memory.bindMemory(to: epoll_event.self, capacity: capacity))
  }

  func destroy() {
    _ = shim_descriptor_close(descriptor)
    free(events)
  }

  /// Reports every change of the descriptor's readiness, in both directions and edge-triggered, with `data`. One call
  /// serves for the descriptor's life.
  ///
  /// - Parameter extra: kinds of readiness besides readable, writable and peer closed.
  /// - Returns: 0 or an errno.
  @_noLocks
  func add(_ target: Int32, data: UInt64, extra: UInt32 = 0) -> Int32 {
    let interest =
      SHIM_EPOLL_READABLE | SHIM_EPOLL_WRITABLE | SHIM_EPOLL_PEER_CLOSED | SHIM_EPOLL_EDGE | extra
    return 0 &- shim_epoll_add(descriptor, target, interest, data)
  }

  /// Reports, edge-triggered, that a listening socket has connections: to one of the sets that watch it, not to all.
  ///
  /// - Returns: 0 or an errno.
  @_noLocks
  func addListener(_ target: Int32, data: UInt64) -> Int32 {
    0 &- shim_epoll_add(descriptor, target, SHIM_EPOLL_READABLE | SHIM_EPOLL_EDGE | SHIM_EPOLL_EXCLUSIVE, data)
  }

  /// Stops reporting a descriptor. Closing it would not do: a child process may hold a copy, and the set would go on
  /// reporting it.
  ///
  /// - Returns: 0 or an errno.
  @_noLocks
  @discardableResult
  func delete(_ target: Int32) -> Int32 {
    0 &- shim_epoll_delete(descriptor, target)
  }

  /// Waits for events. A signal may end a wait with a timeout early, without events; one without end goes on.
  ///
  /// - Parameter timeoutMilliseconds: 0 looks and returns, negative waits for ever.
  /// - Returns: the number of events, or an errno negated.
  @_noLocks
  func wait(timeoutMilliseconds: Int32) -> Int32 {
    #if DEBUG
      if shim_is_scheduled() {
        shim_schedule_await_readable(descriptor, timeoutMilliseconds)
        return shim_epoll_wait(descriptor, events, Int32(truncatingIfNeeded: Self.capacity), 0)
      }
    #endif
    return shim_epoll_wait(descriptor, events, Int32(truncatingIfNeeded: Self.capacity), timeoutMilliseconds)
  }

  /// The data word and the readiness of an event of the last wait.
  @_noLocks @inline(__always)
  func event(_ index: Int) -> (data: UInt64, ready: UInt32) {
    (shim_epoll_data(events + index), events[index].events)
  }
}

/// A descriptor that any thread can make ready, to end an `EventPoll`'s wait.
///
/// It is watched edge-triggered and so need not be read: each signal is an event of its own.
struct WakeDescriptor {
  let descriptor: Int32

  static func create() throws(SystemError) -> WakeDescriptor {
    let descriptor = shim_eventfd_create()
    guard descriptor >= 0 else { throw SystemError(call: "eventfd", code: -descriptor) }
    return WakeDescriptor(descriptor: descriptor)
  }

  func destroy() {
    _ = shim_descriptor_close(descriptor)
  }

  @_noLocks
  func signal() {
    shim_eventfd_signal(descriptor)
  }
}
