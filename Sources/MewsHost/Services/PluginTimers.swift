import CMews
import Glibc
import MewsCore

/// The one-shot timers of all plugins: kept on the first I/O thread's wheel, run by workers.
///
/// A timer can be started and cancelled from any thread. Its entry goes to the I/O thread in a packet to be put on the
/// wheel, from there in the same packet to a worker, and back to the list of free ones.
public final class PluginTimers: @unchecked Sendable {
  public static let limit = 65_536

  /// A timer from its start to its end. The packet comes first, so that it leads back to the entry.
  private struct Entry {
    enum Phase {
      case free
      case armed
      case cancelled
      case running
    }

    var packet = Packet()
    /// Takes a cancelled timer off the wheel.
    var cancelPacket = Packet()
    var node = Timer()
    var owner: Unmanaged<PluginTimers>
    var plugin: Unmanaged<Plugin>?
    var callback: mews_timer_callback?
    var context: UnsafeMutableRawPointer?
    var deadline: UInt64 = 0
    var generation: UInt32 = 1
    var phase = Phase.free
    let slot: UInt32
  }

  private typealias EntryPointer = UnsafeMutablePointer<Entry>

  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let port: CompletionPort
  private var thread: IOThread?
  private var entries: [EntryPointer] = []
  private var free: [UInt32] = []
  /// Started before the server was.
  private var early: [EntryPointer] = []
  private var hasEnded = false

  init(port: CompletionPort) {
    self.port = port
    lock.initialize(to: pthread_mutex_t())
    pthread_mutex_init(lock, nil)
  }

  deinit {
    for entry in entries { entry.deallocate() }
    pthread_mutex_destroy(lock)
    lock.deallocate()
  }

  private func locked<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return body()
  }

  /// Puts the timers that were started so far on a thread's wheel, and later ones as they come.
  func start(on thread: IOThread) {
    locked {
      self.thread = thread
      for entry in early { send(entry) }
      early = []
    }
  }

  /// No timer runs from now on. The threads have ended.
  func end() { locked { hasEnded = true } }

  /// Starts a timer. Any thread.
  ///
  /// - Parameter timer: receives the handle: generation and slot.
  public func start(
    _ plugin: Plugin, delayMilliseconds: UInt64, callback: @escaping mews_timer_callback,
    context: UnsafeMutableRawPointer?, timer: inout UInt64
  ) -> mews_result {
    guard delayMilliseconds <= 1 << 31 else { return mews_result(MEWS_E_INVALID_ARGUMENT) }
    return locked {
      guard !hasEnded else { return mews_result(MEWS_E_GONE) }
      guard let entry = takeEntry() else { return mews_result(MEWS_E_LIMIT) }
      entry.pointee.plugin = Unmanaged.passUnretained(plugin)
      entry.pointee.callback = callback
      entry.pointee.context = context
      entry.pointee.deadline = IOThread.clock + delayMilliseconds
      entry.pointee.phase = .armed
      timer = UInt64(entry.pointee.generation) << 32 | UInt64(entry.pointee.slot)
      if thread == nil { early.append(entry) } else { send(entry) }
      return mews_result(MEWS_OK)
    }
  }

  /// Cancels a timer. Any thread.
  public func cancel(_ timer: UInt64) -> mews_result {
    locked {
      let slot = Int(timer & 0xFFFF_FFFF)
      guard slot < entries.count else { return mews_result(MEWS_E_GONE) }
      let entry = entries[slot]
      guard entry.pointee.phase == .armed, UInt64(entry.pointee.generation) == timer >> 32 else {
        return mews_result(MEWS_E_GONE)
      }
      entry.pointee.phase = .cancelled
      guard let thread else {
        early.removeAll { $0 == entry }
        recycle(entry)
        return mews_result(MEWS_OK)
      }
      entry.pointee.cancelPacket = Packet(operation: entry, action: { PluginTimers.takeOffWheel($0) })
      thread.post(Self.field(entry, MemoryLayout<Packet>.stride))
      return mews_result(MEWS_OK)
    }
  }

  // MARK: Under the lock

  private func takeEntry() -> EntryPointer? {
    if let slot = free.popLast() { return entries[Int(slot)] }
    guard entries.count < Self.limit else { return nil }
    let entry = EntryPointer.allocate(capacity: 1)
    entry.initialize(to: Entry(owner: Unmanaged.passUnretained(self), slot: UInt32(entries.count)))
    entries.append(entry)
    return entry
  }

  private func recycle(_ entry: EntryPointer) {
    entry.pointee.phase = .free
    entry.pointee.generation = entry.pointee.generation == .max ? 1 : entry.pointee.generation + 1
    entry.pointee.plugin = nil
    entry.pointee.callback = nil
    free.append(entry.pointee.slot)
  }

  private func send(_ entry: EntryPointer) {
    entry.pointee.packet = Packet(operation: entry, action: { PluginTimers.putOnWheel($0) })
    thread?.post(Self.field(entry, 0))
  }

  // MARK: On the I/O thread

  private static func putOnWheel(_ packet: PacketPointer) {
    guard let entry = entry(packet) else { return }
    let timers = entry.pointee.owner.takeUnretainedValue()
    entry.pointee.node = Timer(action: { PluginTimers.isDue($0) }, context: entry)
    timers.thread?.start(field(entry, 2 * MemoryLayout<Packet>.stride), deadline: entry.pointee.deadline)
  }

  private static func isDue(_ timer: TimerPointer) {
    guard let entry = timer.pointee.context?.assumingMemoryBound(to: Entry.self) else { return }
    let timers = entry.pointee.owner.takeUnretainedValue()
    let runs = timers.locked {
      // A cancelled one is left to its own packet, which is on its way.
      guard entry.pointee.phase == .armed else { return false }
      entry.pointee.phase = .running
      return true
    }
    guard runs else { return }
    entry.pointee.packet = Packet(operation: entry, action: { PluginTimers.call($0) })
    timers.port.post(field(entry, 0))
  }

  private static func takeOffWheel(_ packet: PacketPointer) {
    guard let entry = entry(packet) else { return }
    let timers = entry.pointee.owner.takeUnretainedValue()
    timers.thread?.cancel(field(entry, 2 * MemoryLayout<Packet>.stride))
    timers.locked { timers.recycle(entry) }
  }

  // MARK: On a worker

  private static func call(_ packet: PacketPointer) {
    guard let entry = entry(packet), let plugin = entry.pointee.plugin, let callback = entry.pointee.callback else {
      return
    }
    let timers = entry.pointee.owner.takeUnretainedValue()
    let context = entry.pointee.context
    timers.locked { timers.recycle(entry) }
    callback(plugin.takeUnretainedValue().handle, context)
  }

  private static func entry(_ packet: PacketPointer) -> EntryPointer? {
    packet.pointee.operation?.assumingMemoryBound(to: Entry.self)
  }

  /// A part of an entry: the packet, the cancelling packet and the timer lie in a row at its start.
  private static func field<Part>(_ entry: EntryPointer, _ offset: Int) -> UnsafeMutablePointer<Part> {
    (UnsafeMutableRawPointer(entry) + offset).assumingMemoryBound(to: Part.self)
  }
}
