import CMewsShims

/// A thread's runs of handlers, as those see them who watch over I/O threads: each run has a number, and a run that
/// lasts too long can lose the I/O thread's work to another thread.
///
/// A handler runs between `begin` and `enter`. While it runs it may go back to what belongs to the I/O thread, between
/// `enter` and `resume`; that cannot be taken from under it. Once `enter` has said that the work is lost, the thread
/// touches nothing of it any more, but for the mailbox, as any thread.
public typealias RunWatch = shim_run_watch
public typealias RunWatchPointer = UnsafeMutablePointer<RunWatch>

extension shim_run_watch {
  /// Whether the kernel has the barrier by which runs are taken over (membarrier(2), Linux 4.14). Without it nothing is
  /// ever taken over.
  public static let isSupported = shim_run_watch_enable() == 0

  /// A watch of a thread that runs nothing yet.
  ///
  /// - Parameter isWatched: a word that is 0 while the watcher sleeps; it outlives the watch.
  init(isWatched: UnsafePointer<UInt32>) {
    self.init(word: UInt64(SHIM_RUN_BUSY), claim: 0, number: 0, is_watched: isWatched, is_lost: false)
  }

  /// The calling thread, whose watch this is, runs a handler from here on, and its I/O thread's work can be taken over
  /// until `enter`, which has to follow.
  @_noLocks @inlinable @inline(__always)
  public static func begin(_ watch: RunWatchPointer) {
    if !shim_run_begin(watch) { wakeWatcher(watch) }
  }

  @_noLocks @inline(never) @usableFromInline
  static func wakeWatcher(_ watch: RunWatchPointer) {
    let word = watch.pointee.is_watched
    _unsafePerformance { TakeoverWatcher.wake(word) }
  }

  /// The calling thread enters what belongs to the I/O thread. False: that is another thread's now.
  @_noLocks @inlinable @inline(__always)
  public static func enter(_ watch: RunWatchPointer) -> Bool { shim_run_enter(watch) }

  /// Whether the present run has lost the work already, in which case those who took it have noted how long it was. For
  /// the thread itself.
  @_noLocks
  public static func isTaken(_ watch: RunWatchPointer) -> Bool { shim_run_is_taken(watch) }

  /// The handler goes on, after `enter`.
  @_noLocks @inlinable @inline(__always)
  public static func resume(_ watch: RunWatchPointer) { shim_run_resume(watch) }

  /// What the word says: the number of the run that goes on, or an odd number. Any thread.
  static func word(_ watch: RunWatchPointer) -> UInt64 { shim_run_word(watch) }

  /// Whether a word is that of a run that can be taken.
  static func isRun(_ word: UInt64) -> Bool { word & UInt64(SHIM_RUN_BUSY) == 0 }

  /// Makes the watch of a thread that has lost its I/O thread's work ready for another's.
  static func reset(_ watch: RunWatchPointer) { shim_run_reset(watch) }
}
