import CMewsShims
import Synchronization

/// What happens when somebody looks after the workers: who sleeps gives its slot up, who was found asleep and burns CPU
/// has one again, and threads are added where packets wait for nothing else.
///
/// A worker counts as asleep when it has been running one counted packet for 0.2 ms at least; its CPU clock has hardly
/// advanced since the last look, if there was one in that time; and the kernel says that it waits for something. The
/// CPU clock costs little and rules out the ones that work; the kernel's word tells those that sleep from those that
/// would run if they had a CPU.
///
/// The pool's lock guards it.
struct MonitorRounds {
  struct Outcome {
    /// No packet waited.
    var isQuiet = true
    /// Something was done.
    var hasActed = false
  }

  /// When somebody looked last, and when a worker did, on the monotonic clock.
  private var lastTime: Int64 = 0
  private var lastHelpTime: Int64 = 0
  /// Of the workers that sleep without a slot, where the next look goes on to see whether they are awake again.
  private var nextReleased = 0
  private var growth: WorkerGrowth

  /// How many of those a look takes in.
  private static var releasedPerLook: Int { 2 }
  /// How many of the packets that wait a look takes in.
  private static var packetsPerLook: Int { 64 }
  /// A thread that has used less of the time than one of so many parts may be asleep.
  private static var idleDivisor: Int64 { 8 }
  /// A thread that has used more of the time than one of so many parts is awake.
  private static var busyDivisor: Int64 { 2 }
  /// How long a thread of which only the CPU clock is known has to have been in a packet to count as asleep.
  private static var unknownPatience: Int64 { 20_000_000 }
  /// Workers leave it to others to look more often than that, in nanoseconds.
  private static var helpInterval: Int64 { 1_000_000 }

  init(limits: WorkerLimits) {
    growth = WorkerGrowth(burst: limits.burst)
  }

  /// Looks once, on the monitor's thread, unless a worker has just done so.
  ///
  /// - Parameter now: the time of the monotonic clock.
  static func look(_ pool: WorkerPoolState.Pointer, now: Int64) -> Outcome {
    guard pool.pointee.port.backlog(limit: 1).isWaiting else { return Outcome() }
    pool.pointee.lock.lock()
    guard now &- pool.pointee.rounds.pointee.lastHelpTime >= helpInterval else {
      pool.pointee.lock.unlock()
      return Outcome(isQuiet: false)
    }
    return lookAndUnlock(pool, now)
  }

  /// Looks in the monitor's place, on a worker that has lost its slot: it is awake already and has no other work, while
  /// the monitor would have to be woken. Does nothing when somebody else looks, or did so lately.
  static func help(_ pool: WorkerPoolState.Pointer, now: Int64) {
    guard pool.pointee.lock.tryLock() else { return }
    guard now &- pool.pointee.rounds.pointee.lastTime >= helpInterval,
      pool.pointee.port.backlog(limit: 1).isWaiting
    else {
      pool.pointee.lock.unlock()
      return
    }
    pool.pointee.rounds.pointee.lastHelpTime = now
    _ = lookAndUnlock(pool, now)
  }

  private static func lookAndUnlock(_ pool: WorkerPoolState.Pointer, _ now: Int64) -> Outcome {
    let rounds = pool.pointee.rounds
    pool.pointee.looks.add(1, ordering: .relaxed)
    rounds.pointee.lastTime = now
    let hasReleased = rounds.pointee.releaseSleepers(pool, now)
    rounds.pointee.reclaimFromAwake(pool, now)
    let missing = rounds.pointee.missingThreads(pool, now)
    pool.pointee.lock.unlock()
    var added = 0
    while added < missing, WorkerPoolState.addThread(pool) == 0 { added &+= 1 }
    return Outcome(isQuiet: false, hasActed: hasReleased || added > 0)
  }
}

// MARK: With the pool locked

extension MonitorRounds {
  private func releaseSleepers(_ pool: WorkerPoolState.Pointer, _ now: Int64) -> Bool {
    let port = pool.pointee.port
    var hasReleased = false
    for number in 0..<pool.pointee.roster.end {
      let entry = pool.pointee.roster.entries + number
      guard let worker = entry.pointee.worker, let thread = entry.pointee.thread else { continue }
      let activity = worker.pointee.activity.load(ordering: .relaxed)
      guard activity != 0, now &- Int64(bitPattern: activity) >= MonitorPace.shortestPause else { continue }
      let isNew = entry.pointee.sample.activity != activity
      guard isNew || !entry.pointee.sample.isReleased, port.isCounted(thread) else { continue }
      guard Self.isAsleep(&entry.pointee.sample, activity, now) else { continue }
      let isReleased = port.releaseSlot(of: thread) { worker.pointee.activity.load(ordering: .relaxed) == activity }
      entry.pointee.sample.isReleased = isReleased
      guard isReleased else { continue }
      worker.pointee.isReplaced.store(true, ordering: .relaxed)
      pool.pointee.released.add(1, ordering: .relaxed)
      hasReleased = true
    }
    return hasReleased
  }

  /// Whether a worker that has been running one packet for a while is asleep in it.
  private static func isAsleep(_ sample: inout WorkerSample, _ activity: UInt64, _ now: Int64) -> Bool {
    if sample.activity != activity { sample.begin(activity) }
    let share = sample.share(now)
    if let share, share.used &* idleDivisor >= share.elapsed { return false }
    // Who cannot be asked counts as asleep after a time in which a thread that works would have had a CPU.
    return sample.isAsleep() ?? (share != nil && now &- Int64(bitPattern: activity) >= unknownPatience)
  }

  private mutating func reclaimFromAwake(_ pool: WorkerPoolState.Pointer, _ now: Int64) {
    let end = pool.pointee.roster.end
    guard end > 0 else { return }
    var seen = 0
    var number = nextReleased % end
    for _ in 0..<end where seen < Self.releasedPerLook {
      let entry = pool.pointee.roster.entries + number
      number = (number &+ 1) % end
      guard entry.pointee.sample.isReleased, let worker = entry.pointee.worker, let thread = entry.pointee.thread
      else { continue }
      seen &+= 1
      let isReclaimed = Self.reclaim(pool.pointee.port, worker, thread, &entry.pointee.sample, now)
      if isReclaimed { pool.pointee.reclaimed.add(1, ordering: .relaxed) }
    }
    nextReleased = number
  }

  /// Gives a worker that was found asleep its slot back, if it burns CPU in the same packet.
  private static func reclaim(
    _ port: CompletionPort, _ worker: WorkerPointer, _ thread: PortThreadPointer, _ sample: inout WorkerSample,
    _ now: Int64
  ) -> Bool {
    let activity = sample.activity
    guard worker.pointee.activity.load(ordering: .relaxed) == activity else {
      sample.isReleased = false
      return false
    }
    guard let share = sample.share(now), share.used &* busyDivisor > share.elapsed else { return false }
    let isReclaimed = port.reclaimSlot(of: thread) { worker.pointee.activity.load(ordering: .relaxed) == activity }
    sample.isReleased = !isReclaimed
    return isReclaimed
  }

  /// How many threads to add for packets that wait for nothing else: at once for uncounted packets, at a measured pace
  /// for counted ones.
  private mutating func missingThreads(_ pool: WorkerPoolState.Pointer, _ now: Int64) -> Int {
    let backlog = pool.pointee.port.backlog(limit: Self.packetsPerLook)
    let missing = backlog.counted &+ backlog.uncounted &- pool.pointee.roster.starting
    guard missing > 0 else { return 0 }
    let uncounted = min(backlog.uncounted, missing)
    return uncounted &+ growth.grant(missing &- uncounted, now: now)
  }
}
