import CMewsShims
import Foundation
import Testing

@testable import MewsCore

/// Whether this machine lets tests have rings.
let hasRings = RingProbe.ofThisProcess.isUsable

/// A pair of connected sockets, closed when it goes.
final class ConnectedPair: @unchecked Sendable {
  private(set) var ours: Int32
  private(set) var peers: Int32

  init() throws {
    var pair: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_NONBLOCK, 0, &pair) == 0)
    ours = pair[0]
    peers = pair[1]
  }

  func sendFromPeer(_ text: String) {
    let bytes = Array(text.utf8)
    #expect(send(peers, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
  }

  /// What the peer can read now.
  func receivedByPeer() -> String {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = recv(peers, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    return String(decoding: bytes[..<max(count, 0)], as: UTF8.self)
  }

  func closePeer() {
    close(peers)
    peers = -1
  }

  deinit {
    close(ours)
    if peers >= 0 { close(peers) }
  }
}

/// An operation that notes what it is told. Its memory stays for as long as the object.
final class RecordedOperation {
  /// The operation is first, so that its address is that of the whole.
  private struct Whole {
    var operation: RingOperation
    var owner: Unmanaged<RecordedOperation>?
  }

  private let whole = UnsafeMutablePointer<Whole>.allocate(capacity: 1)
  private let prepare: (RingEntry) -> Void
  private(set) var results: [Int32] = []
  private(set) var isLast: [Bool] = []
  private(set) var blocks: [BlockPointer] = []
  /// Run at each completion.
  var onCompletion: () -> Void = {}

  init(_ prepare: @escaping (RingEntry) -> Void) {
    self.prepare = prepare
    let operation = RingOperation(
      prepare: { operation, entry in RecordedOperation.of(operation).prepare(entry) },
      complete: { operation, completion in RecordedOperation.of(operation).note(completion) })
    whole.initialize(to: Whole(operation: operation, owner: nil))
    whole.pointee.owner = Unmanaged.passUnretained(self)
  }

  deinit { whole.deallocate() }

  var pointer: RingOperationPointer { UnsafeMutableRawPointer(whole).assumingMemoryBound(to: RingOperation.self) }

  private static func of(_ operation: RingOperationPointer) -> RecordedOperation {
    UnsafeMutableRawPointer(operation).assumingMemoryBound(to: Whole.self).pointee.owner!.takeUnretainedValue()
  }

  private func note(_ completion: RingCompletion) {
    results.append(completion.result)
    isLast.append(completion.isLast)
    if let block = completion.block { blocks.append(block) }
    onCompletion()
  }

  /// The texts of the blocks that were received into.
  var texts: [String] {
    blocks.map { block in
      let bytes = UnsafeRawBufferPointer(
        start: block.pointee.bytes + Int(block.pointee.start), count: block.pointee.unread)
      return String(decoding: bytes, as: UTF8.self)
    }
  }
}

extension Ring {
  /// Takes the oldest completions away, as if the kernel had neither room nor memory for them. It has made them in the
  /// last wait.
  ///
  /// - Returns: how many there were.
  @discardableResult
  func lose(_ count: Int = .max) -> Int {
    var event = shim_ring_event()
    var taken = 0
    while taken < count, nextEvent(&event) { taken += 1 }
    state.pointee.knownLosses &-= UInt32(max(taken, 1))
    return taken
  }
}

/// A ring with a proactor, for the thread that runs the test.
final class RingBench {
  let ring: Ring
  let proactor: Proactor

  init(
    features: RingFeatures = RingProbe.ofThisProcess.features, submissions: UInt32 = 64, completions: UInt32 = 256
  ) throws {
    ring = try Ring.create(features, submissions: submissions, completions: completions)
    proactor = try #require(Proactor.create(ring: ring))
  }

  deinit {
    proactor.destroy()
    ring.destroy()
  }

  func attach(_ operations: RecordedOperation...) {
    for operation in operations { #expect(proactor.attach(operation.pointer) == 0) }
  }

  /// Lets the ring work until the condition holds.
  func run(until condition: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    let deadline = Date() + 5
    while !condition() {
      guard Date() < deadline else {
        Issue.record("waited in vain", sourceLocation: sourceLocation)
        return
      }
      proactor.wait(timeoutNanoseconds: 10_000_000)
      proactor.tellCompletions()
    }
  }

  /// Does as an I/O thread does when completions are lost.
  func recover() {
    #expect(proactor.tellCompletions() == -1)
    proactor.beginRecovery()
    #expect(proactor.finishRecovery())
  }

  /// Lets the ring work as long as it has something to do at once.
  func runIdle() {
    repeat { proactor.wait(timeoutNanoseconds: 0) } while proactor.tellCompletions() > 0
  }
}
