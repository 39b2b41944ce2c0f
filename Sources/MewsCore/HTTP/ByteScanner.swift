import CMewsShims

/// A set of bytes that end a run, tested sixteen at a time.
private protocol StopBytes {
  /// Bit i is set when `bytes[i]` is in the set. Reads 16 bytes.
  static func mask(_ bytes: UnsafePointer<UInt8>) -> UInt32
  static func contains(_ byte: UInt8) -> Bool
}

/// What no field value holds: control characters other than HTAB, and DEL (RFC 9110, 5.5).
private enum FieldValueStop: StopBytes {
  @_noLocks @inline(__always)
  static func mask(_ bytes: UnsafePointer<UInt8>) -> UInt32 { shim_mask_not_field_value(bytes) }
  @_noLocks @inline(__always)
  static func contains(_ byte: UInt8) -> Bool {
    !FieldSyntax.isValueCharacter(byte)
  }
}

/// What no request target holds: all but visible ASCII characters, and "#", which no client may send (RFC 9112, 3.2).
/// Visible characters that RFC 3986 excludes, such as "|" and "{", pass: browsers send them in queries.
private enum TargetStop: StopBytes {
  @_noLocks @inline(__always)
  static func mask(_ bytes: UnsafePointer<UInt8>) -> UInt32 { shim_mask_not_target(bytes) }
  @_noLocks @inline(__always)
  static func contains(_ byte: UInt8) -> Bool { byte <= ASCII.space || byte >= ASCII.delete || byte == 0x23 }
}

/// What few field names hold: all but letters, digits and hyphens.
private enum CommonNameStop: StopBytes {
  @_noLocks @inline(__always)
  static func mask(_ bytes: UnsafePointer<UInt8>) -> UInt32 { shim_mask_not_alphanumeric_or_hyphen(bytes) }
  @_noLocks @inline(__always)
  static func contains(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- 0x61 > 25 && byte &- ASCII.zero > 9 && byte != 0x2d
  }
}

/// What few host names hold: all but letters, digits, hyphens and dots.
private enum CommonHostStop: StopBytes {
  @_noLocks @inline(__always)
  static func mask(_ bytes: UnsafePointer<UInt8>) -> UInt32 { shim_mask_not_host(bytes) }
  @_noLocks @inline(__always)
  static func contains(_ byte: UInt8) -> Bool { byte != ASCII.dot && CommonNameStop.contains(byte) }
}

enum ByteScanner {
  /// The first position in `from..<end` whose byte is in the set; `end` when there is none. Reads nothing outside
  /// `0..<end`: the last vector overlaps bytes that were tested before.
  @inline(__always)
  private static func find<Stop: StopBytes>(
    _ stop: Stop.Type, _ bytes: UnsafePointer<UInt8>, from: Int, end: Int
  ) -> Int {
    var position = from
    while position &+ 16 <= end {
      let mask = Stop.mask(bytes + position)
      if mask != 0 { return position &+ mask.trailingZeroBitCount }
      position &+= 16
    }
    if position >= end { return end }
    if end >= 16 {
      let mask = Stop.mask(bytes + (end &- 16)) >> UInt32(truncatingIfNeeded: position &- (end &- 16))
      return mask == 0 ? end : position &+ mask.trailingZeroBitCount
    }
    while position < end && !Stop.contains(bytes[position]) { position &+= 1 }
    return position
  }

  /// The first position in `from..<end` whose byte no field value holds; `end` when there is none.
  @_noLocks @inline(__always)
  static func endOfFieldValue(_ bytes: UnsafePointer<UInt8>, from: Int, end: Int) -> Int {
    find(FieldValueStop.self, bytes, from: from, end: end)
  }

  /// The first position in `from..<end` whose byte no request target holds; `end` when there is none.
  @_noLocks @inline(__always)
  static func endOfTarget(_ bytes: UnsafePointer<UInt8>, from: Int, end: Int) -> Int {
    find(TargetStop.self, bytes, from: from, end: end)
  }

  /// The first position in `from..<end` whose byte few host names hold; `end` when there is none.
  @_noLocks @inline(__always)
  static func endOfCommonHost(_ bytes: UnsafePointer<UInt8>, from: Int, end: Int) -> Int {
    find(CommonHostStop.self, bytes, from: from, end: end)
  }

  /// The first position in `from..<end` whose byte is not part of a token (RFC 9110, 5.6.2); `end` when there is none.
  @_noLocks @inline(__always)
  static func endOfToken(_ bytes: UnsafePointer<UInt8>, from: Int, end: Int) -> Int {
    var position = find(CommonNameStop.self, bytes, from: from, end: end)
    while position < end && FieldSyntax.isTokenCharacter(bytes[position]) {
      position = find(CommonNameStop.self, bytes, from: position &+ 1, end: end)
    }
    return position
  }
}
