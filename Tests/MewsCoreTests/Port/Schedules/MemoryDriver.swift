import CMewsShims
import Synchronization

@testable import MewsCore

/// What stands for the kernel below a completion port: completions that arrive from any thread, and a clock that can
/// have things to do. It sleeps on a futex and so runs under a schedule as well as without one.
final class MemoryDriver: @unchecked Sendable {
  /// Called by the leader, with nothing locked: appends what time has brought.
  var passTime: (_ now: Int64, _ completed: inout shim_packet_chain) -> Void = { _, _ in }
  /// When the leader has to be back, on the monotonic clock; negative for never.
  var nextDeadline: () -> Int64 = { -1 }

  private let lock = FutexLock(spins: false)
  private var arrived = shim_packet_chain()
  private var isInterrupted = false
  /// Changes whenever the leader has to look again.
  private let changes = Atomic<UInt32>(0)
  private let mark = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)

  init() { mark.initialize(to: 1) }

  deinit { mark.deallocate() }

  /// The driver for a port, which has to release it.
  var driver: PortDriver {
    PortDriver(
      shim_port_driver(
        context: Unmanaged.passRetained(self).toOpaque(),
        wait: { context, deadline, completed in
          MemoryDriver.from(context).wait(deadline, &completed.pointee)
        },
        interrupt: { MemoryDriver.from($0).interrupt() },
        release: { Unmanaged<MemoryDriver>.fromOpaque($0).release() }), forkMark: mark)
  }

  /// Has the leader bring packets to the port.
  func arrive(_ packets: shim_packet_chain) {
    guard packets.first != nil else { return }
    lock.lock()
    var next = packets.first
    while let packet = next {
      next = packet.pointee.next
      arrived.append(packet)
    }
    lock.unlock()
    wakeLeader()
  }

  /// Has the leader look at the clock again.
  func wakeLeader() {
    Interleaving.reach(Interleaving.store)
    changes.add(1, ordering: .acquiringAndReleasing)
    Futex.wakeOne(address)
  }

  /// What has arrived and nobody has fetched.
  func takeArrived() -> shim_packet_chain {
    lock.lock()
    defer { lock.unlock() }
    defer { arrived = shim_packet_chain() }
    return arrived
  }

  /// Whether the leader has something to do. Only while no thread is in a call of the driver.
  var hasWork: Bool { arrived.first != nil || isInterrupted }

  private func wait(_ deadline: Int64, _ completed: inout shim_packet_chain) {
    while true {
      Interleaving.reach(Interleaving.load)
      let seen = changes.load(ordering: .acquiring)
      lock.lock()
      let isOver = arrived.first != nil || isInterrupted || deadline == 0
      completed = arrived
      arrived = shim_packet_chain()
      isInterrupted = false
      lock.unlock()
      let now = MonotonicClock.nanoseconds()
      passTime(now, &completed)
      if isOver || completed.first != nil || (deadline > 0 && now >= deadline) { return }
      let timer = nextDeadline()
      let limit = timer < 0 ? deadline : deadline < 0 ? timer : min(deadline, timer)
      _ = Futex.wait(on: address, while: seen, until: limit)
    }
  }

  private func interrupt() {
    lock.lock()
    isInterrupted = true
    lock.unlock()
    wakeLeader()
  }

  private var address: UnsafeRawPointer { withUnsafePointer(to: changes) { UnsafeRawPointer($0) } }

  private static func from(_ context: UnsafeMutableRawPointer) -> MemoryDriver {
    Unmanaged<MemoryDriver>.fromOpaque(context).takeUnretainedValue()
  }
}
