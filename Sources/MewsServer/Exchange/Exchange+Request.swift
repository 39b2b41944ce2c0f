import CMews
import Glibc
import MewsCore

/// What a handler may read of its request. All views are valid until the exchange's memory is reused.
extension Exchange {
  public typealias View = UnsafeBufferPointer<UInt8>

  @_noLocks @inline(__always)
  private func view(_ offset: UInt32, _ count: UInt32) -> View {
    guard let base else { return View(start: nil, count: 0) }
    return View(start: base + Int(offset), count: Int(count))
  }

  public var methodView: View {
    @_noLocks get { view(head.methodOffset, head.methodLength) }
  }
  public var targetView: View {
    @_noLocks get { view(head.targetOffset, head.targetLength) }
  }
  public var pathView: View {
    @_noLocks get { View(start: path, count: pathCount) }
  }
  public var queryView: View {
    @_noLocks get { head.hasQuery ? view(head.queryOffset, head.queryLength) : View(start: nil, count: 0) }
  }
  public var bodyView: View {
    @_noLocks get { View(start: body, count: bodyCount) }
  }

  /// The name and value of a header field; absent views when the index is out of range.
  @_noLocks
  public func headerField(_ index: UInt32) -> (name: View, value: View) {
    guard index < head.headerCount else { return (View(start: nil, count: 0), View(start: nil, count: 0)) }
    let field = head.headers[Int(index)]
    return (view(field.nameOffset, UInt32(field.nameLength)), view(field.valueOffset, field.valueLength))
  }

  /// The value of the field of that name with that number among its repetitions.
  public func headerValue(_ name: UnsafePointer<CChar>, number: UInt32) -> View {
    let length = strlen(name)
    var remaining = number
    for index in 0..<Int(head.headerCount) {
      let field = head.headers[index]
      guard Int(field.nameLength) == length, let base,
        strncasecmp(UnsafeRawPointer(base + Int(field.nameOffset)).assumingMemoryBound(to: CChar.self), name, length)
          == 0
      else { continue }
      if remaining == 0 { return view(field.valueOffset, field.valueLength) }
      remaining -= 1
    }
    return View(start: nil, count: 0)
  }

  /// What the path held for a parameter of the route's pattern.
  public func pathParameter(_ name: UnsafePointer<CChar>) -> View {
    guard let route, let path, let names = route.pointee.parameterNames else { return View(start: nil, count: 0) }
    let length = strlen(name)
    for index in 0..<min(route.pointee.parameterCount, captureCount)
    where names[index].count == length && memcmp(names[index].bytes, name, length) == 0 {
      let capture = captures[index]
      return View(start: path + Int(capture.offset), count: Int(capture.count))
    }
    return View(start: nil, count: 0)
  }

  /// The decoded value of a query parameter, in the arena where it had to be decoded.
  public mutating func queryParameter(_ name: UnsafePointer<CChar>) -> View {
    let absent = View(start: nil, count: 0)
    let query = queryView
    guard let start = query.baseAddress else { return absent }
    let nameBytes = UnsafeRawPointer(name).assumingMemoryBound(to: UInt8.self)
    guard let pair = QueryDecoder.find(start, query.count, nameBytes, strlen(name)) else { return absent }
    let value = View(start: start + pair.valueOffset, count: pair.valueLength)
    guard value.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return value }
    guard let memory = arena.allocate(value.count, from: cache) else { return absent }
    let output = memory.bindMemory(to: UInt8.self, capacity: value.count)
    return View(start: output, count: QueryDecoder.decode(start + pair.valueOffset, value.count, into: output))
  }
}
