/* Uses exchanges when and where it may not, and shows what the functions answer then. */
#include <mews/plugin.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a handler left behind, on purpose: its borrowed pointer, a token, and a view of its memory. */
static struct {
    mews_exchange *exchange;
    mews_token token;
    char *memory;
    mews_text path;
} kept;

static mews_result token_in_handler(mews_exchange *exchange, void *state) {
    (void)state;
    mews_token first = 0, second = 0;
    mews_result retained = mews_exchange_retain(exchange, &first);
    mews_result again = mews_exchange_retain(exchange, &second);
    mews_result status = mews_token_status(first);
    mews_result released = mews_token_release(first);
    mews_result other = mews_token_release(second);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d %d %d", (int)retained, (int)again, (int)status,
        (int)released, (int)other, first != 0 && second != 0);
}

static mews_result token_invalid(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d", (int)mews_token_status(0),
        (int)mews_token_release(0), (int)mews_token_status(UINT64_MAX), (int)mews_token_release(UINT64_MAX));
}

static mews_result keep(mews_exchange *exchange, void *state) {
    (void)state;
    char *memory = mews_alloc(exchange, 64);
    if (memory == NULL) return MEWS_E_NO_MEMORY;
    memset(memory, 'k', 64);
    pthread_mutex_lock(&lock);
    mews_result result = mews_exchange_retain(exchange, &kept.token);
    kept.exchange = exchange;
    kept.memory = memory;
    kept.path = mews_request_path(exchange);
    pthread_mutex_unlock(&lock);
    if (result != MEWS_OK) return result;
    return mews_respond(exchange, 200, "text/plain", "kept", 4);
}

/* The state of the token that `keep` left behind. */
static mews_result kept_status(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&lock);
    mews_result status = mews_token_status(kept.token);
    pthread_mutex_unlock(&lock);
    return mews_respond_format(exchange, 200, "text/plain", "%d", (int)status);
}

/* Another request uses what `keep` left behind, after that exchange is over. */
static mews_result late(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&lock);
    mews_result response = mews_respond(kept.exchange, 200, "text/plain", "stolen", 6);
    mews_result header = mews_response_header(kept.exchange, "X-Stolen", "1");
    bool method_absent = mews_request_method(kept.exchange).data == NULL;
    bool no_memory = mews_alloc(kept.exchange, 16) == NULL;
    bool memory_kept = true;
    for (int i = 0; i < 64; i++) memory_kept = memory_kept && kept.memory[i] == 'k';
    bool path_kept = kept.path.length == strlen("/keep") && memcmp(kept.path.data, "/keep", kept.path.length) == 0;
    pthread_mutex_unlock(&lock);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d %d %d", (int)response, (int)header,
        method_absent, no_memory, memory_kept, path_kept);
}

static mews_result release_kept(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&lock);
    mews_result first = mews_token_release(kept.token);
    mews_result second = mews_token_release(kept.token);
    pthread_mutex_unlock(&lock);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d", (int)first, (int)second);
}

struct foreign_use {
    mews_exchange *exchange;
    mews_token token;
    mews_result respond, header, retain, status;
    bool method_absent;
};

static void *use_from_foreign_thread(void *argument) {
    struct foreign_use *use = argument;
    mews_token token = 0;
    use->respond = mews_respond(use->exchange, 200, "text/plain", "foreign", 7);
    use->header = mews_response_header(use->exchange, "X-Foreign", "1");
    use->retain = mews_exchange_retain(use->exchange, &token);
    use->status = mews_token_status(use->token);
    use->method_absent = mews_request_method(use->exchange).data == NULL;
    return NULL;
}

/* A thread of the plugin's own uses the borrowed pointer while the handler is running: only the token may serve it. */
static mews_result foreign_thread(mews_exchange *exchange, void *state) {
    (void)state;
    struct foreign_use use = {.exchange = exchange};
    mews_result result = mews_exchange_retain(exchange, &use.token);
    if (result != MEWS_OK) return result;
    pthread_t thread;
    if (pthread_create(&thread, NULL, use_from_foreign_thread, &use) != 0) return MEWS_E_SYSTEM;
    pthread_join(thread, NULL);
    result = mews_token_release(use.token);
    if (result != MEWS_OK) return result;
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d %d", (int)use.respond, (int)use.header,
        (int)use.retain, (int)use.status, use.method_absent);
}

static mews_result memory(mews_exchange *exchange, void *state) {
    (void)state;
    bool aligned = true, distinct = true;
    char *previous = NULL;
    for (size_t size = 1; size <= 20000; size = size * 3 + 1) {
        char *bytes = mews_alloc(exchange, size);
        if (bytes == NULL) return MEWS_E_NO_MEMORY;
        memset(bytes, 'm', size);
        aligned = aligned && (uintptr_t)bytes % 16 == 0;
        distinct = distinct && bytes != previous;
        previous = bytes;
    }
    char *large = mews_alloc(exchange, 1 << 20);
    if (large == NULL) return MEWS_E_NO_MEMORY;
    memset(large, 'l', 1 << 20);
    bool zero = mews_alloc(exchange, 0) == NULL;
    bool huge = mews_alloc(exchange, ((size_t)1 << 30) + 1) == NULL;
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d", aligned, distinct, zero, huge);
}

/* The header marks these arguments as never NULL; a caller's mistake must not take the process down. */
static mews_result null_arguments(mews_exchange *exchange, void *state) {
    (void)state;
    mews_exchange *volatile none = NULL;
    const char *volatile no_text = NULL;
    mews_token *volatile no_token = NULL;
    bool empty = mews_request_method(none).data == NULL && mews_request_body(none).length == 0 &&
                 mews_request_header(exchange, no_text).data == NULL && mews_alloc(none, 16) == NULL &&
                 mews_query_parameter(exchange, no_text).data == NULL && mews_request_version(none) == 0 &&
                 mews_path_parameter(exchange, no_text).data == NULL;
    mews_result results[] = {
        mews_respond(none, 200, NULL, "x", 1),
        mews_respond(exchange, 200, NULL, NULL, 1),
        mews_response_header(exchange, no_text, "1"),
        mews_response_header(exchange, "X-Null", no_text),
        mews_exchange_retain(exchange, no_token),
    };
    bool refused = true;
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        refused = refused && results[i] == MEWS_E_INVALID_ARGUMENT;
    }
    return mews_respond_format(exchange, 200, "text/plain", "%d %d", empty, refused);
}

static const struct {
    const char *pattern;
    mews_handler handler;
} routes[] = {
    {"/token", token_in_handler}, {"/token-invalid", token_invalid}, {"/keep", keep},
    {"/kept-status", kept_status}, {"/late", late}, {"/release-kept", release_kept},
    {"/foreign-thread", foreign_thread}, {"/memory", memory}, {"/null-arguments", null_arguments},
};

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_result result = mews_route(self, "GET", routes[i].pattern, routes[i].handler);
        if (result != MEWS_OK) return result;
    }
    return MEWS_OK;
}

MEWS_PLUGIN("probe-lifetime", "1.0.0", start)
