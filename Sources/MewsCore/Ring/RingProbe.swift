import CMewsShims
import Glibc
import Synchronization

/// What this process can do with io_uring, as trials show: version numbers and flags say little, for features are
/// carried back to older kernels, taken out of newer ones, and forbidden in containers.
public struct RingProbe: Sendable {
  /// What works.
  public private(set) var features: RingFeatures
  /// What does not count as working, whether it does or not.
  private var switchedOff: RingFeatures = []
  /// Why there is no ring at all, where there is none: a clause.
  public let refusal: String?
  /// Whether another probe would say the same: nothing failed for want of descriptors or memory.
  let isConclusive: Bool

  init(features: RingFeatures, refusal: String? = nil, isConclusive: Bool = true) {
    self.features = features
    self.refusal = refusal
    self.isConclusive = isConclusive
  }

  /// What a kernel would be that has these features.
  public init(assuming features: RingFeatures) { self.init(features: features) }

  private static let known = Mutex<RingProbe?>(nil)

  /// The probe of this process: made when it is first asked for, and not again once it is conclusive.
  public static var ofThisProcess: RingProbe {
    known.withLock { known in
      if let known { return known }
      let probe = make()
      if probe.isConclusive { known = probe }
      return probe
    }
  }

  /// Whether a ring can drive I/O threads.
  public var isUsable: Bool { refusal == nil && RingFeatures.required.isSubset(of: features) }

  /// The probe with some features treated as if their trials had failed.
  public func without(_ switchedOff: RingFeatures) -> RingProbe {
    var probe = self
    probe.features.subtract(switchedOff)
    probe.switchedOff.formUnion(switchedOff)
    return probe
  }

  /// Why a ring is used, or is not: a clause.
  public var reason: String {
    if let refusal { return refusal }
    let missing = RingFeatures.required.subtracting(features)
    guard missing.isEmpty else { return "no io_uring without \(missing.list)" }
    let failed = RingFeatures.all.subtracting(features).subtracting(switchedOff)
    let result = failed.isEmpty ? "every probe passed" : "probes passed but for \(failed.list)"
    return switchedOff.isEmpty ? result : "\(result), \(switchedOff.list) switched off"
  }

  /// Tries everything. Takes about a millisecond.
  static func make() -> RingProbe {
    // What a kernel that does not know it refuses, from what can be missed to what cannot.
    var setup: RingFeatures = [.singleIssuer, .deferredTaskrun, .taskrunFlag, .submitAll]
    for optional in [RingFeatures.taskrunFlag, .submitAll, []] {
      do throws(SystemError) {
        let ring = try Ring.create(setup, submissions: 8, completions: 16)
        defer { ring.destroy() }
        var trials = RingTrials(ring: ring)
        let found = trials.perform()
        return RingProbe(features: found.union(setup), isConclusive: !trials.lackedDescriptors)
      } catch {
        guard error.code == EINVAL, !optional.isEmpty else {
          let isConclusive = ![EMFILE, ENFILE, ENOMEM].contains(error.code)
          return RingProbe(features: [], refusal: refusal(error), isConclusive: isConclusive)
        }
        setup.subtract(optional)
      }
    }
    return RingProbe(features: [], refusal: "no io_uring")
  }

  private static func refusal(_ error: SystemError) -> String {
    switch error.code {
    case ENOSYS: "the kernel has no io_uring"
    case EPERM, EACCES: "io_uring is forbidden here, by the container or by kernel.io_uring_disabled"
    case EINVAL: "the kernel's io_uring is older than 6.1"
    default: "\(error)"
    }
  }
}
