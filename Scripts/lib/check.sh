# What the checks in Scripts/checks share. Each goes to the top of the tree and sources this file.
# A check prints one line when it passes; when it fails it prints what is wrong and how to mend it, and exits 1.

check_name=$(basename "$0")
build=${BUILD:-build}

# A folder for the check's own files, removed at its end.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

passed() { echo "passed: $check_name: $*"; }

failed() {
    echo "FAILED: $check_name: $*" >&2
    exit 1
}

# Fails when a report file has any line, and shows it.
fail_on_findings() { # fail_on_findings FILE WHAT
    [ -s "$1" ] || return 0
    sed 's/^/  /' "$1" >&2
    failed "$2"
}

# The clang of the Swift toolchain, which may not be on the PATH.
toolchain_clang() {
    command -v clang 2>/dev/null && return
    resources=$(swift -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
    echo "$resources/../../bin/clang"
}

headers() { ls "${1:-Include}"/mews/*.h; }
declarations() { headers "${1:-Include}" | xargs awk -f Scripts/lib/declarations.awk; }

# The names of the functions that the headers declare, sorted.
declared_functions() {
    declarations "${1:-Include}" | sed -n 's/^function\t[^\t]*\t[^(]*[ *]\(mews_[a-z0-9_]*\) \{0,1\}(.*/\1/p' | sort
}
