import CMewsShims
import Foundation
import MewsCore
import Testing

@testable import MewsServer

@Suite("Listening sockets")
struct ListeningSetTests {
  @Test("Few I/O threads share a socket, from eight on each has its own, unless something else was asked for")
  func policy() {
    #expect([1, 2, 7, 8, 16].map { ListenSocketPolicy.automatic.socketCount(ioThreads: $0) } == [1, 1, 1, 8, 16])
    #expect([1, 8, 16].map { ListenSocketPolicy.shared.socketCount(ioThreads: $0) } == [1, 1, 1])
    #expect([1, 2, 8].map { ListenSocketPolicy.perThread.socketCount(ioThreads: $0) } == [1, 2, 8])
  }

  @Test("Every thread watches a socket and every socket is watched", arguments: 1...9, 1...9)
  func assignment(sockets: Int, threads: Int) {
    let listeningSet = ListeningSet(descriptors: (0..<sockets).map { Int32(100 + $0) }, url: "")
    let watched = (0..<threads).map { listeningSet.descriptors(forThread: $0, of: threads) }
    #expect(watched.allSatisfy { !$0.isEmpty })
    #expect(Set(watched.joined()) == Set(listeningSet.descriptors))
    // Nobody shares more than there is to share.
    if sockets >= threads { #expect(watched.joined().count == sockets) }
    if sockets <= threads { #expect(watched.allSatisfy { $0.count == 1 }) }
  }

  @Test(
    "The sockets of a set have one port, and the kernel spreads connections over all of them", arguments: [false, true])
  func spread(isIPv6: Bool) throws {
    let address = isIPv6 ? SocketAddress.loopbackIPv6(port: 0) : .loopbackIPv4(port: 0)
    // A machine without IPv6 has no such address.
    guard let listeningSet = try? ListeningSet.bind(address, count: 4) else { return #expect(isIPv6) }
    defer { listeningSet.close() }
    #expect(listeningSet.descriptors.count == 4)
    #expect(Set(try listeningSet.descriptors.map { try SocketAddress.bound($0).port }).count == 1)
    let clients = try (0..<128).map { _ in try connect(to: listeningSet.boundAddress()) }
    defer { for client in clients { close(client) } }
    let counts = listeningSet.descriptors.map { descriptor in
      var count = 0
      while case let connection = shim_accept(descriptor), connection >= 0 {
        close(connection)
        count += 1
      }
      return count
    }
    #expect(counts.reduce(0, +) == 128)
    #expect(counts.allSatisfy { $0 > 0 }, "\(counts)")
  }

  @Test("An address in use is an error, also when its user shares it", arguments: [1, 4], [1, 4])
  func inUse(firstCount: Int, secondCount: Int) throws {
    let listeningSet = try ListeningSet.bind(.loopbackIPv4(port: 0), count: firstCount)
    defer { listeningSet.close() }
    let error = #expect(throws: SystemError.self) {
      try ListeningSet.bind(.loopbackIPv4(port: listeningSet.port), count: secondCount).close()
    }
    #expect(error?.code == EADDRINUSE)
  }

  @Test("A foreign server that shares its port is not joined", arguments: [1, 4])
  func foreignShared(count: Int) throws {
    let foreign = try ListeningSocket.bind(.loopbackIPv4(port: 0), isShared: true)
    defer { close(foreign.descriptor) }
    let error = #expect(throws: SystemError.self) {
      try ListeningSet.bind(.loopbackIPv4(port: foreign.port), count: count).close()
    }
    #expect(error?.code == EADDRINUSE)
  }
}

@Suite("Taking connections")
struct ListenerTests {
  @Test("A pass takes its share of connections, and the next passes the others")
  func share() throws {
    var limits = ServerLimits()
    limits.acceptsPerPass = 5
    try withServer(limits: limits) { server in
      let listeningSet = try ListeningSet.bind(.loopbackIPv4(port: 0), count: 1)
      server.listen(on: listeningSet)
      let clients = try (0..<12).map { _ in try connect(to: listeningSet.boundAddress()) }
      defer { for client in clients { close(client) } }
      var counts: [Int] = []
      for _ in 0..<4 {
        server.runPass()
        counts.append(server.context.pointee.connectionCount)
      }
      #expect(counts == [5, 10, 12, 12])
    }
  }

  @Test("What the kernel has queued when the server begins to drain is taken and answered", arguments: [1, 3])
  func drainTakesTheQueue(socketCount: Int) throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let listeningSet = try ListeningSet.bind(.loopbackIPv4(port: 0), count: socketCount)
      server.listen(on: listeningSet)
      let clients = try (0..<40).map { _ in try connect(to: listeningSet.boundAddress()) }
      defer { for client in clients { close(client) } }
      // Some requests are there already, the others come when the server drains.
      for client in clients[..<20] { send(client, get("/")) }
      server.onIOThread { IOContext.drain(server.context) }
      #expect(server.runPasses { server.context.pointee.connectionCount == 40 && !server.context.pointee.isListening })
      for client in clients[20...] { send(client, get("/")) }
      for client in clients {
        var answer = ""
        let isComplete = server.runPasses {
          answer += receive(client) ?? ""
          return answer.utf8.count >= okAndClose("hello").utf8.count
        }
        #expect(isComplete)
        #expect(answer == okAndClose("hello"))
      }
    }
  }

  @Test("Who comes when the server drains is not let in, and refused when the socket is closed")
  func drainAdmitsNoMore() throws {
    try withServer { server in
      let listeningSet = try ListeningSet.bind(.loopbackIPv4(port: 0), count: 1)
      let address = try listeningSet.boundAddress()
      server.listen(on: listeningSet)
      server.onIOThread { IOContext.drain(server.context) }
      let late = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
      defer { close(late) }
      #expect(address.withSocketAddress { Glibc.connect(late, $0, $1) } == -1 && errno == EINPROGRESS)
      #expect(server.runPasses { server.hasStopped })
      #expect(server.context.pointee.connectionCount == 0)
      server.closeListeningSets()
      var entry = pollfd(fd: late, events: Int16(POLLOUT), revents: 0)
      #expect(poll(&entry, 1, 60_000) == 1)
      var error: Int32 = 0
      var size = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(late, SOL_SOCKET, SO_ERROR, &error, &size)
      #expect(error == ECONNREFUSED)
    }
  }

  @Test("While the server drains, a connection without a first request is let go after a moment, others at once")
  func drainAwaitsFirstRequests() throws {
    try withServer { server in
      server.handle("GET", "/") { $0.respond("hello") }
      let fresh = try LoopbackClient(to: server)
      let used = try LoopbackClient(to: server)
      #expect(used.send(get("/")))
      #expect(used.receive(ok("hello").utf8.count) == Array(ok("hello").utf8))
      let start = server.context.pointee.thread.now
      server.onIOThread { IOContext.drain(server.context) }
      #expect(server.runPasses { server.context.pointee.connectionCount == 1 })
      #expect(server.context.pointee.thread.now < start + SocketConnection.firstRequestMilliseconds)
      #expect(server.runPasses { server.hasStopped })
      #expect(server.context.pointee.thread.now >= start + SocketConnection.firstRequestMilliseconds)
      fresh.read()
      #expect(fresh.isAtEnd && fresh.received.isEmpty)
    }
  }
}

/// A client's connected socket. The kernel completes the handshake, whoever accepts.
private func connect(to address: SocketAddress) throws -> Int32 {
  let client = socket(address.family, Int32(SOCK_STREAM.rawValue), 0)
  try #require(client >= 0)
  try #require(address.withSocketAddress { Glibc.connect(client, $0, $1) } == 0)
  return client
}

private func send(_ client: Int32, _ text: String) {
  let bytes = Array(text.utf8)
  #expect(Glibc.send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
}

/// What has come; nil when nothing has.
private func receive(_ client: Int32) -> String? {
  var bytes = [UInt8](repeating: 0, count: 4_096)
  let count = recv(client, &bytes, bytes.count, Int32(MSG_DONTWAIT))
  return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
}
