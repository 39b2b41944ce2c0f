# What the ABI check and Scripts/abi-baseline share: the ABI that a folder of headers declares, as libabigail's XML.
baseline=Tests/ABI/baseline.abi

abi_of() { # abi_of INCLUDE-FOLDER OUTPUT
    include=$(cd "$1" && pwd)
    declarations "$1" | awk -f Scripts/lib/witness.awk >"$scratch/witness.c"
    # From its own folder: the file's path is part of the debug information, and has to be the same everywhere.
    (cd "$scratch" && gcc -std=c17 -g -fPIC -shared -fvisibility=hidden -I"$include" witness.c -o witness.so) &&
        abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --out-file "$2" "$scratch/witness.so"
}

# The line that CHANGELOG.md has to hold for the committed baseline.
baseline_line() { echo "ABI baseline: $(sha256sum "$baseline" | cut -c 1-12)"; }
