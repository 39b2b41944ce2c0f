import MewsCore

/// What the probe of io_uring has found, feature by feature.
extension Examination {
  /// Empty where the kernel was not asked.
  var ring: [Finding] {
    guard let probe = facts.ringProbe else { return [] }
    if let refusal = probe.refusal {
      return [Finding(.note, "io_uring", refusal, advice: "nothing needs to be done, epoll serves")]
    }
    let usable = probe.without(facts.ringSwitchedOff)
    let summary = Finding(usable.isUsable ? .ok : .note, "io_uring", usable.reason)
    return [summary] + RingFeatures.names.map { finding($0.feature, $0.name, probe.features) }
  }

  private func finding(_ feature: RingFeatures, _ name: String, _ found: RingFeatures) -> Finding {
    let (meaning, loss) = Self.meaning(of: feature)
    let subject = "ring " + name
    if facts.ringSwitchedOff.contains(feature) {
      return Finding(.note, subject, "switched off: \(loss)", advice: "take it out of MEWS_IO_WITHOUT")
    }
    if found.contains(feature) { return Finding(.ok, subject, "works: \(meaning)") }
    return Finding(.note, subject, "does not work: \(loss)", advice: "a newer kernel may have it")
  }

  /// What a feature is good for, and what is without it.
  private static func meaning(of feature: RingFeatures) -> (meaning: String, loss: String) {
    switch feature {
    case .singleIssuer: ("the kernel knows that one thread submits", noRing)
    case .deferredTaskrun: ("completions are worked on where a thread waits for them, all at once", noRing)
    case .timeout: ("a wait has a time limit", noRing)
    case .noDrop: ("completions that find no room are kept", noRing)
    case .multishotPoll: ("one operation tells of every change of a descriptor", noRing)
    case .cancel: ("one operation can be ended", noRing)
    case .taskrunFlag: ("the ring says when there is work in it", "a ring is entered more often than it had to be")
    case .submitAll: ("a refused operation holds up no other", "an operation that is refused holds up those behind it")
    case .registeredRing: ("a ring is entered without a look-up", "each entry into a ring looks its descriptor up")
    case .noIOWait: ("an idle server shows no iowait", "an idle server shows as iowait, which is no load")
    case .multishotAccept: ("one operation takes every connection", "connections are taken as by epoll")
    case .bufferRing: ("an idle connection holds no memory for input", "connections are read as by epoll")
    case .multishotReceive: ("one operation receives all of a connection", "connections are read as by epoll")
    case .send: ("what is to be sent goes with the pass's one system call", "each send is a system call")
    case .takeover:
      (
        "an I/O thread whose handler blocks is replaced with what its ring had under way",
        "with io_uring no I/O thread is replaced, and no route is made inline by itself"
      )
    default: ("completion ports read and write files through a ring", "threads that block read and write files")
    }
  }

  private static let noRing = "no ring without it; epoll serves"
}
