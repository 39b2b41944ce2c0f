import Foundation
import Testing

@testable import MewsCore
@testable import MewsHost

@Suite("mews doctor")
struct DoctorTests {
  /// A machine with nothing to be said against.
  private static let good: MachineFacts = {
    var facts = MachineFacts()
    facts.kernelRelease = "6.1.0-18-amd64"
    facts.machineName = "x86_64"
    facts.affinity = 8
    facts.ioThreads = 4
    facts.workers = 8
    facts.descriptors = .init(soft: 65_536, hard: 1 << 20)
    facts.listenQueue = 4096
    facts.ringSwitch = 0
    facts.hasSystemCallFilter = false
    facts.hasMembarrier = true
    facts.ringProbe = RingProbe(features: .all)
    facts.essentials = [("epoll", 0), ("eventfd", 0)]
    return facts
  }()

  private func finding(_ subject: String, _ change: (inout MachineFacts) -> Void) throws -> Finding {
    var facts = Self.good
    change(&facts)
    return try #require(Examination(facts).findings.first { $0.subject == subject })
  }

  @Test("has nothing to say against a machine that has everything")
  func good() {
    let report = DoctorReport(findings: Examination(Self.good).findings)
    #expect(report.findings.allSatisfy { $0.mark == .ok && $0.advice == nil })
    #expect(report.isHealthy)
    #expect(report.text.hasSuffix("\nmews can run here\n"))
  }

  @Test(
    "judges a kernel by its version",
    arguments: [
      ("6.1.0-18-amd64", Finding.Mark.ok), ("6.18.44", .ok), ("10.0", .ok), ("7.2-rc1", .ok), ("5.15.0", .note),
      ("6.0.19", .note), ("4.14.1", .note), ("4.13.0", .problem), ("3.10.0-1160.el7", .problem), ("", .note),
      ("gVisor", .note), ("6.", .note), ("6.x", .note), ("6", .note),
    ])
  func kernel(release: String, mark: Finding.Mark) throws {
    #expect(try finding("kernel") { $0.kernelRelease = release }.mark == mark)
  }

  @Test("says which quota holds threads up")
  func quota() throws {
    #expect(try finding("processors") { $0.quota = 0.5 }.mark == .note)
    let enough = try finding("processors") { $0.quota = 2.25 }
    #expect(enough.mark == .ok && enough.text.contains("2.3 by the control group's quota"))
    #expect(try finding("processors") { $0.quota = 3 }.text.contains(" 3 by the"))
  }

  @Test("wants descriptors for connections, and says who may raise the limit")
  func descriptors() throws {
    let few = try finding("descriptors") { $0.descriptors = .init(soft: 1024, hard: 524_288) }
    #expect(few.mark == .note && few.text.contains("960 connections"))
    #expect(few.advice?.hasPrefix("'ulimit -n 65536'") == true)
    let capped = try finding("descriptors") { $0.descriptors = .init(soft: 1024, hard: 2048) }
    #expect(capped.advice?.hasPrefix("the hard limit is 2048: have root raise it to 65536") == true)
    #expect(try finding("descriptors") { $0.descriptors = .init(soft: 63, hard: 63) }.mark == .note)
    #expect(try finding("descriptors") { $0.descriptors = .init(soft: .max, hard: .max) }.text == "no limit")
  }

  @Test("names the sysctl to set")
  func sysctls() throws {
    let queue = try finding("listen queue") { $0.listenQueue = 128 }
    #expect(queue.mark == .note && queue.advice == "sysctl -w net.core.somaxconn=4096")
    for value in [1, 2] {
      let ring = try finding("io_uring switch") { $0.ringSwitch = value }
      #expect(ring.mark == .note && ring.advice?.contains("sysctl -w kernel.io_uring_disabled=0") == true)
    }
    #expect(try finding("io_uring switch") { $0.ringSwitch = nil }.mark == .ok)
  }

  @Test("says what is lost where threads cannot be watched, and where there is no membarrier")
  func watching() throws {
    #expect(try finding("worker monitor") { $0.threadWatchError = ENOENT }.mark == .note)
    #expect(try finding("takeover") { $0.threadWatchError = ENOENT }.mark == .note)
    #expect(try finding("takeover") { $0.hasMembarrier = false }.mark == .note)
    #expect(try finding("worker monitor") { $0.hasMembarrier = false }.mark == .ok)
  }

  @Test("tells what each feature of io_uring means, and what is without it")
  func ring() throws {
    #expect(try finding("io_uring") { _ in }.mark == .ok)
    for (feature, name) in RingFeatures.names {
      let missing = try finding("ring " + name) {
        $0.ringProbe = RingProbe(features: RingFeatures.all.subtracting(feature))
      }
      #expect(missing.mark == .note && missing.text.hasPrefix("does not work: "))
      let off = try finding("ring " + name) { $0.ringSwitchedOff = feature }
      #expect(off.mark == .note && off.text.hasPrefix("switched off: "))
      let isRequired = RingFeatures.required.contains(feature)
      #expect(try finding("io_uring") { $0.ringSwitchedOff = feature }.mark == (isRequired ? .note : .ok))
    }
    let forbidden = RingProbe(features: [], refusal: "io_uring is forbidden here")
    #expect(try finding("io_uring") { $0.ringProbe = forbidden }.mark == .note)
  }

  @Test("calls a system call that fails a problem, and cannot run then")
  func essentials() throws {
    var facts = Self.good
    facts.essentials = [("epoll", ENOSYS), ("eventfd", 0)]
    let report = DoctorReport(findings: Examination(facts).findings)
    #expect(!report.isHealthy)
    #expect(report.findings.filter { $0.mark == .problem }.map(\.text) == ["epoll: Function not implemented"])
    #expect(report.text.hasSuffix("\nmews cannot run here\n"))
  }

  @Test("reads the mode of seccomp out of the process's status")
  func seccomp() {
    #expect(MachineFacts.seccompMode(ofStatus: "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n") == 2)
    #expect(MachineFacts.seccompMode(ofStatus: "Name:\tmews\n") == nil)
    #expect(MachineFacts.seccompMode(ofStatus: nil) == nil)
  }

  @Test("prints JSON that can be read back, whatever the texts hold")
  func json() throws {
    let findings = [
      Finding(.note, "quote \" and \\", "line\nbreak\u{1}", advice: "umlaut ä"), Finding(.ok, "plain", "text"),
    ]
    let data = Data(DoctorReport(findings: findings).json.utf8)
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["can_run"] as? Bool == true)
    let read = try #require(object["findings"] as? [[String: Any]])
    #expect(read.map { $0["subject"] as? String } == findings.map(\.subject))
    #expect(read.map { $0["text"] as? String } == findings.map(\.text))
    #expect(read.map { $0["advice"] as? String } == findings.map(\.advice))
  }
}
