/// The date format of HTTP: IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
public enum HTTPDate {
  /// The length of every date.
  public static var length: Int { @_noLocks get { 29 } }

  /// Writes a date.
  ///
  /// - Parameters:
  ///   - secondsSince1970: Unix time; brought into the years 1 to 9999, the ones that the format has digits for.
  ///   - output: has room for `length` bytes.
  /// - Returns: `length`.
  @_noLocks
  public static func write(secondsSince1970: Int64, to output: UnsafeMutablePointer<UInt8>) -> Int {
    let seconds = min(max(secondsSince1970, -62_135_596_800), 253_402_300_799)
    let secondsOfDay = ((seconds % 86400) &+ 86400) % 86400
    let days = (seconds &- secondsOfDay) / 86400
    let date = civilDate(days)
    // 1 January 1970 was a Thursday, the fourth day after Sunday.
    let weekday = ((days &+ 4) % 7 &+ 7) % 7
    write("SunMonTueWedThuFriSat", weekday, to: output)
    output[3] = ASCII.comma
    output[4] = ASCII.space
    writePair(date.day, to: output + 5)
    output[7] = ASCII.space
    write("JanFebMarAprMayJunJulAugSepOctNovDec", date.month &- 1, to: output + 8)
    output[11] = ASCII.space
    writePair(date.year / 100, to: output + 12)
    writePair(date.year % 100, to: output + 14)
    output[16] = ASCII.space
    writePair(secondsOfDay / 3600, to: output + 17)
    output[19] = ASCII.colon
    writePair(secondsOfDay / 60 % 60, to: output + 20)
    output[22] = ASCII.colon
    writePair(secondsOfDay % 60, to: output + 23)
    return 25 &+ ResponseWriter.writeText(" GMT", to: output + 25)
  }

  /// The date of a day in the Gregorian calendar, counted from 1 January 1970. The year is taken to start in March, so
  /// that the leap day is its last one; 400 years are one cycle of 146,097 days.
  @_noLocks
  private static func civilDate(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let sinceMarchOfYearZero = days &+ 719_468
    let cycle = sinceMarchOfYearZero / 146_097
    let dayOfCycle = sinceMarchOfYearZero % 146_097
    let yearOfCycle = (dayOfCycle &- dayOfCycle / 1460 &+ dayOfCycle / 36524 &- dayOfCycle / 146_096) / 365
    let dayOfYear = dayOfCycle &- (365 &* yearOfCycle &+ yearOfCycle / 4 &- yearOfCycle / 100)
    let monthFromMarch = (5 &* dayOfYear &+ 2) / 153
    let day = dayOfYear &- (153 &* monthFromMarch &+ 2) / 5 &+ 1
    let month = monthFromMarch < 10 ? monthFromMarch &+ 3 : monthFromMarch &- 9
    let year = yearOfCycle &+ cycle &* 400 &+ (month <= 2 ? 1 : 0)
    return (year, month, day)
  }

  /// Copies the three letters of a name out of a row of names.
  @_noLocks @inline(__always)
  private static func write(_ names: StaticString, _ index: Int64, to output: UnsafeMutablePointer<UInt8>) {
    UnsafeMutableRawPointer(output).copyMemory(from: names.utf8Start + Int(index) &* 3, byteCount: 3)
  }

  @_noLocks @inline(__always)
  private static func writePair(_ value: Int64, to output: UnsafeMutablePointer<UInt8>) {
    ResponseWriter.writePair(UInt64(truncatingIfNeeded: value), to: output)
  }
}
