import CMewsShims
import Glibc

/// A one-shot timer. Whoever embeds it owns it, and keeps it valid while it is started. `deadline` and its list links
/// are the wheel's meanwhile; `action` and `context` are the owner's.
public typealias Timer = shim_timer
public typealias TimerPointer = UnsafeMutablePointer<Timer>

extension shim_timer {
  /// A timer that is not started.
  public init(action: (@convention(c) (TimerPointer) -> Void)? = nil, context: UnsafeMutableRawPointer? = nil) {
    self.init(next: nil, previous: nil, deadline: 0, list: 0, action: action, context: context)
  }

  /// Whether the timer is due to run.
  public var isStarted: Bool {
    @_noLocks get { list != 0 }
  }
}

/// A hierarchical timing wheel (Varghese and Lauck, 1987), for one thread, without a clock of its own.
///
/// Eleven levels of 64 lists, which cover 64 bits. A timer lies on the level of the highest of its deadline's base-64
/// digits that differs from the wheel's time, in the list of that digit. Where the time reaches a list above the lowest
/// level, its timers move down. Thus starting and cancelling take a constant time, and a timer due within a day moves
/// four times at most. A bit for each list that is not empty finds the next one in a few instructions.
public struct TimerWheel {
  private let state: UnsafeMutablePointer<WheelState>

  /// Creates a wheel whose time is `now`, in milliseconds.
  ///
  /// - Returns: the wheel, to be released with `destroy()`; nil when memory is out.
  public static func create(now: UInt64) -> TimerWheel? {
    guard let memory = malloc(MemoryLayout<WheelState>.size) else { return nil }
    let state = memory.bindMemory(to: WheelState.self, capacity: 1)
    state.initialize(to: WheelState(now: now))
    return TimerWheel(state: state)
  }

  /// Releases the wheel. Timers that are started never run then.
  public func destroy() {
    state.deinitialize(count: 1)
    free(state)
  }

  /// Starts a timer, or starts it anew. It runs in the first `advance` that reaches the deadline; where that has passed
  /// already, in the next one, never in one that is under way.
  @_noLocks
  public func start(_ timer: TimerPointer, deadline: UInt64) {
    if timer.pointee.isStarted { state.pointee.remove(timer) }
    timer.pointee.deadline = max(deadline, state.pointee.earliest)
    state.pointee.insert(timer)
  }

  /// Stops a timer. It may be one that is due in an `advance` under way.
  ///
  /// - Returns: false when it was not started.
  @_noLocks
  @discardableResult
  public func cancel(_ timer: TimerPointer) -> Bool {
    guard timer.pointee.isStarted else { return false }
    state.pointee.remove(timer)
    return true
  }

  /// Moves the time to `now` and runs the timers whose deadlines it reaches, earlier ones first. A timer is stopped
  /// when it runs; its action may start it again, and start or cancel any other. A time that lies back changes nothing.
  @_noLocks
  public func advance(to now: UInt64) {
    guard now >= state.pointee.now else { return }
    state.pointee.earliest = now &+ 1
    while let timer = WheelState.takeDue(state, at: now) {
      // Every access to the state is one of its own: the action may come back to the wheel.
      if let action = timer.pointee.action {
        _unsafePerformance { action(timer) }
      }
    }
  }

  /// When `advance` has something to do next, at the latest: the earliest deadline, or an earlier time at which timers
  /// have to move down a level. Nil when no timer is started.
  public var nextDeadline: UInt64? {
    @_noLocks get { WheelState.nextList(state)?.time }
  }

  /// The number of timers that are started.
  public var count: Int { state.pointee.count }
}

private struct WheelState: ~Copyable {
  static var levels: Int { 11 }
  static var digitBits: UInt64 { 6 }
  static var listsPerLevel: Int { 64 }
  /// The list of timers that are due in the time that the wheel has reached.
  static var dueList: Int { levels * listsPerLevel }

  var now: UInt64
  /// The earliest deadline that a timer can have.
  var earliest: UInt64
  var count = 0
  var occupied = InlineArray<11, UInt64>(repeating: 0)
  var lists = InlineArray<705, TimerPointer?>(repeating: nil)

  init(now: UInt64) {
    self.now = now
    earliest = now &+ 1
  }
}

extension WheelState {
  @_noLocks
  mutating func insert(_ timer: TimerPointer) {
    let time = timer.pointee.deadline
    guard time > now else { return push(timer, onto: Self.dueList) }
    let highestBit = 63 &- (time ^ now).leadingZeroBitCount
    let level = highestBit / Int(Self.digitBits)
    let digit = Int((time >> (UInt64(level) &* Self.digitBits)) & 63)
    occupied[level] |= 1 << UInt64(digit)
    push(timer, onto: level &* Self.listsPerLevel &+ digit)
  }

  @_noLocks
  mutating func push(_ timer: TimerPointer, onto list: Int) {
    let next = lists[list]
    timer.pointee.next = next
    timer.pointee.previous = nil
    next?.pointee.previous = timer
    lists[list] = timer
    timer.pointee.list = UInt32(truncatingIfNeeded: list &+ 1)
    count &+= 1
  }

  @_noLocks
  mutating func remove(_ timer: TimerPointer) {
    let list = Int(timer.pointee.list) &- 1
    let next = timer.pointee.next
    let previous = timer.pointee.previous
    if let previous { previous.pointee.next = next } else { lists[list] = next }
    next?.pointee.previous = previous
    timer.pointee.list = 0
    count &-= 1
    if lists[list] == nil && list < Self.dueList {
      occupied[list / Self.listsPerLevel] &= ~(1 << UInt64(list % Self.listsPerLevel))
    }
  }

  /// The list that the time reaches first, and when. Lower levels come first: all of their lists lie before the next
  /// digit of the level above.
  ///
  /// By pointer, like `takeDue`: a borrowed `self` would be copied for each call, all 6 KB of it.
  @_noLocks
  static func nextList(_ state: UnsafeMutablePointer<WheelState>) -> (list: Int, time: UInt64)? {
    guard state.pointee.count > 0 else { return nil }
    let now = state.pointee.now
    if state.pointee.lists[dueList] != nil { return (dueList, now) }
    var level = 0
    while level < levels {
      let occupied = state.pointee.occupied[level]
      if occupied != 0 {
        let digit = occupied.trailingZeroBitCount
        let shift = UInt64(level) &* digitBits
        let digitsAbove = (now >> (shift &+ digitBits)) << (shift &+ digitBits)
        return (level &* listsPerLevel &+ digit, digitsAbove | UInt64(digit) << shift)
      }
      level &+= 1
    }
    return nil
  }

  /// Stops and returns a timer that is due, moving the time to its deadline; nil, with the time at `limit`, when no
  /// other is.
  @_noLocks
  static func takeDue(_ state: UnsafeMutablePointer<WheelState>, at limit: UInt64) -> TimerPointer? {
    while true {
      if let timer = state.pointee.lists[dueList] {
        state.pointee.remove(timer)
        return timer
      }
      guard let (list, time) = nextList(state), time <= limit else {
        state.pointee.now = limit
        return nil
      }
      state.pointee.now = time
      while let timer = state.pointee.lists[list] {
        state.pointee.remove(timer)
        state.pointee.insert(timer)
      }
    }
  }
}
