import CMews
import MewsCore

extension IOContext {
  /// How often the log hears of takeovers, in milliseconds.
  private static var reportMilliseconds: UInt64 { 1_000 }

  /// The calling thread has taken over the I/O thread's work from one whose handler did not return. Of the handler's
  /// exchange it may read what the handler does not change.
  static func wasTakenOver(_ context: IOContextPointer, _ adoption: IOThreadHooks.Adoption) {
    guard !adoption.isGiven, let packet = adoption.stuckPacket, let route = Exchange.of(packet).pointee.route else {
      return
    }
    let thread = context.pointee.thread
    if let reportTime = context.pointee.takeoverReportTime, thread.now < reportTime + reportMilliseconds { return }
    context.pointee.takeoverReportTime = thread.now
    let exchange = Exchange.of(packet)
    context.pointee.log._withUnsafeGuaranteedRef { log in
      guard log.isEnabled(UInt32(MEWS_LEVEL_INFO)) else { return }
      let request =
        "\(String(decoding: exchange.pointee.methodView, as: UTF8.self)) "
        + String(decoding: exchange.pointee.pathView, as: UTF8.self)
      let plugin = route.pointee.pluginName.map { String(cString: $0) } ?? "mews"
      let tenths = adoption.nanoseconds / 100_000
      log.write(
        Int(MEWS_LEVEL_INFO),
        "\(request): the handler has held up an I/O thread for \(tenths / 10).\(tenths % 10) ms; another thread goes on",
        source: plugin)
    }
  }
}
