import MewsCore
import Testing

@Suite("Completion port: under load")
struct CompletionPortStressTests {
  @Test("Every packet of many posters reaches exactly one of many getters", arguments: [1, 2, 8])
  func everyPacketOnce(concurrency: Int) {
    let posters = 4
    let getters = 6
    let perPoster = 20_000
    withPort(concurrency: concurrency) { port in
      withThreads(posters + getters) { threads in
        let received = threads[..<getters].enumerated().map { number, thread in
          thread.begin { number % 2 == 0 ? drain(port) : drainInBatches(port) }
        }
        let posted = threads[getters...].enumerated().map { number, thread in
          thread.begin {
            for index in 0..<perPoster { port.post(key: UInt(number * perPoster + index)) }
            return true
          }
        }
        #expect(posted.map(\.value) == Array(repeating: true, count: posters))
        #expect(eventually { port.depth == 0 && port.waiterCount == getters })
        #expect(port.activeCount == 0)
        port.close()
        let keys = received.flatMap(\.value)
        #expect(keys.count == posters * perPoster)
        #expect(Set(keys).count == keys.count)
      }
    }
  }

  @Test("While threads block and come back, every packet is received and no slot is lost")
  func blockingUnderLoad() {
    withPort(concurrency: 2) { port in
      withThreads(5) { threads in
        let received = threads[..<4].map { thread in
          thread.begin {
            var count = 0
            while case .packet(let packet) = port.get(timeoutNanoseconds: -1) {
              count += 1
              guard packet.pointee.key % 3 == 0 else { continue }
              port.blockingBegin()
              if packet.pointee.key % 2 == 0 { port.blockingEnd() }
            }
            return count
          }
        }
        threads[4].perform { for key in 0..<40_000 { port.post(key: UInt(key)) } }
        #expect(eventually { port.depth == 0 && port.waiterCount == 4 })
        #expect(port.activeCount == 0)
        port.close()
        #expect(received.map(\.value).reduce(0, +) == 40_000)
      }
    }
  }
}

private func drain(_ port: CompletionPort) -> [UInt] {
  var keys: [UInt] = []
  while case .packet(let packet) = port.get(timeoutNanoseconds: -1) { keys.append(packet.pointee.key) }
  return keys
}

private func drainInBatches(_ port: CompletionPort) -> [UInt] {
  let capacity = 16
  let packets = UnsafeMutablePointer<PacketPointer>.allocate(capacity: capacity)
  defer { packets.deallocate() }
  var keys: [UInt] = []
  while case .packets(let count) = port.getMany(into: packets, count: capacity, timeoutNanoseconds: -1) {
    for index in 0..<count { keys.append(packets[index].pointee.key) }
  }
  return keys
}
