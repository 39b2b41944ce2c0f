import Testing

@testable import MewsCore

@Suite("Processor count")
struct ProcessorCountTests {
  private static let unifiedMount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
  private static let cpuMount = "32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

  private func quota(_ files: [String: String]) -> Double? {
    ControlGroupQuota.smallest { files[$0] }
  }

  @Test("There is at least one CPU")
  func available() {
    #expect(ProcessorCount.available >= 1)
  }

  @Test("Version 2: the smallest quota of the group and its ancestors counts")
  func unified() {
    let quota = quota([
      "/proc/self/mountinfo": Self.unifiedMount,
      "/proc/self/cgroup": "0::/system.slice/mews.service\n",
      "/sys/fs/cgroup/system.slice/mews.service/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/system.slice/cpu.max": "250000 100000\n",
      "/sys/fs/cgroup/cpu.max": "400000 100000\n",
    ])
    #expect(quota == 2.5)
  }

  @Test("Version 2: no quota anywhere is none")
  func unlimited() {
    let files = [
      "/proc/self/mountinfo": Self.unifiedMount, "/proc/self/cgroup": "0::/\n",
      "/sys/fs/cgroup/cpu.max": "max 100000\n",
    ]
    #expect(quota(files) == nil)
  }

  @Test("Version 1: quota and period come from a file each, and -1 is none")
  func legacy() {
    let directory = "/sys/fs/cgroup/cpu,cpuacct"
    var files = [
      "/proc/self/mountinfo": "17 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" + Self.cpuMount,
      "/proc/self/cgroup": "5:memory:/other\n4:cpu,cpuacct:/jobs/one\n",
      directory + "/jobs/one/cpu.cfs_quota_us": "150000\n",
      directory + "/jobs/one/cpu.cfs_period_us": "100000\n",
    ]
    #expect(quota(files) == 1.5)
    files[directory + "/jobs/one/cpu.cfs_quota_us"] = "-1\n"
    #expect(quota(files) == nil)
  }

  @Test("In a container whose mount shows only its own group, the path is taken from there")
  func mountedBelow() {
    let quota = quota([
      "/proc/self/mountinfo": "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
      "/proc/self/cgroup": "0::/docker/abc/inner\n",
      "/sys/fs/cgroup/inner/cpu.max": "50000 100000\n",
      "/sys/fs/cgroup/cpu.max": "75000 100000\n",
    ])
    #expect(quota == 0.5)
  }

  @Test(
    "Text that is no control group changes nothing",
    arguments: ["", "\n", "garbage", "0::", "1:2", "::::\n", "0::/a\n0::/b\n"])
  func garbage(text: String) {
    #expect(quota(["/proc/self/mountinfo": text, "/proc/self/cgroup": text]) == nil)
    #expect(quota(["/proc/self/mountinfo": Self.unifiedMount, "/proc/self/cgroup": text]) == nil)
    let files = [
      "/proc/self/mountinfo": Self.unifiedMount, "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": text,
    ]
    #expect(quota(files) == nil)
  }
}
