/// A text from outside in a form that cannot break the line it is shown in: control characters become `\xNN`, and what
/// is longer than 200 characters is cut.
func printable(_ text: String) -> String {
  var result = ""
  for (index, character) in text.unicodeScalars.enumerated() {
    if index == 200 { return result + "..." }
    if character.value < 0x20 || (0x7F..<0xA0).contains(character.value) {
      let digits = String(character.value, radix: 16, uppercase: true)
      result += "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
    } else {
      result.unicodeScalars.append(character)
    }
  }
  return result
}
