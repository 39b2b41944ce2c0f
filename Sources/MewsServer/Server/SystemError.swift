import Glibc

/// A system call that failed.
public struct SystemError: Error, Equatable, CustomStringConvertible {
  public let call: String
  public let code: Int32

  public init(_ call: String, _ code: Int32) {
    self.call = call
    self.code = code
  }

  public var description: String { "\(call): \(Self.text(code))" }

  /// The system's text of an errno, with its number.
  public static func text(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard let text = strerror_r(code, &buffer, buffer.count) else { return "error \(code)" }
    return "\(String(cString: text)) (errno \(code))"
  }
}
