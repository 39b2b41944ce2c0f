import CMewsShims
import Glibc
import MewsCore

// MARK: Receiving

extension RingConnection {
  @_noLocks
  static func prepareInput(_ socket: RingConnectionPointer, _ entry: RingEntry) {
    if socket.pointee.isWatching {
      // No event at all: a failure and a hangup are told in any case.
      shim_entry_poll_once(entry, socket.pointee.descriptor, 0)
    } else {
      shim_entry_receive(entry, socket.pointee.descriptor, Ring.bufferGroup)
    }
  }

  @_noLocks
  static func didReceive(_ socket: RingConnectionPointer, _ completion: RingCompletion) {
    if let block = completion.block { take(socket, block) }
    if completion.isLast { _unsafePerformance { inputDidEnd(socket, completion.result) } }
  }

  /// Hands what was received to the protocol.
  @_noLocks @inline(__always)
  private static func take(_ socket: RingConnectionPointer, _ block: BlockPointer) {
    let connection = connection(socket)
    let cache = connection.pointee.context.pointee.cache
    guard !socket.pointee.isClosed, !socket.pointee.isLingering, block.pointee.unread > 0 else {
      return _unsafePerformance { discard(socket, block) }
    }
    socket.pointee.hasReceived = true
    _ = connection.pointee.input.append(merging: block, to: cache)
    _ = connection.pointee.input.flush()
    Connection.receive(connection)
    // Asked after the protocol has had its turn: what it read makes room again.
    if connection.pointee.input.isPaused && !socket.pointee.isReadPaused && !socket.pointee.isClosed {
      socket.pointee.isReadPaused = true
      // What the kernel has received by then still comes. Then the operation watches.
      socket.pointee.proactor.cancel(input(socket))
    }
  }

  /// Throws away what comes in while the connection waits for the peer to close, or is closed.
  private static func discard(_ socket: RingConnectionPointer, _ block: BlockPointer) {
    socket.pointee.lingeredBytes += block.pointee.unread
    socket.pointee.connection.context.pointee.cache.release(block)
    if !socket.pointee.isClosed && socket.pointee.lingeredBytes > SocketConnection.lingerBytes { close(socket) }
  }

  /// The operation has ended: because the stream has, because the connection failed, because it was asked to, or for
  /// want of blocks or of room for completions.
  @inline(never)
  private static func inputDidEnd(_ socket: RingConnectionPointer, _ result: Int32) {
    if socket.pointee.isClosed { return releaseIfEnded(socket) }
    if socket.pointee.isWatching {
      if result >= 0 { return didWatch(socket, UInt32(bitPattern: result)) }
    } else if result == 0 {
      if socket.pointee.isLingering { return close(socket) }
      return Connection.inputDidEnd(connection(socket))
    }
    switch result {
    case 1..., -ECANCELED, -EINTR, -EAGAIN: armInput(socket)
    case -ENOBUFS where socket.pointee.proactor.refillBuffers(): armInput(socket)
    default: close(socket)
    }
  }

  /// Something was told of a connection whose input is paused. The kernel tells of the peer's last byte, too, whether
  /// that was asked for or not, and would again at once: what came before it is still to be read, when there is room.
  private static func didWatch(_ socket: RingConnectionPointer, _ events: UInt32) {
    if events & (ReadyEvents.error | ReadyEvents.hangup) != 0 { return close(socket) }
    if !socket.pointee.isReadPaused { armInput(socket) }
  }

  private static func armInput(_ socket: RingConnectionPointer) {
    guard !socket.pointee.isClosed, !socket.pointee.input.isArmed else { return }
    socket.pointee.isWatching = socket.pointee.isReadPaused
    socket.pointee.proactor.arm(input(socket))
  }

  /// There is room in the input pipe, or what comes is thrown away from now on.
  static func resumeInput(_ socket: RingConnectionPointer) {
    guard socket.pointee.isReadPaused, !socket.pointee.isClosed else { return }
    socket.pointee.isReadPaused = false
    // The operation that watches, or that is about to end, makes way first.
    socket.pointee.proactor.cancel(input(socket))
    armInput(socket)
  }
}

// MARK: Sending

extension RingConnection {
  /// The protocol is done with a response, in the same pass: begins to send what the output pipe holds. It may hold
  /// nothing: the bytes went before, or there was no memory for them.
  @_noLocks
  static func flush(_ socket: RingConnectionPointer) {
    guard !socket.pointee.isClosed, !socket.pointee.output.isArmed else { return }
    guard socket.pointee.connection.output.count > 0 else { return Connection.outputDidDrain(connection(socket)) }
    socket.pointee.proactor.arm(output(socket))
  }

  @_noLocks
  static func prepareOutput(_ socket: RingConnectionPointer, _ entry: RingEntry) {
    let first = socket.pointee.connection.output.first
    guard let bytes = first.baseAddress else { return shim_entry_nop(entry) }
    if first.count < socket.pointee.connection.output.count, let message = socket.pointee.proactor.nextMessage() {
      let pieces = shim_ring_message_pieces(message)
      let count = socket.pointee.connection.output.gather(pieces, Int(SHIM_RING_PIECES))
      return shim_entry_send_message(entry, socket.pointee.descriptor, message, count)
    }
    shim_entry_send(entry, socket.pointee.descriptor, bytes, first.count)
  }

  @_noLocks
  static func didSend(_ socket: RingConnectionPointer, _ completion: RingCompletion) {
    let connection = connection(socket)
    guard !socket.pointee.isClosed else { return _unsafePerformance { releaseIfEnded(socket) } }
    guard completion.result >= 0 else { return _unsafePerformance { sendFailed(socket, completion.result) } }
    let cache = connection.pointee.context.pointee.cache
    let advance = connection.pointee.output.consume(Int(completion.result), to: cache)
    // Responses that come of it are flushed at the end of the pass, too.
    if case .writerResumed = advance { Connection.outputDidResume(connection) }
    flush(socket)
  }

  private static func sendFailed(_ socket: RingConnectionPointer, _ result: Int32) {
    switch result {
    case -EINTR, -EAGAIN, -ECANCELED, -ENOBUFS, -ENOMEM: flush(socket)
    default: close(socket)
    }
  }
}
