/*
 * An HTTP server in a C program: one route, until Ctrl-C or SIGTERM.
 *
 *   cc hello-server.c -o hello-server $(pkg-config --cflags --libs mews)
 *   ./hello-server http://127.0.0.1:8080
 *   curl http://127.0.0.1:8080/hello/world
 *
 * With CMake: see CMakeLists.txt beside this file.
 */
#define _POSIX_C_SOURCE 200809L

#include <mews/mews.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* The signal handler has no argument to find the server by. Set before the handler is installed. */
static mews_server *server;

/* mews_server_stop is safe here: it asks, and main's mews_server_run returns when the requests in flight are done. */
static void stop_server(int signal_number) {
    (void)signal_number;
    mews_server_stop(server);
}

static mews_result hello(mews_exchange *exchange, void *state) {
    (void)state;
    mews_text name = mews_path_parameter(exchange, "name");
    return mews_respond_format(exchange, 200, "text/plain", "Hello, %.*s!\n", MEWS_TEXT_ARG(name));
}

/* A late signal must not reach a server that is freed. */
static void destroy_server(void) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    mews_server_destroy(server);
}

static int fail(const char *what, mews_result result) {
    const char *details = server != NULL ? mews_server_error(server) : "";
    fprintf(stderr, "%s: %s%s%s\n", what, mews_result_text(result), details[0] != '\0' ? ": " : "", details);
    destroy_server();
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    const char *url = argc > 1 ? argv[1] : "http://127.0.0.1:8080";
    mews_result result = mews_server_create(NULL, &server);
    if (result != MEWS_OK) return fail("create", result);

    result = mews_server_route(server, "GET", "/hello/{name}", hello, NULL);
    if (result != MEWS_OK) return fail("route", result);

    uint16_t port = 0;
    result = mews_server_listen(server, url, &port);
    if (result != MEWS_OK) return fail(url, result);

    struct sigaction action = {.sa_handler = stop_server, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    fprintf(stderr, "listening on port %u\n", (unsigned)port);
    result = mews_server_run(server);
    if (result != MEWS_OK) return fail("run", result);

    destroy_server();
    fputs("stopped\n", stderr);
    return EXIT_SUCCESS;
}
