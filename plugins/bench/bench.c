/*
 * Routes to measure a server with.
 *
 *   GET  /plaintext    13 bytes of text
 *   GET  /json         {"message":"Hello, World!"}, built for each request
 *   POST /echo         the body back, with its content type
 *   POST /upload       the number of bytes of the body
 *   GET  /sleep/{ms}   blocks the calling thread for 0 to 60,000 milliseconds
 *   GET  /spin/{us}    burns CPU for 0 to 60,000,000 microseconds
 *   GET  /mixed        as /plaintext, but sleeps 50 milliseconds in one of 1,000 calls
 *
 * /auto/plaintext, /auto/sleep/{ms}, /auto/spin/{us} and /auto/mixed do the same and are declared as nothing: how they
 * are run is for the host to learn.
 *
 * The first four are short and never wait, so they run on the I/O thread; --set bench.execution=worker sends them to
 * workers, which is how the cost of that hop is measured. /sleep runs on a worker; --set bench.sleep=blocking declares
 * that it sleeps, and --set bench.sleep=default leaves it to the host. /spin and /mixed run on workers.
 */
#define _POSIX_C_SOURCE 200809L

#include <mews/plugin.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { MAXIMUM_SLEEP_MS = 60 * 1000, MAXIMUM_SPIN_US = 60 * 1000 * 1000 };

static mews_result plaintext(mews_exchange *exchange, void *state) {
    (void)state;
    static const char greeting[] = "Hello, World!";
    return mews_respond(exchange, 200, "text/plain", greeting, sizeof greeting - 1);
}

/*
 * Writes text as a JSON string (RFC 8259, 7) and returns where it ends: at most 6 bytes for each of text, and 2 quotes.
 */
static char *write_json_string(char *out, const char *text) {
    static const char digits[] = "0123456789abcdef";
    *out++ = '"';
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20) {
            memcpy(out, "\\u00", 4);
            out[4] = digits[byte >> 4];
            out[5] = digits[byte & 15];
            out += 6;
            continue;
        }
        if (byte == '"' || byte == '\\') *out++ = '\\';
        *out++ = *text;
    }
    *out++ = '"';
    return out;
}

static mews_result json(mews_exchange *exchange, void *state) {
    (void)state;
    char body[128];
    char *end = body;
    *end++ = '{';
    end = write_json_string(end, "message");
    *end++ = ':';
    end = write_json_string(end, "Hello, World!");
    *end++ = '}';
    return mews_respond(exchange, 200, "application/json", body, (size_t)(end - body));
}

static mews_result echo(mews_exchange *exchange, void *state) {
    (void)state;
    static const mews_text name = {"Content-Type", sizeof "Content-Type" - 1};
    mews_text type = mews_request_header(exchange, name.data);
    if (type.data != NULL) {
        mews_result result = mews_response_header_text(exchange, name, type);
        if (result != MEWS_OK) return result;
    }
    mews_bytes body = mews_request_body(exchange);
    return mews_respond(exchange, 200, NULL, body.data, body.length);
}

static mews_result upload(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%zu\n", mews_request_body(exchange).length);
}

/* Reads a decimal number from 0 to maximum. */
static bool read_number(mews_text text, uint64_t maximum, uint64_t *number) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
        if (value > maximum) return false;
    }
    *number = value;
    return text.length > 0;
}

static mews_result sleep_for(mews_exchange *exchange, void *state) {
    (void)state;
    uint64_t ms;
    if (!read_number(mews_path_parameter(exchange, "ms"), MAXIMUM_SLEEP_MS, &ms)) {
        return mews_respond_format(exchange, 400, "text/plain", "milliseconds: 0 to %d\n", MAXIMUM_SLEEP_MS);
    }
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
    return mews_respond_format(exchange, 200, "text/plain", "slept %llu ms\n", (unsigned long long)ms);
}

static mews_result spin(mews_exchange *exchange, void *state) {
    (void)state;
    uint64_t us;
    if (!read_number(mews_path_parameter(exchange, "us"), MAXIMUM_SPIN_US, &us)) {
        return mews_respond_format(exchange, 400, "text/plain", "microseconds: 0 to %d\n", MAXIMUM_SPIN_US);
    }
    uint64_t end = mews_clock_monotonic_ns() + us * 1000;
    while (mews_clock_monotonic_ns() < end) continue;
    return mews_respond_format(exchange, 200, "text/plain", "spun %llu us\n", (unsigned long long)us);
}

static mews_result mixed(mews_exchange *exchange, void *state) {
    static atomic_uint calls;
    /* The number of the call, its bits mixed until they look random (as MurmurHash3 ends). */
    uint32_t number = atomic_fetch_add(&calls, 1);
    number = (number ^ number >> 16) * 0x85ebca6bu;
    number = (number ^ number >> 13) * 0xc2b2ae35u;
    if ((number ^ number >> 16) < UINT32_MAX / 1000) {
        struct timespec left = {.tv_nsec = 50 * 1000000};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
    }
    return plaintext(exchange, state);
}

static const struct {
    const char *method, *pattern;
    mews_handler handler;
    mews_execution execution;
} routes[] = {
    {"GET", "/plaintext", plaintext, MEWS_EXECUTION_INLINE},
    {"GET", "/json", json, MEWS_EXECUTION_INLINE},
    {"POST", "/echo", echo, MEWS_EXECUTION_INLINE},
    {"POST", "/upload", upload, MEWS_EXECUTION_INLINE},
    {"GET", "/sleep/{ms}", sleep_for, MEWS_EXECUTION_WORKER},
    {"GET", "/spin/{us}", spin, MEWS_EXECUTION_WORKER},
    {"GET", "/mixed", mixed, MEWS_EXECUTION_WORKER},
    {"GET", "/auto/plaintext", plaintext, MEWS_EXECUTION_DEFAULT},
    {"GET", "/auto/sleep/{ms}", sleep_for, MEWS_EXECUTION_DEFAULT},
    {"GET", "/auto/spin/{us}", spin, MEWS_EXECUTION_DEFAULT},
    {"GET", "/auto/mixed", mixed, MEWS_EXECUTION_DEFAULT},
};

/* Reads the setting "sleep": how the calls of /sleep are run. */
static mews_result read_sleep_execution(mews_plugin *self, mews_execution *execution) {
    static const struct {
        const char *name;
        mews_execution execution;
    } choices[] = {
        {"worker", MEWS_EXECUTION_WORKER}, {"blocking", MEWS_EXECUTION_BLOCKING}, {"default", MEWS_EXECUTION_DEFAULT}};
    mews_text value = mews_setting(self, "sleep");
    if (value.data == NULL) return MEWS_OK;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(value.data, choices[i].name) != 0) continue;
        *execution = choices[i].execution;
        return MEWS_OK;
    }
    return mews_fail(self, "sleep is \"%.*s\"; it may be worker, blocking or default", MEWS_TEXT_ARG(value));
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    mews_execution sleep_execution = MEWS_EXECUTION_WORKER;
    mews_result read = read_sleep_execution(self, &sleep_execution);
    if (read != MEWS_OK) return read;
    mews_text execution = mews_setting(self, "execution");
    bool workers_only = execution.data != NULL && strcmp(execution.data, "worker") == 0;
    if (execution.data != NULL && !workers_only) {
        return mews_fail(self, "execution is \"%.*s\"; \"worker\" is the only value", MEWS_TEXT_ARG(execution));
    }
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
        options.execution = workers_only ? MEWS_EXECUTION_WORKER : routes[i].execution;
        if (strcmp(routes[i].pattern, "/sleep/{ms}") == 0) options.execution = sleep_execution;
        mews_result result = mews_route_with(self, routes[i].method, routes[i].pattern, routes[i].handler, &options);
        if (result != MEWS_OK) return result;
    }
    return MEWS_OK;
}

MEWS_PLUGIN("bench", "1.0.0", start)
