/// Numbers in arguments.
enum DecimalNumber {
  /// Reads a number of digits only, without sign or space. Nil for other texts and numbers out of range.
  static func parse(_ text: some StringProtocol, in range: ClosedRange<Int>) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let number = Int(text), range.contains(number)
    else { return nil }
    return number
  }
}
