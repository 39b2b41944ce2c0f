import Foundation
import Testing

@testable import MewsCore

@Suite("Mailbox")
struct MailboxTests {
  /// A mailbox, packets for it, and a semaphore in the place of the wake descriptor.
  private final class Bench: @unchecked Sendable {
    private let mailbox = Mailbox()
    private let packets: PacketPointer
    let wake = DispatchSemaphore(value: 0)

    init(packets count: Int) {
      packets = PacketPointer.allocate(capacity: count)
      for index in 0..<count { (packets + index).initialize(to: Packet(key: UInt(index))) }
    }

    deinit { packets.deallocate() }

    func push(_ index: Int) -> Bool { mailbox.push(packets + index) }
    func prepareToPark() -> Bool { mailbox.prepareToPark() }
    func unpark() { mailbox.unpark() }

    func takeAll() -> [UInt] {
      var keys: [UInt] = []
      var next = mailbox.takeAll()
      while let packet = next {
        keys.append(packet.pointee.key)
        next = packet.pointee.next
      }
      return keys
    }
  }

  @Test("Packets come out in the order they went in")
  func order() {
    let bench = Bench(packets: 5)
    #expect(bench.takeAll() == [])
    for index in 0..<5 { #expect(!bench.push(index)) }
    #expect(bench.takeAll() == [0, 1, 2, 3, 4])
    #expect(bench.takeAll() == [])
  }

  @Test("Only a parked receiver is woken, and by one poster only")
  func oneWake() {
    let bench = Bench(packets: 3)
    #expect(bench.prepareToPark())
    #expect(bench.push(0))
    #expect(!bench.push(1))
    bench.unpark()
    #expect(bench.takeAll() == [0, 1])
    #expect(!bench.push(2))
  }

  @Test("A poster that finds the mailbox empty again does not wake a receiver that is being woken")
  func noSecondWake() {
    let bench = Bench(packets: 2)
    #expect(bench.prepareToPark())
    #expect(bench.push(0))
    #expect(bench.takeAll() == [0])
    #expect(!bench.push(1))
  }

  @Test("A receiver with packets does not park")
  func noParkWithPackets() {
    let bench = Bench(packets: 2)
    #expect(!bench.push(0))
    #expect(!bench.prepareToPark())
    #expect(bench.takeAll() == [0])
    #expect(bench.prepareToPark())
    #expect(bench.push(1))
  }

  @Test("Many posters and a receiver that keeps parking: nothing is lost, doubled, reordered or left asleep")
  func stress() {
    let posters = 4
    let perPoster = 20_000
    let bench = Bench(packets: posters * perPoster)
    withThreads(posters + 1) { threads in
      let received = threads[posters].begin {
        var keys: [UInt] = []
        while keys.count < posters * perPoster {
          keys += bench.takeAll()
          guard keys.count < posters * perPoster, bench.prepareToPark() else { continue }
          bench.wake.wait()
          bench.unpark()
        }
        return keys
      }
      for number in 0..<posters {
        _ = threads[number].begin {
          for index in 0..<perPoster {
            if bench.push(number * perPoster + index) {
              bench.wake.signal()
            }
          }
          return true
        }
      }
      let keys = received.value
      #expect(Set(keys).count == posters * perPoster)
      for number in 0..<posters {
        let own = keys.filter { $0 / UInt(perPoster) == UInt(number) }
        #expect(own == own.sorted())
      }
    }
  }
}
