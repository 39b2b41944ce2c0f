import CMewsShims

/// Work for a set point of an I/O thread's pass, embedded in what it concerns. The owner keeps it valid while it is
/// queued.
public typealias PassNode = shim_pass_node
public typealias PassNodePointer = UnsafeMutablePointer<PassNode>

extension shim_pass_node {
  /// A node that is not queued.
  public init(action: (@convention(c) (PassNodePointer) -> Void)?) {
    self.init(next: nil, action: action, isQueued: 0)
  }
}

/// A queue of pass nodes, first in, first out.
struct PassList {
  private var first: PassNodePointer?
  private var last: PassNodePointer?

  var isEmpty: Bool {
    @_noLocks get { first == nil }
  }

  /// Queues a node that is in no list yet; one that is queued keeps its place.
  @_noLocks @inline(__always)
  mutating func append(_ node: PassNodePointer) {
    guard node.pointee.isQueued == 0 else { return }
    node.pointee.isQueued = 1
    node.pointee.next = nil
    if let last { last.pointee.next = node } else { first = node }
    last = node
  }

  @_noLocks @inline(__always)
  mutating func removeFirst() -> PassNodePointer? {
    guard let node = first else { return nil }
    first = node.pointee.next
    if first == nil { last = nil }
    node.pointee.isQueued = 0
    return node
  }

  /// Empties the list and returns what it held.
  @_noLocks
  mutating func take() -> PassList {
    let taken = self
    self = PassList()
    return taken
  }
}
