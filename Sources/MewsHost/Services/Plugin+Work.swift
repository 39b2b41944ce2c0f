import CMews
import MewsCore
import MewsServer

extension Plugin {
  /// Has a worker call a plugin's function once. Any thread.
  public func work(_ callback: @escaping mews_work_callback, _ context: UnsafeMutableRawPointer?) -> mews_result {
    host.server.work(
      key: unsafeBitCast(callback, to: UInt.self), bytes: UInt(bitPattern: handle), operation: context,
      action: { packet in Plugin.call(packet) })
  }

  /// On a worker, with what `work` put into the packet.
  private static func call(_ packet: PacketPointer) {
    guard let handle = OpaquePointer(bitPattern: packet.pointee.bytes),
      let callback = unsafeBitCast(packet.pointee.key, to: mews_work_callback?.self)
    else { return }
    // A plugin that was refused, because its start failed after it had asked for this, is left alone.
    guard Plugin.from(handle).phase != .stopped else { return }
    callback(handle, packet.pointee.operation)
  }
}
