import CMews

/// A text with the life of its owner, ended by NUL, for the C interface to point at.
final class CText: @unchecked Sendable {
  private let bytes: UnsafeMutableBufferPointer<CChar>

  init(_ text: String) {
    let utf8 = text.utf8
    bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: utf8.count + 1)
    bytes.initialize(repeating: 0)
    for (index, byte) in utf8.enumerated() { bytes[index] = CChar(bitPattern: byte) }
  }

  deinit { bytes.deallocate() }

  var view: mews_text { mews_text(data: UnsafePointer(bytes.baseAddress), length: bytes.count - 1) }

  /// The text as a C string; never nil, since there is always the NUL.
  var pointer: UnsafePointer<CChar>? { UnsafePointer(bytes.baseAddress) }
}
