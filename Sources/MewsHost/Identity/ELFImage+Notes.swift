extension ELFImage {
  /// A note's descriptor, with what is in front of it left out.
  typealias NoteDescriptor = ELFView

  /// The descriptors of all notes with an owner and a type: from the segments, or, where none of them has one, from the
  /// sections.
  func notes(owner: String, type: UInt32) throws(IdentityError.Cause) -> [NoteDescriptor] {
    var found: [NoteDescriptor] = []
    for segment in segments where segment.type == Segment.note {
      let notes = try file.view(at: segment.offset, count: segment.fileSize, named: "note segment")
      try Self.collect(notes, alignment: segment.alignment, owner: owner, type: type, into: &found)
    }
    guard found.isEmpty else { return found }
    for section in sections where section.type == Section.note {
      let notes = try file.view(at: section.offset, count: section.size, named: "note section")
      try Self.collect(notes, alignment: section.alignment, owner: owner, type: type, into: &found)
    }
    return found
  }

  /// Walks over one row of notes: three 32-bit words (size of the owner, size of the descriptor, type), the owner ended
  /// by NUL, the descriptor; owner and descriptor are padded.
  private static func collect(
    _ notes: ELFView, alignment: UInt64, owner: String, type: UInt32, into found: inout [NoteDescriptor]
  ) throws(IdentityError.Cause) {
    // Notes are aligned to 4, except in segments that say 8 (as .note.gnu.property does).
    let mask: UInt64 = alignment == 8 ? 7 : 3
    let ownerBytes = Array(owner.utf8) + [0]
    let headerSize: UInt64 = 12
    var offset: UInt64 = 0
    while offset < notes.count, UInt64(notes.count) - offset >= headerSize {
      // Sums of 32-bit sizes and an offset within the file cannot overflow 64 bits.
      let ownerSize = UInt64(try notes.integer(UInt32.self, at: offset))
      let descriptorSize = UInt64(try notes.integer(UInt32.self, at: offset + 4))
      let noteType = try notes.integer(UInt32.self, at: offset + 8)
      let ownerOffset = offset + headerSize
      let descriptorOffset = (ownerOffset + ownerSize + mask) & ~mask
      if noteType == type, ownerSize == ownerBytes.count, notes.starts(with: ownerBytes, at: ownerOffset) {
        found.append(try notes.view(at: descriptorOffset, count: descriptorSize, named: "note"))
      }
      offset = (descriptorOffset + descriptorSize + mask) & ~mask
    }
  }
}
