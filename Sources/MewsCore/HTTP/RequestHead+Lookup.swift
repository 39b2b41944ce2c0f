extension RequestHead {
  /// The index of the first field of that name at or after an index; -1 when there is none.
  @_noLocks
  public func index(of known: KnownHeader, from first: Int = 0) -> Int {
    var index = max(first, 0)
    while index < Int(headerCount) {
      if KnownHeader.areSame(headers[index].known, known) { return index }
      index &+= 1
    }
    return -1
  }

  /// The index of the first field of that name, in any case, at or after an index; -1 when there is none.
  ///
  /// - Parameters:
  ///   - name: a name of `count` bytes. What is no token matches nothing.
  ///   - base: the bytes of the head.
  @_noLocks
  public func index(
    of name: UnsafePointer<UInt8>, _ count: Int, in base: UnsafePointer<UInt8>, from first: Int = 0
  ) -> Int {
    if !FieldSyntax.isToken(name, count) { return -1 }
    var index = max(first, 0)
    while index < Int(headerCount) {
      let field = headers[index]
      if Int(field.nameLength) == count && Self.equalTokens(base + Int(field.nameOffset), name, count) { return index }
      index &+= 1
    }
    return -1
  }

  /// Whether two tokens of one length differ in nothing but the case of their letters.
  @_noLocks @inline(__always)
  private static func equalTokens(
    _ first: UnsafePointer<UInt8>, _ second: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    for index in 0..<count {
      let difference = first[index] ^ second[index]
      if difference == 0 { continue }
      if difference != 0x20 || (first[index] | 0x20) &- 0x61 > 25 { return false }
    }
    return true
  }
}
