import Foundation
import Testing

@testable import MewsCore

@Suite("Ring probe")
struct RingProbeTests {
  @Test("Names and features stand for each other")
  func names() throws {
    for (feature, name) in RingFeatures.names {
      #expect(try RingFeatures(parsing: name) == feature)
      #expect(feature.list == name)
    }
    #expect(try RingFeatures(parsing: "send,files") == [.send, .files])
    #expect(try RingFeatures(parsing: "") == [])
    #expect(RingFeatures.required.isSubset(of: .all))
    #expect(throws: UnknownRingFeature(name: "sendfile")) { try RingFeatures(parsing: "send,sendfile") }
  }

  @Test("A feature that is switched off is missing, and one that is required takes the ring along")
  func without() {
    let everything = RingProbe(features: .all)
    #expect(everything.isUsable && everything.reason == "every probe passed")
    let some = everything.without([.send, .noIOWait])
    #expect(some.isUsable && some.reason == "every probe passed, no-iowait,send switched off")
    #expect(RingProbe(features: .all.subtracting(.files)).reason == "probes passed but for files")
    let none = everything.without([.deferredTaskrun, .send])
    #expect(!none.isUsable && none.reason == "no io_uring without defer-taskrun")
  }

  @Test("A kernel that refuses rings is no error, but a reason")
  func refused() {
    let refused = RingProbe(features: [], refusal: "forbidden")
    #expect(!refused.isUsable && refused.reason == "forbidden")
  }

  @Test("The trials leave no descriptor behind", .enabled(if: hasRings))
  func descriptors() throws {
    _ = RingProbe.make()
    func openDescriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
    // Tests beside this one open some, too: so it only has to come out even once.
    for _ in 0..<50 {
      let before = try openDescriptors()
      _ = RingProbe.make()
      if try openDescriptors() <= before { return }
    }
    Issue.record("each of 50 probes left more descriptors open than there were before")
  }

  @Test("A probe finds what the one before it found", .enabled(if: hasRings))
  func repeatable() {
    let features = RingProbe.make().features
    #expect(features == RingProbe.ofThisProcess.features)
    #expect(RingFeatures.required.isSubset(of: features))
  }
}
