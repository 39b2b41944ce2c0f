# Moves what stands beyond LIMIT columns of a comment into its next line, or into a new line where the next one begins
# something else. Prints the file. Code is left as it is.
BEGIN { if (!LIMIT) LIMIT = 120 }
{ line[NR] = $0 }

END {
    for (i = 1; i <= NR; i++) {
        current = line[i]
        if (width(current) > LIMIT && current ~ /^[ \t]*\/\*.*\*\/[ \t]*$/) {
            open_block(current)
            continue
        }
        # A wrapped line may make the next one too long in its turn, which the loop then meets.
        if (width(current) > LIMIT && match(current, /^[ \t]*(\/\/\/?|\*)[ \t]+/)) {
            marker = substr(current, 1, RLENGTH)
            overflow = split_off()
            if (overflow != "") {
                if (continues(line[i + 1])) {
                    match(line[i + 1], /^[ \t]*(\/\/\/?|\*)[ \t]+/)
                    line[i + 1] = substr(line[i + 1], 1, RLENGTH) overflow " " substr(line[i + 1], RLENGTH + 1)
                } else {
                    print head
                    line[i] = hanging() overflow
                    i--
                    continue
                }
                current = head
            }
        }
        print current
    }
}

function width(text) { gsub(/[\200-\277]/, "", text); return length(text) }

# Cuts `current` at the last space within the limit: leaves `head`, returns the rest.
function split_off(at) {
    at = LIMIT + 1
    while (at > length(marker) && substr(current, at, 1) != " ") at--
    if (at <= length(marker)) { head = current; return "" }
    head = substr(current, 1, at - 1)
    sub(/[ \t]+$/, "", head)
    return substr(current, at + 1)
}

# Whether a line goes on with the sentence of `current`: the same kind of comment, indented as deep as what follows the
# name in "name  text", and beginning nothing of its own.
function continues(next_line, next_marker) {
    if (!match(next_line, /^[ \t]*(\/\/\/?|\*)[ \t]+/)) return 0
    next_marker = substr(next_line, 1, RLENGTH)
    if (next_line ~ /\*\/[ \t]*$/ && next_line ~ /^[ \t]*\*\//) return 0
    if (next_marker != hanging()) return 0
    next_line = substr(next_line, length(next_marker) + 1)
    return next_line !~ /^(Returns|Results|Thread:|- |[a-z_, ]+  )/
}

# What a line that goes on with `current` begins with.
function hanging(rest, extra) {
    rest = substr(current, length(marker) + 1)
    extra = 0
    if (match(rest, /^[A-Za-z_]+(, [A-Za-z_]+)*  +/)) extra = RLENGTH
    else if (match(rest, /^Returns /)) extra = RLENGTH
    else if (match(rest, /^- /)) extra = RLENGTH
    return marker sprintf("%" extra "s", "")
}

# A comment of one line becomes one of several.
function open_block(text, indentation) {
    match(text, /^[ \t]*/)
    indentation = substr(text, 1, RLENGTH)
    sub(/^[ \t]*\/\*[ \t]*/, "", text)
    sub(/[ \t]*\*\/[ \t]*$/, "", text)
    print indentation "/*"
    current = indentation " * " text
    marker = indentation " * "
    while (width(current) > LIMIT) {
        text = split_off()
        print head
        if (text == "") { current = ""; break }
        current = marker text
    }
    if (current != "") print current
    print indentation " */"
}
