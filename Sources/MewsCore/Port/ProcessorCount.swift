import CMewsShims

/// How many CPUs this process may use.
public enum ProcessorCount {
  /// The CPUs of the calling thread's affinity mask, or fewer if the CPU quota of a control group allows less time than
  /// they have; a fraction counts as one. At least 1. Reads files: not for the hot path.
  public static var available: Int {
    guard let quota else { return affinity }
    return max(1, min(affinity, Int(quota.rounded(.up))))
  }

  /// The CPUs of the calling thread's affinity mask. At least 1.
  public static var affinity: Int { max(1, Int(shim_affinity_count())) }

  /// The CPU quota of this process's control groups, in CPUs; nil when there is none. Reads files.
  public static var quota: Double? { ControlGroupQuota.smallest(readingFile: SmallFile.text) }
}

/// The CPU quota that control groups, of either version, put on this process.
enum ControlGroupQuota {
  /// One control group hierarchy: where it is mounted, which group its mount shows at the top, and which this process
  /// is in.
  private struct Hierarchy {
    var mountPoint: String
    var mountRoot: String
    var group: String
    var isUnified: Bool
  }

  /// The smallest quota of this process's groups and their ancestors, in CPUs; nil when there is none.
  ///
  /// - Parameter readingFile: answers the text of the file with an absolute path, nil when it cannot be read.
  static func smallest(readingFile: (String) -> String?) -> Double? {
    guard let mounts = readingFile("/proc/self/mountinfo"), let groups = readingFile("/proc/self/cgroup") else {
      return nil
    }
    return hierarchies(mounts: mounts, groups: groups)
      .compactMap { smallest(of: $0, readingFile: readingFile) }
      .min()
  }

  /// A line of mountinfo is "ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS [FIELDS...] - TYPE SOURCE SUPEROPTIONS", one of
  /// cgroup is "ID:CONTROLLERS:PATH", with ID 0 and no controllers for version 2.
  private static func hierarchies(mounts: String, groups: String) -> [Hierarchy] {
    var unified: String?
    var withController: String?
    for line in groups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if fields[0] == "0" && fields[1].isEmpty { unified = String(fields[2]) }
      if fields[1].split(separator: ",").contains("cpu") { withController = String(fields[2]) }
    }
    return mounts.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
      let (root, point, type) = (String(fields[3]), String(fields[4]), fields[dash + 1])
      if type == "cgroup2", let unified {
        return Hierarchy(mountPoint: point, mountRoot: root, group: unified, isUnified: true)
      }
      if type == "cgroup", fields[dash + 3].split(separator: ",").contains("cpu"), let withController {
        return Hierarchy(mountPoint: point, mountRoot: root, group: withController, isUnified: false)
      }
      return nil
    }
  }

  private static func smallest(of hierarchy: Hierarchy, readingFile: (String) -> String?) -> Double? {
    var names = hierarchy.group.split(separator: "/")
    let rootNames = hierarchy.mountRoot.split(separator: "/")
    // A group outside of what the mount shows leaves only the top of the mount to look at.
    names = names.starts(with: rootNames) ? Array(names.dropFirst(rootNames.count)) : []
    var quotas: [Double] = []
    while true {
      let directory = ([hierarchy.mountPoint] + names.map(String.init)).joined(separator: "/")
      let quota =
        hierarchy.isUnified
        ? readingFile(directory + "/cpu.max").flatMap(quota(cpuMax:))
        : quota(
          microseconds: readingFile(directory + "/cpu.cfs_quota_us"),
          period: readingFile(directory + "/cpu.cfs_period_us"))
      if let quota { quotas.append(quota) }
      guard names.popLast() != nil else { return quotas.min() }
    }
  }

  /// Version 2: "QUOTA PERIOD" in microseconds, or "max PERIOD" for none.
  private static func quota(cpuMax text: String) -> Double? {
    let fields = text.split { $0 == " " || $0 == "\n" }
    guard fields.count == 2 else { return nil }
    return quota(microseconds: String(fields[0]), period: String(fields[1]))
  }

  /// Version 1: one number a file, -1 for no quota.
  private static func quota(microseconds: String?, period: String?) -> Double? {
    guard let quota = microseconds.flatMap(number), let period = period.flatMap(number), quota > 0, period > 0 else {
      return nil
    }
    return Double(quota) / Double(period)
  }

  private static func number(_ text: String) -> Int? {
    text.split { $0 == " " || $0 == "\n" }.first.flatMap { Int($0) }
  }
}
