/*
 * A program with a main loop of its own that also answers HTTP: it measures something ten times a second, and serves
 * what it measured. The server runs on its own threads beside the loop.
 *
 *   cc embedded.c -o embedded $(pkg-config --cflags --libs mews)
 *   ./embedded http://127.0.0.1:8080
 *   curl http://127.0.0.1:8080/measurements
 */
#define _POSIX_C_SOURCE 200809L

#include <mews/mews.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

/* Written by the main loop, read by handlers on the server's threads. */
struct station {
    atomic_ullong measurements;
    atomic_ullong requests;
};

static mews_result show_measurements(mews_exchange *exchange, void *state) {
    struct station *station = state;
    atomic_fetch_add_explicit(&station->requests, 1, memory_order_relaxed);
    unsigned long long count = atomic_load_explicit(&station->measurements, memory_order_relaxed);
    return mews_respond_format(exchange, 200, "text/plain", "%llu measurements\n", count);
}

/* Timers are one-shot: one that is to come again starts the next. */
enum { REPORT_INTERVAL_MS = 1000 };

static void report(mews_plugin *self, void *context) {
    struct station *station = context;
    mews_log(self, MEWS_LEVEL_INFO, "%llu measurements, %llu requests",
        atomic_load(&station->measurements), atomic_load(&station->requests));
    /* Fails when the server stops, which is when the reports are to end. */
    (void)mews_timer_start(self, REPORT_INTERVAL_MS, report, station, NULL);
}

/* The library writes to no stream by itself; what it says comes here, one line a call, from any of its threads. */
static void write_log(void *context, mews_level level, mews_text source, mews_text text) {
    static const char *const names[] = {"debug", "info", "warning", "error"};
    const char *name = level <= MEWS_LEVEL_ERROR ? names[level] : "unknown";
    fprintf(context, "%s %.*s: %.*s\n", name, MEWS_TEXT_ARG(source), MEWS_TEXT_ARG(text));
}

static void run_main_loop(struct station *station) {
    const struct timespec interval = {.tv_nsec = 100 * 1000 * 1000};
    while (!interrupted) {
        nanosleep(&interval, NULL);
        atomic_fetch_add_explicit(&station->measurements, 1, memory_order_relaxed);
    }
}

int main(int argc, char **argv) {
    const char *url = argc > 1 ? argv[1] : "http://127.0.0.1:8080";
    struct station station = {0};
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 1;
    options.workers = 1;
    options.log = write_log;
    options.log_context = stderr;
    options.log_level = MEWS_LEVEL_INFO;
    options.drain_timeout_ms = 5000;

    mews_server *server = NULL;
    uint16_t port = 0;
    mews_result result = mews_server_create(&options, &server);
    if (result == MEWS_OK) result = mews_server_route(server, "GET", "/measurements", show_measurements, &station);
    if (result == MEWS_OK) result = mews_server_listen(server, url, &port);
    if (result == MEWS_OK) result = mews_server_start(server);
    if (result == MEWS_OK) {
        fprintf(stderr, "listening on port %u\n", (unsigned)port);
        report(mews_server_plugin(server), &station);
        run_main_loop(&station);
        mews_server_stop(server);
        result = mews_server_wait(server);
    }
    if (result != MEWS_OK) {
        fprintf(stderr, "%s: %s\n", mews_result_text(result), server != NULL ? mews_server_error(server) : "");
    }
    mews_server_destroy(server);
    return result == MEWS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
