# Prints Swift or C sources with comments taken out and text literals emptied, as "FILE:LINE:TEXT".
FNR == 1 { nesting = 0; in_text_block = 0 }
{
    line = $0
    code = ""
    while (line != "") {
        if (in_text_block) {
            at = index(line, "\"\"\"")
            if (at == 0) break
            in_text_block = 0
            line = substr(line, at + 3)
        } else if (nesting > 0) {
            if (!match(line, /\/\*|\*\//)) break
            nesting += substr(line, RSTART, 2) == "/*" ? 1 : -1
            line = substr(line, RSTART + 2)
        } else {
            if (!match(line, /\/\/|\/\*|"/)) { code = code line; break }
            start = substr(line, RSTART, 2)
            code = code substr(line, 1, RSTART - 1)
            line = substr(line, RSTART)
            if (start == "//") break
            if (start == "/*") { nesting = 1; line = substr(line, 3) }
            else if (substr(line, 1, 3) == "\"\"\"") { in_text_block = 1; line = substr(line, 4) }
            else if (match(line, /^"([^"\\]|\\.)*"/)) { code = code "\"\""; line = substr(line, RLENGTH + 1) }
            else { code = code "\""; line = substr(line, 2) }
        }
    }
    if (code !~ /^[ \t]*$/) print FILENAME ":" FNR ":" code
}
