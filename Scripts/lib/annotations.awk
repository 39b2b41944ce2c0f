# Reads the output of declarations.awk twice and prints what lacks an annotation: a function without exactly one thread
# macro, a pointer or callback without a nullability macro.
BEGIN { FS = "\t" }

# First reading: the names of the callback types, which are pointers without a star.
NR == FNR {
    if ($1 == "typedef" && match($3, /\(\*[a-z0-9_]+\)/)) callback[substr($3, RSTART + 2, RLENGTH - 3)] = 1
    next
}

$1 == "function" {
    rest = $3
    if (gsub(/MEWS_(ANY_THREAD|IN_HANDLER|IN_START|IN_SETUP) /, "", rest) != 1) report("needs exactly one thread macro")
}

$1 == "function" || $1 == "struct" || $1 == "typedef" {
    rest = $3
    gsub(/\(\*[a-z0-9_]+\)/, "()", rest)
    gsub(/\* ?MEWS_(REQUIRED|NULLABLE|NONNULL)/, "", rest)
    if (rest ~ /\*/) report("has a pointer without MEWS_REQUIRED, MEWS_NULLABLE or MEWS_NONNULL")

    count = split($3, words, /[^A-Za-z0-9_]+/)
    for (i = 1; i < count; i++)
        if (words[i] in callback && words[i + 1] !~ /^MEWS_(REQUIRED|NULLABLE|NONNULL)$/)
            if ($1 != "typedef") report("takes a " words[i] " without MEWS_REQUIRED, MEWS_NULLABLE or MEWS_NONNULL")
}

# An argument is the caller's: NONNULL is for what the library hands out.
$1 == "function" && match($3, /\(.*\)/) {
    arguments = substr($3, RSTART, RLENGTH)
    count = split(arguments, argument, /,/)
    for (i = 1; i <= count; i++)
        if (argument[i] ~ /MEWS_NONNULL [a-z0-9_]+\)?$/) report("has an argument with MEWS_NONNULL: MEWS_REQUIRED or MEWS_NULLABLE")
}

function report(what) { print $2 ": " what ": " $3 }
