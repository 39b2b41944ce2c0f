/// What moves the input and output of an operation port.
public enum PortBackend: String, CaseIterable, Sendable {
  /// Sockets and pipes as `epoll`, without a hop to another thread; files as `ring` where the kernel has it, else by
  /// threads that block.
  case automatic = "auto"
  /// Sockets and pipes by the threads that wait, files by threads that block.
  case epoll
  /// All but timers by one thread of the port's own, which has an io_uring.
  case ring = "io_uring"
}
