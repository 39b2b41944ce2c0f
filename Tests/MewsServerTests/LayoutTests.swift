import CMewsShims
import MewsCore
import Testing

@testable import MewsServer

/// Parts of a struct are found from its address, and the struct from theirs, by sums that the hot path can afford. Here
/// they are compared with the layout that the compiler chose.
@Suite("Layout")
struct LayoutTests {
  @Test("An exchange starts with its packet, then the words that other threads read")
  func exchange() {
    #expect(MemoryLayout<Exchange>.offset(of: \.packet) == 0)
    #expect(MemoryLayout<Exchange>.offset(of: \.control) == Exchange.controlOffset)
    #expect(MemoryLayout<Exchange>.offset(of: \.handlerThread) == Exchange.controlOffset + 8)
    #expect(Exchange.controlOffset % 8 == 0)
  }

  @Test("A connection over a socket starts with its event source, and its other parts follow in a row")
  func socketConnection() {
    #expect(MemoryLayout<SocketConnection>.offset(of: \.source) == 0)
    #expect(MemoryLayout<SocketConnection>.offset(of: \.flushNode) == SocketConnection.Offset.flushNode)
    #expect(MemoryLayout<SocketConnection>.offset(of: \.readNode) == SocketConnection.Offset.readNode)
    #expect(MemoryLayout<SocketConnection>.offset(of: \.releaseNode) == SocketConnection.Offset.releaseNode)
    #expect(MemoryLayout<SocketConnection>.offset(of: \.lingerTimer) == SocketConnection.Offset.lingerTimer)
    #expect(MemoryLayout<SocketConnection>.offset(of: \.connection) == SocketConnection.Offset.connection)
  }

  @Test("A connection over a ring starts with its operations, and its other parts follow in a row")
  func ringConnection() {
    #expect(MemoryLayout<RingConnection>.offset(of: \.input) == 0)
    #expect(MemoryLayout<RingConnection>.offset(of: \.output) == RingConnection.Offset.output)
    #expect(MemoryLayout<RingConnection>.offset(of: \.flushNode) == RingConnection.Offset.flushNode)
    #expect(MemoryLayout<RingConnection>.offset(of: \.releaseNode) == RingConnection.Offset.releaseNode)
    #expect(MemoryLayout<RingConnection>.offset(of: \.lingerTimer) == RingConnection.Offset.lingerTimer)
    #expect(MemoryLayout<RingConnection>.offset(of: \.connection) == RingConnection.Offset.connection)
  }

  @Test("A listener starts with its event source, then the node that goes on accepting")
  func listener() {
    #expect(MemoryLayout<Listener>.offset(of: \.source) == 0)
    #expect(MemoryLayout<Listener>.offset(of: \.acceptNode) == MemoryLayout<EventSource>.stride)
    #expect(MemoryLayout<Listener>.offset(of: \.accepting) == Listener.acceptingOffset)
    #expect(MemoryLayout<EventSource>.offset(of: \.poll) == 16)
  }

  @Test("The node that leads to a context's packets comes first in its struct")
  func portNode() {
    #expect(MemoryLayout<PortNode>.offset(of: \.node) == 0)
  }
}
