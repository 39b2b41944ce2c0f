import MewsCore

/// The Server and Date fields of every response of one thread, made anew when the second changes.
public struct DateHeader {
  private static var server: StaticString { @_noLocks get { "Server: Mews\r\nDate: " } }
  static var count: Int { @_noLocks @inline(__always) get { 14 + 6 + 29 + 2 } }

  private var bytes = InlineArray<64, UInt8>(repeating: 0)
  private var second = Int64.min

  public init() {}

  /// Copies the fields of a second and returns their size.
  @_noLocks @inline(__always)
  mutating func write(secondsSince1970 now: Int64, to target: UnsafeMutablePointer<UInt8>) -> Int {
    if now != second { update(now) }
    withUnsafeBytes(of: &bytes) { source in
      // A row of 64 bytes has an address.
      guard let source = source.baseAddress else { return }
      UnsafeMutableRawPointer(target).copyMemory(from: source, byteCount: Self.count)
    }
    return Self.count
  }

  @_noLocks @inline(never)
  private mutating func update(_ now: Int64) {
    second = now
    withUnsafeMutableBytes(of: &bytes) { place in
      guard let target = place.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      var count = ResponseWriter.writeText(Self.server, to: target)
      count &+= HTTPDate.write(secondsSince1970: now, to: target + count)
      target[count] = 13
      target[count &+ 1] = 10
    }
  }
}
