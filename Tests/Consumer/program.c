/* A program outside the source tree: prints the version it was compiled with and the one it runs with. */
#include <mews/mews.h>
#include <stdio.h>

int main(void) {
    printf("%s %s\n", MEWS_VERSION_STRING, mews_version());
    return 0;
}
