import CMews
import CMewsShims
import Glibc
import Testing

@testable import MewsCore
@testable import MewsServer

/// What a ring may do to a connection, and a socket does not: each provoked, or told in the kernel's place.
@Suite("Connections over a ring", .enabled(if: RingConnection.features.isSubset(of: RingProbe.ofThisProcess.features)))
struct RingConnectionTests {
  private func withServer(limits: ServerLimits = ServerLimits(), _ body: (InMemoryServer) throws -> Void) throws {
    let server = try InMemoryServer(limits: limits, usesRing: true)
    server.handle("GET", "/") { $0.respond("hello") }
    server.handle("POST", "/") { $0.respond(copying: $0.body) }
    server.handle("GET", "/running", on: MEWS_EXECUTION_WORKER) { $0.respond("ran") }
    server.handle("POST", "/worker", on: MEWS_EXECUTION_WORKER) { $0.respond(copying: $0.body) }
    try body(server)
    server.finish()
  }

  private func expectRoundTrip(_ client: LoopbackClient) {
    #expect(client.send(get("/")))
    #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
  }

  @Test("A connection that waits for a request holds no block, and neither does one of many bytes that came one by one")
  func blocks() throws {
    try withServer { server in
      let idle = server.rentedBlocks
      let client = try LoopbackClient(to: server)
      server.runPass()
      #expect(server.rentedBlocks == idle)
      for byte in Array("GET / HTTP/1.1\r\nHost: mews\r\nX: \(String(repeating: "x", count: 2_000))\r\n\r\n".utf8) {
        #expect(client.send([byte]))
        #expect(server.rentedBlocks <= idle + 2)
      }
      #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
      server.runPass()
      #expect(server.rentedBlocks == idle)
    }
  }

  @Test("A body of more than the ring has blocks for is received whole")
  func noBuffers() throws {
    var limits = ServerLimits()
    limits.poolBytes = 1 << 19
    #expect(limits.receiveBuffers == 8)
    try withServer(limits: limits) { server in
      let client = try LoopbackClient(to: server, bufferSize: 1 << 20)
      let body = pattern(300_000)
      server.handle("POST", "/check") { $0.respond($0.body == body ? "whole" : "broken") }
      #expect(client.send(post("/check", body)))
      #expect(client.receive(ok("whole").utf8.count) == Array(ok("whole").utf8))
    }
  }

  @Test("Without memory for a block a connection is closed, as one on epoll is, and the others go on")
  func noMemory() throws {
    var limits = ServerLimits()
    limits.poolBytes = 1 << 19
    try withServer(limits: limits) { server in
      let first = try LoopbackClient(to: server)
      let second = try LoopbackClient(to: server)
      server.runPass()
      var held: [BlockPointer] = []
      let cache = server.context.pointee.cache
      while let block = cache.rent() { held.append(block) }
      // The blocks that the ring has are used up by what waits behind a request that runs.
      let requests = Array(String(repeating: get("/running"), count: 4_000).utf8)
      #expect(!server.sendUntilClosed(first, requests))
      server.runWorkers()
      for block in held { cache.release(block) }
      expectRoundTrip(second)
    }
  }

  @Test(
    "A receive that ends by itself is armed again",
    arguments: [-ENOBUFS, -EINTR, -EAGAIN, -ECANCELED])
  func receiveEnds(result: Int32) throws {
    try withServer { server in
      let client = try LoopbackClient(to: server)
      server.runPass()
      let socket = try #require(client.onRing)
      try server.tell(RingConnection.input(socket), result: result)
      expectRoundTrip(client)
      #expect(socket.pointee.input.isArmed)
    }
  }

  @Test("A receive whose last completion has bytes is armed again, and the bytes count")
  func receiveEndsWithBytes() throws {
    try withServer { server in
      let client = try LoopbackClient(to: server)
      server.runPass()
      let socket = try #require(client.onRing)
      let request = Array(get("/").utf8)
      let block = try #require(server.context.pointee.cache.rent())
      for index in 0..<9 { block.pointee.bytes[index] = request[index] }
      block.pointee.end = 9
      try server.tell(RingConnection.input(socket), result: 9, block: block)
      #expect(client.send(Array(request[9...])))
      #expect(client.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
    }
  }

  @Test("A receive that fails closes the connection", arguments: [-ECONNRESET, -ETIMEDOUT, -EBADF])
  func receiveFails(result: Int32) throws {
    try withServer { server in
      let client = try LoopbackClient(to: server)
      server.runPass()
      try server.tell(RingConnection.input(try #require(client.onRing)), result: result)
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      client.read()
      #expect(client.isAtEnd)
    }
  }

  @Test(
    "A send that is interrupted begins again, and one that fails closes the connection", arguments: [-EINTR, -EPIPE])
  func sendEnds(result: Int32) throws {
    try withServer { server in
      let client = try LoopbackClient(to: server)
      let body = pattern(2_000_000)
      server.handle("GET", "/large") { $0.respond(copying: body) }
      #expect(client.send(get("/large")))
      #expect(server.runPasses { client.isWriteBlocked })
      let response = ExpectedResponse(body).bytes
      let socket = try #require(client.onRing)
      // Until what is in flight waits for room.
      for _ in 0..<10 { server.runPass() }
      try server.tell(RingConnection.output(socket), result: result)
      if result == -EINTR {
        expectBytes(client.receive(response.count), response)
      } else {
        #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      }
    }
  }

  @Test("A connection that is closed before its receive was submitted takes nothing from the next one of its number")
  func reusedDescriptor() throws {
    try withServer { server in
      let gone = try LoopbackClient(to: server)
      let socket = try #require(gone.onRing)
      let number = socket.pointee.descriptor
      server.onIOThread { RingConnection.close(socket) }
      // Its number is not free before the kernel has let go of it.
      let next = try LoopbackClient(to: server)
      #expect(next.onRing?.pointee.descriptor != number)
      expectRoundTrip(next)
      #expect(server.context.pointee.connectionCount == 1)
      gone.read()
      #expect(gone.isAtEnd)
    }
  }

  @Test("A connection that is closed while a send waits keeps the bytes until the kernel has let go of them")
  func closeWhileSending() throws {
    try withServer { server in
      let lent = LentBytes(pattern(2_000_000))
      server.handle("GET", "/large") { $0.respond(lending: lent) }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/large")))
      #expect(server.runPasses { client.isWriteBlocked })
      for _ in 0..<10 { server.runPass() }
      let socket = try #require(client.onRing)
      server.onIOThread { RingConnection.close(socket) }
      #expect(lent.releaseCount == 0 && server.context.pointee.connectionCount == 1)
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      #expect(lent.releaseCount == 1)
    }
  }

  @Test("Input that pauses and resumes at every moment loses nothing")
  func pauseAndResume() throws {
    var limits = ServerLimits()
    limits.inputPause = 8_192
    try withServer(limits: limits) { server in
      let client = try LoopbackClient(to: server, bufferSize: 1 << 18)
      var generator = SystemRandomNumberGenerator()
      let requests = (0..<400).map { _ in post("/worker", pattern(Int.random(in: 1...3_000, using: &generator))) }
      let bytes = requests.flatMap { $0 }
      let expected = requests.map { request in
        ExpectedResponse(Array(request.suffix(bodySize(of: request)))).bytes
      }.flatMap { $0 }
      var sent = 0
      var pauses = 0
      let isComplete = server.runPasses {
        sent += client.send(bytes[sent..<min(bytes.count, sent + Int.random(in: 1...20_000, using: &generator))])
        if client.isReadPaused { pauses += 1 }
        if Bool.random(using: &generator) { server.runWorkers() }
        client.read()
        return client.received.count >= expected.count
      }
      #expect(isComplete && pauses > 0)
      expectBytes(client.received, expected)
    }
  }

  @Test("What a client sent before its end is answered, also when that is seen while the input is paused")
  func endWhilePaused() throws {
    var limits = ServerLimits()
    limits.inputPause = 8_192
    try withServer(limits: limits) { server in
      let client = try LoopbackClient(to: server, bufferSize: 1 << 18)
      let body = pattern(2_000)
      let bytes = (0..<20).flatMap { _ in post("/worker", body) }
      let expected = (0..<20).flatMap { _ in ExpectedResponse(body).bytes }
      var sent = 0
      #expect(
        server.runPasses {
          sent += client.send(bytes[sent...])
          return sent == bytes.count && client.isReadPaused
        })
      client.finishSending()
      // The kernel tells of the end; nobody has asked for more input yet.
      for _ in 0..<3 { server.runPass() }
      #expect(
        server.runPasses {
          server.runWorkers()
          client.read()
          return client.received.count >= expected.count
        })
      expectBytes(client.received, expected)
    }
  }

  @Test("A connection that is to be closed when there is nothing left to send is closed")
  func closeAfterSend() throws {
    try withServer { server in
      server.stopClock()
      server.handle("GET", "/stuck", timeout: 100) { exchange in
        let result = exchange.respond("hello")
        server.takeOver()
        // The response goes out while the handler is stuck behind it.
        server.passTime(milliseconds: 101)
        for _ in 0..<3 { server.runPass() }
        return result
      }
      let client = try LoopbackClient(to: server)
      #expect(client.send(get("/stuck", "Connection: close")))
      #expect(
        server.runPasses {
          client.read()
          return client.isAtEnd
        })
      #expect(client.received.count > 0)
      client.disconnect()
    }
  }

  private func bodySize(of request: [UInt8]) -> Int {
    let end = Array("\r\n\r\n".utf8)
    let head = request.indices.first { request[$0...].starts(with: end) } ?? request.count
    return request.count - head - end.count
  }

  // MARK: Taking connections

  private func withListener(
    limits: ServerLimits = ServerLimits(), _ body: (InMemoryServer, ListenerPointer) throws -> Void
  ) throws {
    try withServer(limits: limits) { server in
      server.listen(on: try ListeningSet.bind(.loopbackIPv4(port: 0), count: 1))
      let listener = try #require(server.context.pointee.belongings.takeUnretainedValue().listeners.first)
      try #require(listener.pointee.accepting.isAttached)
      server.runPass()
      try body(server, listener)
    }
  }

  @Test("Connections are taken by one operation, one completion each")
  func accept() throws {
    try withListener { server, listener in
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      let clients = try (0..<20).map { _ in try LoopbackClient(to: server, port: port) }
      #expect(server.runPasses { server.context.pointee.connectionCount == 20 })
      for client in clients { client.disconnect() }
      #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
    }
  }

  @Test("A pass opens its share of the connections that the kernel has taken together, in their order")
  func acceptShare() throws {
    var limits = ServerLimits()
    limits.acceptsPerPass = 30
    try withListener(limits: limits) { server, listener in
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      // One comes before: of those that wait later, some lie beyond the end of the queue's memory, at its beginning.
      for (round, count) in [1, 100].enumerated() {
        let clients = try (0..<count).map { _ in try LoopbackClient(to: server, port: port) }
        var counts: [Int] = []
        #expect(
          server.runPasses {
            counts.append(server.context.pointee.connectionCount)
            return counts.last == count
          })
        #expect(round == 0 || counts.suffix(4) == [30, 60, 90, 100])
        var descriptors: [Int32] = []
        var connection = server.context.pointee.connections
        while let current = connection {
          let whole = UnsafeMutableRawPointer(current) - RingConnection.Offset.connection
          descriptors.append(whole.assumingMemoryBound(to: RingConnection.self).pointee.descriptor)
          connection = current.pointee.next
        }
        // The list has the newest first.
        #expect(descriptors.reversed().map { peerPort($0) } == clients.map(\.port))
        for client in clients { client.disconnect() }
        #expect(server.runPasses { server.context.pointee.connectionCount == 0 })
      }
    }
  }

  @Test("What is beyond the share is opened when the server begins to drain, or is cut off", arguments: [true, false])
  func drainBeyondShare(isCutOff: Bool) throws {
    var limits = ServerLimits()
    limits.acceptsPerPass = 2
    try withListener(limits: limits) { server, listener in
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      let clients = try (0..<9).map { _ in try LoopbackClient(to: server, port: port) }
      for client in clients { #expect(client.send(Array(get("/").utf8)[...]) > 0) }
      #expect(
        server.runPasses { server.context.pointee.connectionCount > 0 && listener.pointee.taken.count > 0 })
      if isCutOff { server.abort() } else { server.drain() }
      for client in clients {
        #expect(
          server.runPasses {
            client.read()
            return client.isAtEnd || client.readError != 0
          })
        #expect(isCutOff || client.received == Array(okAndClose("hello").utf8))
        client.disconnect()
      }
      #expect(server.runPasses { server.hasStopped || server.context.pointee.connectionCount == 0 })
      #expect(listener.pointee.taken.count == 0)
    }
  }

  @Test("A number that is no socket is no connection, and further ones are taken", arguments: [true, false])
  func bogusDescriptor(isLast: Bool) throws {
    try withListener { server, listener in
      if isLast {
        try server.tell(listener.operation, result: 1_000_000)
      } else {
        let completion = RingCompletion(buffer: nil, result: 1_000_000, flags: SHIM_RING_MORE)
        server.onIOThread { Listener.didComplete(listener, completion) }
      }
      #expect(server.context.pointee.connectionCount == 0)
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      let client = try LoopbackClient(to: server, port: port)
      #expect(server.runPasses { server.context.pointee.connectionCount == 1 })
      client.disconnect()
    }
  }

  @Test(
    "Taking connections goes on after an end, at once or after a pause",
    arguments: [-ECONNABORTED, -EAGAIN, -EINTR, -ECANCELED, -EMFILE, -ENFILE, -ENOMEM])
  func acceptEnds(result: Int32) throws {
    try withListener { server, listener in
      try server.tell(listener.operation, result: result)
      let isScarce = [-EMFILE, -ENFILE, -ENOMEM].contains(result)
      #expect(listener.pointee.isPaused == isScarce)
      let port = try SocketAddress.bound(listener.pointee.source.descriptor).port
      let client = try LoopbackClient(to: server, port: port)
      #expect(server.runPasses { server.context.pointee.connectionCount == 1 })
      #expect(listener.pointee.accepting.isArmed)
      client.disconnect()
    }
  }
}

/// The port at the other end of a connection.
private func peerPort(_ descriptor: Int32) -> UInt16? {
  var address = sockaddr_in()
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
  }
  return result == 0 ? UInt16(bigEndian: address.sin_port) : nil
}

extension ListenerPointer {
  fileprivate var operation: RingOperationPointer {
    (UnsafeMutableRawPointer(self) + Listener.acceptingOffset).assumingMemoryBound(to: RingOperation.self)
  }
}

extension InMemoryServer {
  /// Ends an armed operation, and tells it something else than the kernel says.
  fileprivate func tell(_ operation: RingOperationPointer, result: Int32, block: BlockPointer? = nil) throws {
    let proactor = try #require(context.pointee.thread.proactor)
    try #require(operation.pointee.isArmed)
    let data = proactor.data(of: operation)
    proactor.cancel(operation)
    operation.pointee.state &= ~RingOperation.Bits.canceling
    var event = shim_ring_event()
    var hasEnded = false
    for _ in 0..<100 where !hasEnded {
      proactor.wait(timeoutNanoseconds: 0)
      while !hasEnded, proactor.ring.nextEvent(&event) {
        if event.data != data { onIOThread { proactor.tell(event, proactor.ring.takeBuffer(of: event)) } }
        hasEnded = event.data == data && event.flags & SHIM_RING_MORE == 0
      }
    }
    try #require(hasEnded)
    onIOThread { proactor.tell(shim_ring_event(data: data, result: result, flags: 0), block) }
  }

  /// Sends until all is sent, or the connection is closed: then it returns false.
  fileprivate func sendUntilClosed(_ client: LoopbackClient, _ bytes: [UInt8]) -> Bool {
    var sent = 0
    _ = runPasses {
      sent += client.send(bytes[sent...])
      return sent == bytes.count || client.isClosed
    }
    return !client.isClosed
  }
}
