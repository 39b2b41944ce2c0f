# Reads the output of declarations.awk and prints the witness library: a C file that defines every function of the headers
# with an empty body, and shows every type and every constant in an exported symbol, so that debug information (which is
# what the ABI tools read) holds all of them. Nothing is listed by hand.
BEGIN {
    FS = "\t"
    print "#include <mews/mews.h>"
    print "#define WITNESS __attribute__((visibility(\"default\")))"
}

$1 == "function" {
    declaration = $3
    sub(/ *MEWS_PRINTF_\([^)]*\)/, "", declaration)  # an attribute cannot follow the declarator of a definition
    match(declaration, /mews_[a-z0-9_]+ ?\(/)
    result = substr(declaration, 1, RSTART - 1)
    gsub(/MEWS_[A-Z_]+ /, "", result)
    if (result ~ /^ *void *$/) print "WITNESS " declaration " {}"
    else print "WITNESS " declaration " { static " result " witness_result; return witness_result; }"
}

# A type shows as the parameter of a function; for an opaque struct that is a pointer to it.
$1 == "typedef" || $1 == "struct" {
    name = $3
    if (match(name, /\(\*[a-z0-9_]+\)/)) name = substr(name, RSTART + 2, RLENGTH - 3)
    else sub(/.*[ }]/, "", name)
    print "WITNESS void witness_type_" name "(" name " *value); void witness_type_" name "(" name " *value) { (void)value; }"
}

# A constant shows as the length of an array: debug information drops enumerations without a name.
$1 == "enum" {
    body = $3
    sub(/^[^{]*\{/, "", body)
    sub(/\}.*/, "", body)
    count = split(body, constant, ",")
    for (i = 1; i <= count; i++) {
        name = constant[i]
        gsub(/=.*| /, "", name)
        if (name != "") print "WITNESS const char witness_constant_" name "[(" name ") + 4096] = {0};"
    }
}
