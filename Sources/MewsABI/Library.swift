import CMews
import CMewsShims
import MewsHost
import MewsServer

@c @implementation public func mews_result_text(_ result: mews_result) -> UnsafePointer<CChar> {
  cString(ResultText.text(result))
}

@c @implementation public func mews_clock_monotonic_ns() -> UInt64 {
  UInt64(truncatingIfNeeded: shim_monotonic_nanoseconds())
}

@c @implementation public func mews_clock_wall_ns() -> Int64 { shim_wall_nanoseconds() }

@c @implementation public func mews_main(_ argc: Int32, _ argv: UnsafePointer<UnsafeMutablePointer<CChar>>?) -> Int32 {
  guard let argv, argc > 0 else { return 2 }
  return CommandMain.run((0..<Int(argc)).map { String(cString: argv[$0]) })
}

/// A static text as a C string; the compiler ends every one with NUL.
private func cString(_ text: StaticString) -> UnsafePointer<CChar> {
  UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}
