import CMews

/// Bytes that do not change, for bodies that are large or answered often: responses refer to them, and they are freed
/// when the last response that refers to them is sent and nobody else holds them.
public final class SharedBytes: Sendable {
  private let storage: UnsafeSendableBuffer

  /// The number of bytes.
  public var count: Int { storage.bytes.count }

  /// Copies the bytes.
  public init(_ bytes: some Sequence<UInt8>) {
    let bytes = ContiguousArray(bytes)
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
    bytes.withUnsafeBytes { copy.copyMemory(from: $0) }
    storage = UnsafeSendableBuffer(bytes: UnsafeRawBufferPointer(copy))
  }

  deinit {
    storage.bytes.deallocate()
  }

  /// The bytes, as long as they can be named.
  public var span: RawSpan {
    @_lifetime(borrow self) get { _overrideLifetime(RawSpan(_unsafeBytes: storage.bytes), borrowing: self) }
  }

  var start: UnsafeRawPointer? { storage.bytes.baseAddress }

  /// One reference more, which ``release`` gives back.
  func retained() -> UnsafeMutableRawPointer {
    Unmanaged.passRetained(self).toOpaque()
  }

  static let release: mews_release = { context in
    guard let context else { return }
    Unmanaged<SharedBytes>.fromOpaque(context).release()
  }
}

/// Memory that nobody writes after it was filled.
private struct UnsafeSendableBuffer: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
}
