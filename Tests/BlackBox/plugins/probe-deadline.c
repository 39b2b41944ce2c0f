/* Takes its time: handlers of every class that return, fail or complete after so many milliseconds. */
#include <mews/plugin.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    mews_plugin *self;
    /* Handlers that were called, that have returned, that were told that they are late, that found their request
       changed. */
    atomic_uint called, returned, gone, changed;
    _Atomic mews_token held;
} probe;

static void sleep_ms(unsigned long milliseconds) {
    struct timespec time = {.tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static unsigned long requested_ms(mews_exchange *exchange) {
    mews_text text = mews_query_parameter(exchange, "ms");
    return text.data == NULL ? 0 : strtoul(text.data, NULL, 10);
}

/* Whether all of a body is one letter. */
static bool is_uniform(mews_bytes body) {
    const unsigned char *bytes = body.data;
    for (size_t i = 1; i < body.length; i++) {
        if (bytes[i] != bytes[0]) return false;
    }
    return true;
}

/* Sleeps ms milliseconds, then responds with the first letter of the body, or fails when fail is given. */
static mews_result slow(mews_exchange *exchange, void *state) {
    (void)state;
    atomic_fetch_add(&probe.called, 1);
    mews_bytes body = mews_request_body(exchange);
    char letter = body.length > 0 ? (char)body.data[0] : '-';
    sleep_ms(requested_ms(exchange));
    mews_token token;
    mews_result result = mews_exchange_retain(exchange, &token);
    if (result != MEWS_OK) return result;
    if (mews_token_status(token) == MEWS_E_GONE) atomic_fetch_add(&probe.gone, 1);
    mews_token_release(token);
    body = mews_request_body(exchange);
    if (body.length > 0 && ((char)body.data[0] != letter || !is_uniform(body))) {
        atomic_fetch_add(&probe.changed, 1);
    }
    atomic_fetch_add(&probe.returned, 1);
    if (mews_query_parameter(exchange, "fail").data != NULL) return MEWS_E_FAILED;
    return mews_respond(exchange, 200, "text/plain", &letter, 1);
}

/* Leaves the response pending; /held then completes it, and says what that is answered. */
static mews_result hold(mews_exchange *exchange, void *state) {
    (void)state;
    mews_token token;
    mews_result result = mews_exchange_retain(exchange, &token);
    if (result != MEWS_OK) return result;
    mews_token before = atomic_exchange(&probe.held, token);
    if (before != 0) mews_token_release(before);
    return MEWS_PENDING;
}

static mews_result held(mews_exchange *exchange, void *state) {
    (void)state;
    mews_token token = atomic_exchange(&probe.held, 0);
    mews_result status = mews_token_status(token);
    mews_result completed = mews_complete(token, 200, "text/plain", "held", 4);
    mews_result again = mews_token_release(token);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d", (int)status, (int)completed, (int)again);
}

static mews_result counts(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%u %u %u %u", atomic_load(&probe.called),
        atomic_load(&probe.returned), atomic_load(&probe.gone), atomic_load(&probe.changed));
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    probe.self = self;
    static const struct {
        const char *pattern;
        mews_execution execution;
        uint32_t handler_timeout_ms;
        mews_handler handler;
    } routes[] = {
        {"/deadline/worker", MEWS_EXECUTION_WORKER, 100, slow},
        {"/deadline/blocking", MEWS_EXECUTION_BLOCKING, 100, slow},
        {"/deadline/inline", MEWS_EXECUTION_INLINE, 100, slow},
        {"/deadline/second", MEWS_EXECUTION_BLOCKING, 1000, slow},
        {"/deadline/long", MEWS_EXECUTION_BLOCKING, 60000, slow},
        {"/deadline/none", MEWS_EXECUTION_BLOCKING, MEWS_HANDLER_TIMEOUT_NONE, slow},
        {"/deadline/host", MEWS_EXECUTION_BLOCKING, 0, slow},
        {"/deadline/hold", MEWS_EXECUTION_WORKER, 100, hold},
        {"/deadline/hold-inline", MEWS_EXECUTION_INLINE, 100, hold},
        {"/deadline/held", MEWS_EXECUTION_BLOCKING, 0, held},
        {"/deadline/counts", MEWS_EXECUTION_INLINE, 0, counts},
    };
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
        options.execution = routes[i].execution;
        options.handler_timeout_ms = routes[i].handler_timeout_ms;
        mews_result result = mews_route_with(self, "*", routes[i].pattern, routes[i].handler, &options);
        if (result != MEWS_OK) return result;
    }
    return MEWS_OK;
}

static void stop(mews_plugin *self, void *state) {
    (void)self, (void)state;
    mews_token token = atomic_exchange(&probe.held, 0);
    if (token != 0) mews_token_release(token);
}

MEWS_PLUGIN_WITH_STOP("probe-deadline", "1.0.0", start, stop)
