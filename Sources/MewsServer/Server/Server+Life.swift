import CMews
import CMewsShims
import Glibc
import MewsCore

extension Server {
  /// Asks the server to stop. Any thread, any time, a signal handler too.
  public func stop() { life.requestStop() }

  /// Waits until the server has stopped, and for its threads.
  ///
  /// - Returns: false when the drain timeout passed: then requests were cut off, and a thread whose handler never
  ///   returns is left behind.
  public func wait() -> Bool {
    guard !isJoined else { return true }
    Self.awaitReadable([life.stopping, life.ended], milliseconds: -1)
    // What the listeners take to come to their end is no request's fault.
    let limit = Int32(clamping: UInt64(options.drainTimeoutMilliseconds) + Listener.handshakeMilliseconds)
    var isClean = Self.awaitReadable([life.ended], milliseconds: limit)
    if !isClean {
      life.abort()
      if !Self.awaitReadable([life.ended], milliseconds: 1_000) {
        log.write(Int(MEWS_LEVEL_ERROR), "a handler does not return; leaving its thread behind")
        return false
      }
      isClean = false
    }
    runners?.join()
    endWorkers()
    isJoined = true
    return isClean
  }

  /// Frees everything, after `wait` has returned true, or before the start.
  public func destroy() {
    life.awaitVisitors()
    var left = ServerRemains(contexts)
    runners?.destroy()
    for context in contexts {
      context.pointee.destroy()
      ThreadResources.destroy(context.pointee.ownResources)
      context.deinitialize(count: 1)
      context.deallocate()
    }
    contexts = []
    for listener in listeners { listener.deallocate() }
    listeners = []
    if !isStarted { for listeningSet in listeningSets { listeningSet.close() } }
    workers?.destroy()
    port.destroy()
    let misuses = pool.misuseCount
    if misuses > 0 { log.write(Int(MEWS_LEVEL_ERROR), "memory blocks were used after their return: \(misuses) times") }
    left.blocks = pool.destroy()
    if left.blocks > 0 {
      log.write(Int(MEWS_LEVEL_ERROR), "\(left.blocks) blocks of memory were never given back")
    }
    if left.heldExchanges > 0 {
      // No more than information: they may be released yet.
      log.write(
        Int(MEWS_LEVEL_INFO), "\(left.heldExchanges) requests are still held by tokens that nobody has released")
    }
    log.write(Int(MEWS_LEVEL_DEBUG), left.description)
    life.destroy()
  }

  /// Nobody listens on the addresses after this server, although its options say so: those who have the sockets, too,
  /// stop as well. Before `stop`. Any thread.
  public func becomeLastOnAddresses() { life.becomeLastOnAddresses() }

  /// Waits for one of the descriptors. Returns false when the time is over.
  @discardableResult
  private static func awaitReadable(_ descriptors: [Int32], milliseconds: Int32) -> Bool {
    var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    while true {
      let count = poll(&entries, nfds_t(entries.count), milliseconds)
      if count > 0 { return true }
      if count == 0 { return false }
      if errno != EINTR { return false }
    }
  }

  // MARK: Work

  /// Has a worker run an action once, with a packet that holds these values, and is valid until the action returns. Any
  /// thread.
  ///
  /// - Returns: MEWS_OK, MEWS_E_NO_MEMORY, or MEWS_E_GONE when the workers are about to end.
  public func work(
    key: UInt, bytes: UInt, operation: UnsafeMutableRawPointer?,
    action: @escaping @convention(c) (PacketPointer) -> Void
  ) -> mews_result {
    guard workGate.enter() else { return mews_result(MEWS_E_GONE) }
    defer { workGate.leave() }
    return switch port.post(key: key, bytes: bytes, operation: operation, action: action) {
    case .posted: mews_result(MEWS_OK)
    case .closed: mews_result(MEWS_E_GONE)
    case .noMemory: mews_result(MEWS_E_NO_MEMORY)
    }
  }

  // MARK: On the I/O threads

  static func ioThreadDidStart(_ argument: UnsafeMutableRawPointer?) {
    guard let context = argument?.assumingMemoryBound(to: IOContext.self) else { return }
    if context.pointee.ringFeatures?.isEmpty == false && !context.pointee.thread.hasRing {
      IOContext.useRing(context, [])
      context.pointee.log._withUnsafeGuaranteedRef { log in
        log.write(Int(MEWS_LEVEL_WARNING), "no io_uring for an I/O thread, for want of memory: it uses epoll")
      }
    }
    IOContext.listen(context)
  }

  static func ioThreadWasAdopted(_ argument: UnsafeMutableRawPointer?, _ adoption: UnsafeRawPointer?) {
    guard let context = argument?.assumingMemoryBound(to: IOContext.self) else { return }
    context.pointee.watch = context.pointee.thread.watch
    // Only the first thread may have none of its own.
    if let resources = ThreadResources.current { context.pointee.resources = resources }
    if let adoption { IOContext.wasTakenOver(context, adoption.load(as: IOThreadHooks.Adoption.self)) }
  }

  static func ioThreadDidLoseCompletions(_ argument: UnsafeMutableRawPointer?) {
    if let context = argument?.assumingMemoryBound(to: IOContext.self) { IOContext.didLoseCompletions(context) }
  }

  static func ioThreadWillExit(_ argument: UnsafeMutableRawPointer?) {
    guard let context = argument?.assumingMemoryBound(to: IOContext.self) else { return }
    context.pointee.resources = context.pointee.ownResources
    if let life = context.pointee.life { ServerLife.threadDidEnd(life) }
  }
}
