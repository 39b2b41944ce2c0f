import CMews

@c @implementation public func mews_version() -> UnsafePointer<CChar> {
  unsafe UnsafeRawPointer(StaticString("0.1.0").utf8Start).assumingMemoryBound(to: CChar.self)
}
