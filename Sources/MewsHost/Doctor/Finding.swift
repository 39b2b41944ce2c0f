/// One thing that `mews doctor` has found.
struct Finding: Equatable {
  enum Mark: String {
    /// As it should be.
    case ok
    /// Mews runs, with less than the machine could give or more than it should.
    case note
    /// Mews cannot run.
    case problem
  }

  let mark: Mark
  /// What was looked at: a word or two.
  let subject: String
  /// What was found, and what it means here. A clause.
  let text: String
  /// What to do about it; nil when there is nothing to do.
  let advice: String?

  init(_ mark: Mark, _ subject: String, _ text: String, advice: String? = nil) {
    self.mark = mark
    self.subject = subject
    self.text = text
    self.advice = advice
  }
}
