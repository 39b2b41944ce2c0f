import CMews
import CMewsKit
import Synchronization

/// The host, as this plugin sees it: log, settings, place in the process, clocks, timers and an executor for tasks. Any
/// thread may use it.
public final class Host: Sendable {
  /// Valid as long as the plugin; the host never unloads one.
  nonisolated(unsafe) let plugin: OpaquePointer
  let timers = Mutex<PendingTimers>(PendingTimers())

  let executor: WorkerExecutor

  init(_ plugin: OpaquePointer) {
    self.plugin = plugin
    executor = WorkerExecutor.make(for: plugin)
  }

  // MARK: Identity and settings

  /// The plugin's name, as its identity states it.
  public var name: String { String(mews_plugin_name(plugin)) ?? "" }

  /// The plugin's version, as its identity states it.
  public var version: String { String(mews_plugin_version(plugin)) ?? "" }

  /// The settings that were given to the host as `--set PLUGIN.KEY=VALUE`.
  public var settings: Settings { Settings(host: self) }

  /// The settings of one plugin.
  public struct Settings: Sendable {
    let host: Host

    /// The value of a setting; nil when it was not given.
    public subscript(key: String) -> String? {
      String(mews_setting(host.plugin, key))
    }
  }

  // MARK: Log

  /// The level of a line of the log.
  public enum Level: Sendable {
    case debug, info, warning, error

    var code: mews_level {
      switch self {
      case .debug: mews_level(MEWS_LEVEL_DEBUG)
      case .info: mews_level(MEWS_LEVEL_INFO)
      case .warning: mews_level(MEWS_LEVEL_WARNING)
      case .error: mews_level(MEWS_LEVEL_ERROR)
      }
    }
  }

  /// Writes a line to the host's log, under the plugin's name. Line breaks in it are escaped.
  public func log(_ level: Level, _ message: String) {
    message.withUTF8Bytes { mewskit_log(plugin, level.code, mews_text($0)) }
  }

  /// Writes a line at the level `info`.
  public func log(_ message: String) {
    log(.info, message)
  }

  /// Says why the start fails; the host shows it with the file's name.
  func fail(_ message: String) -> mews_result {
    message.withUTF8Bytes { mewskit_fail(plugin, mews_text($0)) }
  }

  // MARK: Place

  /// The number of this worker process, from 0.
  public var processIndex: Int { Int(mews_process_index(plugin)) }

  /// How many threads of this process may run handlers: ``workerIndex`` is smaller.
  public var workerCount: Int { Int(mews_worker_count(plugin)) }

  /// The calling thread's index among them; nil on a thread that is not the host's. An asynchronous handler may find
  /// another after each suspension.
  public var workerIndex: Int? {
    let index = mews_worker_index(plugin)
    return index == UInt32.max ? nil : Int(index)
  }

  /// A place for one pointer that belongs to this plugin and the calling thread, holding nil at first; nil on a thread
  /// that is not the host's. Other threads never touch it. Valid as long as the plugin.
  public var workerSlot: UnsafeMutablePointer<UnsafeMutableRawPointer?>? { mews_worker_slot(plugin) }

  // MARK: Tasks

  /// The host's workers as an executor: what the tasks of asynchronous handlers run on, and other tasks may.
  ///
  /// ```swift
  /// Task(executorPreference: host.taskExecutor) { await refresh() }
  /// ```
  public var taskExecutor: any TaskExecutor { executor }

  // MARK: Clocks

  /// Nanoseconds of a clock that never goes back (CLOCK_MONOTONIC).
  public var monotonicNanoseconds: UInt64 { mews_clock_monotonic_ns() }

  /// Nanoseconds since 1970-01-01 00:00 UTC (CLOCK_REALTIME).
  public var wallClockNanoseconds: Int64 { mews_clock_wall_ns() }
}
