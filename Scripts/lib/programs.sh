# The programs of Tests/BlackBox/programs, for scripts that run them by themselves. They are built with the compiler
# that MEWS_CC names, with its flags (cc), against build/ or the tree that MEWS_BUILD names.
tree=${MEWS_BUILD:-$PWD/build}
export PKG_CONFIG_PATH="$tree/lib/pkgconfig" LD_LIBRARY_PATH="$tree/lib"
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT

build_program() { # build_program NAME [SOURCE...]: builds NAME.c, with more sources, as $programs/NAME
    built=$programs/$1
    sources=
    for source in "$@"; do sources="$sources Tests/BlackBox/programs/$source.c"; done
    # shellcheck disable=SC2046,SC2086 # lists of words
    ${MEWS_CC:-cc} -O2 -g -Wall -Wextra -Werror -pthread $sources -o "$built" $(pkg-config --cflags --libs mews)
}
