import CMewsShims
import Glibc

/// What the monitor knows of one worker's thread, and what it last saw of it.
struct WorkerSample {
  /// The `Worker.activity` that was seen last; 0 when there was none.
  private(set) var activity: UInt64 = 0
  /// When the thread's CPU clock was read during that activity, 0 for never, and what it showed.
  private var time: Int64 = 0
  private var cpuTime: Int64 = 0
  /// Whether the thread's slot was taken from it during that activity.
  var isReleased = false

  private var threadID: Int32 = 0
  private var clock: Int32 = 0
  /// The open file of the thread's state; -1 while there is none.
  private var descriptor: Int32 = -1
  private var keepsDescriptor = false

  init() {}

  /// For the calling thread.
  ///
  /// - Parameter keepsDescriptor: whether the file of its state stays open between looks.
  init(keepsDescriptor: Bool) {
    threadID = shim_thread_id()
    clock = shim_thread_clock()
    self.keepsDescriptor = keepsDescriptor
  }

  /// The thread has gone on to another activity.
  mutating func begin(_ activity: UInt64) {
    self.activity = activity
    time = 0
    isReleased = false
  }

  /// Reads the thread's CPU clock.
  ///
  /// - Returns: how much CPU time the thread has used since the last reading, and how long that is ago; nil the first
  ///   time in an activity.
  mutating func share(_ now: Int64) -> (used: Int64, elapsed: Int64)? {
    let last = (time: time, cpuTime: cpuTime)
    (time, cpuTime) = (now, shim_clock_nanoseconds(clock))
    return last.time == 0 ? nil : (used: cpuTime &- last.cpuTime, elapsed: now &- last.time)
  }

  /// Whether the thread sleeps at this moment, rather than running or waiting for a CPU. Nil when that cannot be found
  /// out: the process is out of descriptors, or there is no /proc.
  mutating func isAsleep() -> Bool? {
    if descriptor < 0 { descriptor = shim_thread_state_open(threadID) }
    guard descriptor >= 0 else { return nil }
    defer { if !keepsDescriptor { close() } }
    return shim_thread_sleeps(descriptor) == 1
  }

  /// Closes what is open.
  mutating func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }
}
