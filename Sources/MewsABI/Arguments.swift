import CMews
import MewsHost
import MewsServer

/// How the pointers of the C interface become what stands behind them.

/// The exchange behind a handler's pointer, if this thread is running its handler now.
@_noLocks @inline(__always)
func open(_ exchange: OpaquePointer?, _ result: inout mews_result) -> ExchangePointer? {
  guard let exchange else {
    result = mews_result(-2)
    return nil
  }
  let pointer = ExchangePointer(exchange)
  result = Exchange.check(pointer)
  return result == 0 ? pointer : nil
}

/// The same for functions that answer an empty value in place of an error.
@inline(__always)
func open(_ exchange: OpaquePointer?) -> ExchangePointer? {
  var result: mews_result = 0
  return open(exchange, &result)
}

func plugin(_ pointer: OpaquePointer?) -> Plugin? { pointer.map { Plugin.from($0) } }

func host(_ pointer: OpaquePointer?) -> Host? {
  pointer.map { Unmanaged<Host>.fromOpaque(UnsafeRawPointer($0)).takeUnretainedValue() }
}

var absentText: mews_text { mews_text(data: nil, length: 0) }

@inline(__always)
func text(_ view: Exchange.View) -> mews_text {
  mews_text(data: UnsafeRawPointer(view.baseAddress)?.assumingMemoryBound(to: CChar.self), length: view.count)
}

/// Text from C as a Swift string; nil for NULL, and for what is not UTF-8, which would become another text.
func string(_ text: UnsafePointer<CChar>?) -> String? { text.flatMap { String(validatingCString: $0) } }
