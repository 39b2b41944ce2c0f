/* A program that runs a server: C and C++ alike. */
#include <mews/server.h>
#include <stdio.h>

static mews_result hello(mews_exchange *exchange, void *state) {
    mews_token token = 0;
    (void)state;
    if (mews_exchange_retain(exchange, &token) == MEWS_OK) mews_token_release(token);
    return mews_respond(exchange, 200, "text/plain", "hello\n", 6);
}

static void write_log(void *context, mews_level level, mews_text source, mews_text text) {
    (void)context;
    fprintf(stderr, "%u %.*s: %.*s\n", (unsigned)level, MEWS_TEXT_ARG(source), MEWS_TEXT_ARG(text));
}

int main(int argc, char **argv) {
    mews_server *server = NULL;
    uint16_t port = 0;
    mews_result result;
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.log = write_log;
    if (argc > 1) return mews_main(argc, argv);
    if (mews_server_create(&options, &server) != MEWS_OK) return 1;
    if (mews_server_route(server, "GET", "/", hello, NULL) != MEWS_OK) return 1;
    if (mews_server_listen(server, "http://127.0.0.1:0", &port) != MEWS_OK) return 1;
    result = mews_server_run(server);
    if (result != MEWS_OK) fprintf(stderr, "%s\n", mews_result_text(result));
    mews_server_destroy(server);
    return result == MEWS_OK ? 0 : 1;
}
