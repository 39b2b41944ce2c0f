# Reads C headers and prints every declaration on one line, without comments, preprocessor lines and the brackets of
# MEWS_BEGIN_DECLARATIONS: "KIND<tab>FILE<tab>TEXT", where KIND is function, typedef, struct, enum or other.
FNR == 1 { text = ""; depth = 0; in_comment = 0; continued = 0 }

{
    line = $0
    # Comments, which may begin and end anywhere in a line or span several.
    kept = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (at == 0) { line = ""; break }
            line = substr(line, at + 2)
            in_comment = 0
        } else {
            at = index(line, "/*")
            if (at == 0) { kept = kept line; break }
            kept = kept substr(line, 1, at - 1) " "
            line = substr(line, at + 2)
            in_comment = 1
        }
    }
    # Preprocessor lines with their continuations.
    if (continued || kept ~ /^[ \t]*#/) { continued = (kept ~ /\\$/); next }
    gsub(/MEWS_(BEGIN|END)_DECLARATIONS/, "", kept)
    for (i = 1; i <= length(kept); i++) {
        character = substr(kept, i, 1)
        if (character == "{") depth++
        if (character == "}") depth--
        if (character == ";" && depth == 0) { emit(text); text = "" } else text = text character
    }
    text = text " "
}

function emit(declaration, kind) {
    gsub(/[ \t]+/, " ", declaration)
    gsub(/^ | $/, "", declaration)
    if (declaration == "") return
    if (declaration ~ /^MEWS_STATIC_ASSERT/) kind = "other"
    else if (declaration ~ /^enum/ || declaration ~ /^typedef enum/) kind = "enum"
    else if (declaration ~ /^(typedef )?struct.*\{/) kind = "struct"
    else if (declaration ~ /^typedef/) kind = "typedef"
    else if (declaration ~ /mews_[a-z0-9_]+ ?\(/) kind = "function"
    else kind = "other"
    print kind "\t" FILENAME "\t" declaration
}
