/* The mews command. All of it is in libmews.so.0, so that a process never holds two copies of the core. */
#include <mews/server.h>

int main(int argc, char **argv) { return mews_main(argc, argv); }
