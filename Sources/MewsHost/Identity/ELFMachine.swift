/// The processor that an ELF file is for (System V gABI, e_machine).
struct ELFMachine: Equatable {
  let code: UInt16

  #if arch(x86_64)
    static let host = ELFMachine(code: 62)
  #elseif arch(arm64)
    static let host = ELFMachine(code: 183)
  #elseif arch(riscv64)
    static let host = ELFMachine(code: 243)
  #endif

  /// The processor's usual name.
  var name: String {
    switch code {
    case 3: "x86"
    case 8: "MIPS"
    case 20: "PowerPC"
    case 21: "PowerPC64"
    case 22: "S/390"
    case 40: "ARM"
    case 43: "SPARC V9"
    case 62: "x86-64"
    case 183: "AArch64"
    case 243: "RISC-V"
    case 247: "BPF"
    case 258: "LoongArch"
    default: "machine type \(code)"
    }
  }
}
