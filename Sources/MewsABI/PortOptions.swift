import CMews
import Glibc
import MewsCore

/// What a port is asked to be, by its options and by the environment.
struct PortOptions {
  let concurrency: Int
  let backend: PortBackend
  /// Features of io_uring that the environment variable MEWS_IO_WITHOUT names.
  let withoutFeatures: RingFeatures

  static var defaults: mews_port_options {
    var defaults = mews_port_options()
    defaults.struct_size = UInt32(MemoryLayout<mews_port_options>.size)
    return defaults
  }

  /// - Parameter options: the caller's, of any size; nil for the defaults.
  /// - Returns: nil for what is out of range.
  init?(_ options: UnsafePointer<mews_port_options>?) {
    guard
      let options = copy(
        options, UInt32(MemoryLayout<mews_port_options>.size), Self.defaults, { $0.pointee.struct_size }),
      options.concurrency <= 65_535
    else { return nil }
    concurrency = Int(options.concurrency)
    switch options.io_backend {
    case UInt32(MEWS_IO_AUTO): backend = Self.environmentBackend
    case UInt32(MEWS_IO_EPOLL): backend = .epoll
    case UInt32(MEWS_IO_URING): backend = .ring
    default: return nil
    }
    withoutFeatures = Self.environmentWithoutFeatures
  }

  /// What MEWS_IO asks for. What cannot be understood asks for nothing: the program's user may not be who set it.
  private static var environmentBackend: PortBackend {
    value("MEWS_IO").flatMap { PortBackend(rawValue: $0) } ?? .automatic
  }

  private static var environmentWithoutFeatures: RingFeatures {
    guard let list = value("MEWS_IO_WITHOUT") else { return [] }
    do throws(UnknownRingFeature) { return try RingFeatures(parsing: list) } catch { return [] }
  }

  private static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
