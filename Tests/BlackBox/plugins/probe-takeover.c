/* Handlers that run on the I/O thread and wait there until another request lets them go on. */
#include <mews/plugin.h>
#include <mews/port.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static struct {
    mews_plugin *self;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;  /* handlers that wait */
    unsigned releases; /* how often those that wait were let go */
} probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Waits for the next release. */
static void wait_for_release(void) {
    pthread_mutex_lock(&probe.lock);
    probe.waiting++;
    for (unsigned now = probe.releases; probe.releases == now;) pthread_cond_wait(&probe.changed, &probe.lock);
    probe.waiting--;
    pthread_mutex_unlock(&probe.lock);
}

static bool asks_for(mews_exchange *exchange, const char *key) {
    return mews_query_parameter(exchange, key).data != NULL;
}

/* Answers with the request's body, or with where it ran before and after it had waited. */
static mews_result block(mews_exchange *exchange, void *state) {
    (void)state;
    uint32_t before = mews_worker_index(probe.self);
    mews_text tag = mews_query_parameter(exchange, "tag");
    bool says_so = asks_for(exchange, "says_so"), is_late = asks_for(exchange, "late");
    mews_result result = MEWS_OK;
    if (is_late) result = mews_respond_format(exchange, 200, "text/plain", "early %.*s", MEWS_TEXT_ARG(tag));
    if (says_so) mews_blocking_begin();
    wait_for_release();
    if (says_so) mews_blocking_end();
    if (is_late) return result;
    if (asks_for(exchange, "silent")) return MEWS_OK;
    if (mews_response_header(exchange, "X-Tag", "waited") != MEWS_OK) return MEWS_E_INVALID_ARGUMENT;
    mews_bytes body = mews_request_body(exchange);
    if (body.length > 0) return mews_respond(exchange, 200, "application/octet-stream", body.data, body.length);
    bool is_same = before == mews_worker_index(probe.self) && before < mews_worker_count(probe.self);
    const char *outcome = is_same ? "waited" : "moved";
    return mews_respond_format(exchange, 200, "text/plain", "%s %.*s", outcome, MEWS_TEXT_ARG(tag));
}

static mews_result answer_count(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    unsigned waiting = probe.waiting;
    pthread_mutex_unlock(&probe.lock);
    return mews_respond_format(exchange, 200, "text/plain", "%u", waiting);
}

static mews_result let_go(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    probe.releases++;
    pthread_cond_broadcast(&probe.changed);
    pthread_mutex_unlock(&probe.lock);
    return mews_respond_format(exchange, 200, "text/plain", "released");
}

/* Where handlers on this I/O thread run, and how often this thread has run one: a worker slot counts. */
static mews_result answer_index(mews_exchange *exchange, void *state) {
    (void)state;
    void **slot = mews_worker_slot(probe.self);
    if (slot == NULL) return MEWS_E_NO_MEMORY;
    *slot = (char *)*slot + 1;
    return mews_respond_format(exchange, 200, "text/plain", "%u %zu", mews_worker_index(probe.self), (size_t)*slot);
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    probe.self = self;
    mews_result result = mews_route_inline(self, "*", "/takeover/block", block);
    if (result == MEWS_OK) result = mews_route_inline(self, "GET", "/takeover/waiting", answer_count);
    if (result == MEWS_OK) result = mews_route_inline(self, "POST", "/takeover/release", let_go);
    if (result == MEWS_OK) result = mews_route_inline(self, "GET", "/takeover/index", answer_index);
    return result;
}

MEWS_PLUGIN("probe-takeover", "1.0.0", start)
