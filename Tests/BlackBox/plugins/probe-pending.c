/* Leaves responses pending, and completes them from threads of its own: later, early, twice, too late, never. */
#include <mews/plugin.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a thread of the plugin's does with a token. */
typedef void (*token_action)(mews_token token);

struct job {
    struct job *next;
    mews_token token;
    token_action action;
    uint64_t due_ns;
};

static struct {
    mews_plugin *self;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *jobs;
    bool ends;
    /* Tokens that wait for a request that says what becomes of them, or for the plugin's stop. */
    mews_token held[256];
    size_t held_count;
    /* Calls of give_back, continued and work callbacks. */
    unsigned long given_back, continued, worked;
} probe = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void count(unsigned long *counter) {
    pthread_mutex_lock(&probe.lock);
    (*counter)++;
    pthread_mutex_unlock(&probe.lock);
}

static void give_back(void *context) {
    (void)context;
    count(&probe.given_back);
}

static void *run_jobs(void *argument) {
    (void)argument;
    pthread_mutex_lock(&probe.lock);
    while (!probe.ends) {
        struct job **place = &probe.jobs;
        uint64_t now = mews_clock_monotonic_ns();
        while (*place != NULL && (*place)->due_ns > now) place = &(*place)->next;
        struct job *job = *place;
        if (job == NULL) {
            struct timespec wake;
            clock_gettime(CLOCK_REALTIME, &wake);
            wake.tv_nsec += 2 * 1000 * 1000;
            if (wake.tv_nsec >= 1000 * 1000 * 1000) wake.tv_nsec -= 1000 * 1000 * 1000, wake.tv_sec++;
            pthread_cond_timedwait(&probe.changed, &probe.lock, &wake);
            continue;
        }
        *place = job->next;
        pthread_mutex_unlock(&probe.lock);
        job->action(job->token);
        free(job);
        pthread_mutex_lock(&probe.lock);
    }
    pthread_mutex_unlock(&probe.lock);
    return NULL;
}

/* Takes a token, and has the plugin's thread do something with it. */
static mews_result leave_to_thread(mews_exchange *exchange, token_action action, unsigned delay_ms) {
    struct job *job = malloc(sizeof *job);
    if (job == NULL) return MEWS_E_NO_MEMORY;
    *job = (struct job){.action = action, .due_ns = mews_clock_monotonic_ns() + delay_ms * UINT64_C(1000000)};
    mews_result result = mews_exchange_retain(exchange, &job->token);
    if (result != MEWS_OK) {
        free(job);
        return result;
    }
    pthread_mutex_lock(&probe.lock);
    job->next = probe.jobs;
    probe.jobs = job;
    pthread_cond_signal(&probe.changed);
    pthread_mutex_unlock(&probe.lock);
    return MEWS_PENDING;
}

static void complete_later(mews_token token) {
    mews_complete(token, 200, "text/plain", "later", 5);
}

static mews_result later(mews_exchange *exchange, void *state) {
    (void)state;
    mews_text delay = mews_query_parameter(exchange, "ms");
    mews_result result = mews_response_header(exchange, "X-Pending", "yes");
    if (result != MEWS_OK) return result;
    return leave_to_thread(exchange, complete_later, delay.data == NULL ? 0 : (unsigned)atoi(delay.data));
}

static mews_result early(mews_exchange *exchange, void *state) {
    (void)state;
    mews_token token;
    mews_result result = mews_exchange_retain(exchange, &token);
    if (result != MEWS_OK) return result;
    result = mews_complete(token, 201, NULL, "early", 5);
    return result == MEWS_OK ? MEWS_PENDING : result;
}

static char large[300000];

static void complete_by_reference(mews_token token) {
    mews_complete_reference(token, 200, "text/plain", large, sizeof large, give_back, NULL);
}

static mews_result reference(mews_exchange *exchange, void *state) {
    (void)state;
    return leave_to_thread(exchange, complete_by_reference, 1);
}

/* Goes on with a request that the plugin's thread gave back. */
static mews_result go_on(mews_exchange *exchange, void *state) {
    count(&probe.continued);
    mews_bytes body = mews_request_body(exchange);
    mews_result result = mews_response_header(exchange, "X-State", state);
    if (result != MEWS_OK) return result;
    return mews_respond(exchange, 200, "application/octet-stream", body.data, body.length);
}

static void continue_request(mews_token token) {
    mews_continue(token, go_on, "from the thread");
}

static mews_result proceed(mews_exchange *exchange, void *state) {
    (void)state;
    return leave_to_thread(exchange, continue_request, 1);
}

static mews_result none(mews_exchange *exchange, void *state) {
    (void)exchange, (void)state;
    return MEWS_PENDING;
}

static void drop_token(mews_token token) {
    mews_token_release(token);
}

static mews_result dropped(mews_exchange *exchange, void *state) {
    (void)state;
    return leave_to_thread(exchange, drop_token, 1);
}

/* Leaves the request pending with three tokens, until another request decides. */
static mews_result hold(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    mews_result result = MEWS_OK;
    for (int i = 0; i < 3 && result == MEWS_OK; i++) {
        result = probe.held_count == 256 ? MEWS_E_LIMIT : mews_exchange_retain(exchange, &probe.held[probe.held_count]);
        if (result == MEWS_OK) probe.held_count++;
    }
    pthread_mutex_unlock(&probe.lock);
    return result == MEWS_OK ? MEWS_PENDING : result;
}

/* Of the first tokens held: what the functions answer, in this order. */
static mews_result use_held(char *text, size_t size) {
    pthread_mutex_lock(&probe.lock);
    bool is_held = probe.held_count == 3;
    mews_token tokens[3];
    memcpy(tokens, probe.held, sizeof tokens);
    probe.held_count = 0;
    pthread_mutex_unlock(&probe.lock);
    if (!is_held) return MEWS_E_WRONG_STATE;
    mews_result status = mews_token_status(tokens[0]);
    mews_result first = mews_complete(tokens[0], 200, "text/plain", "held", 4);
    mews_result second = mews_complete_reference(tokens[1], 200, "text/plain", "again", 5, give_back, NULL);
    mews_result third = mews_continue(tokens[2], go_on, "again");
    /* What is left of them: a token that was not spent is still the caller's. */
    mews_result released = mews_token_release(tokens[1]);
    mews_result released_too = mews_token_release(tokens[2]);
    mews_result released_once_more = mews_token_release(tokens[0]);
    snprintf(text, size, "%d %d %d %d %d %d %d", (int)status, (int)first, (int)second, (int)third, (int)released,
        (int)released_too, (int)released_once_more);
    return MEWS_OK;
}

static mews_result held(mews_exchange *exchange, void *state) {
    (void)state;
    char text[128];
    mews_result result = use_held(text, sizeof text);
    return result == MEWS_OK ? mews_respond(exchange, 200, "text/plain", text, strlen(text)) : result;
}

static mews_result held_status(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    mews_result status = probe.held_count > 0 ? mews_token_status(probe.held[0]) : MEWS_E_WRONG_STATE;
    pthread_mutex_unlock(&probe.lock);
    return mews_respond_format(exchange, 200, "text/plain", "%d", (int)status);
}

static void work(mews_plugin *self, void *context) {
    count(&probe.worked);
    mews_token token = *(mews_token *)context;
    free(context);
    if (mews_worker_index(self) == UINT32_MAX) {
        mews_complete(token, 500, NULL, "no worker", 9);
    } else {
        mews_complete(token, 200, NULL, "worked", 6);
    }
}

static void pass_to_worker(mews_token token) {
    mews_token *context = malloc(sizeof *context);
    if (context == NULL) return;
    *context = token;
    if (mews_work(probe.self, work, context) == MEWS_OK) return;
    free(context);
    mews_token_release(token);
}

static mews_result by_work(mews_exchange *exchange, void *state) {
    (void)state;
    return leave_to_thread(exchange, pass_to_worker, 0);
}

static mews_result counts(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    unsigned long numbers[] = {probe.given_back, probe.continued, probe.worked};
    pthread_mutex_unlock(&probe.lock);
    return mews_respond_format(exchange, 200, "text/plain", "%lu %lu %lu", numbers[0], numbers[1], numbers[2]);
}

/* What is no response, no token, no function. */
static mews_result invalid(mews_exchange *exchange, void *state) {
    (void)state;
    mews_token token;
    mews_result result = mews_exchange_retain(exchange, &token);
    if (result != MEWS_OK) return result;
    mews_handler volatile no_handler = NULL;
    mews_work_callback volatile no_callback = NULL;
    mews_plugin *volatile no_plugin = NULL;
    mews_result results[] = {
        mews_complete(token, 99, NULL, "x", 1),
        mews_complete(token, 200, "a\r\nb", "x", 1),
        mews_complete(token, 200, NULL, NULL, 1),
        mews_continue(token, no_handler, NULL),
        mews_work(probe.self, no_callback, NULL),
        mews_work(no_plugin, work, NULL),
    };
    bool refused = true;
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        refused = refused && results[i] == MEWS_E_INVALID_ARGUMENT;
    }
    bool gone = mews_complete(0, 200, NULL, "x", 1) == MEWS_E_GONE && mews_continue(0, go_on, NULL) == MEWS_E_GONE &&
                mews_complete(UINT64_MAX, 200, NULL, "x", 1) == MEWS_E_GONE;
    result = mews_token_release(token);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d", refused, gone, (int)result);
}

static const struct {
    const char *method, *pattern;
    mews_handler handler;
} routes[] = {
    {"*", "/later", later}, {"GET", "/early", early}, {"GET", "/reference", reference}, {"POST", "/continue", proceed},
    {"GET", "/none", none}, {"GET", "/dropped", dropped}, {"GET", "/hold", hold}, {"GET", "/held", held},
    {"GET", "/held-status", held_status}, {"GET", "/work", by_work}, {"GET", "/counts", counts},
    {"GET", "/invalid", invalid},
};

static void work_from_start(mews_plugin *self, void *context) {
    mews_log(self, MEWS_LEVEL_INFO, "work given in start runs: %s", (const char *)context);
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    probe.self = self;
    memset(large, 'l', sizeof large);
    char pattern[64];
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        for (mews_execution execution = MEWS_EXECUTION_INLINE; execution <= MEWS_EXECUTION_WORKER; execution++) {
            mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
            options.execution = execution;
            snprintf(pattern, sizeof pattern, "/pending/%s%s", execution == MEWS_EXECUTION_INLINE ? "inline" : "worker",
                routes[i].pattern);
            mews_result result = mews_route_with(self, routes[i].method, pattern, routes[i].handler, &options);
            if (result != MEWS_OK) return result;
        }
    }
    mews_result result = mews_work(self, work_from_start, "yes");
    if (result != MEWS_OK) return result;
    if (pthread_create(&probe.thread, NULL, run_jobs, NULL) != 0) return mews_fail(self, "no thread");
    return MEWS_OK;
}

static void stop(mews_plugin *self, void *state) {
    (void)state;
    pthread_mutex_lock(&probe.lock);
    probe.ends = true;
    pthread_cond_signal(&probe.changed);
    pthread_mutex_unlock(&probe.lock);
    pthread_join(probe.thread, NULL);
    char text[128] = "nothing was held";
    use_held(text, sizeof text);
    mews_log(self, MEWS_LEVEL_INFO, "after the stop: %s, work %d", text, (int)mews_work(self, work, NULL));
}

MEWS_PLUGIN_WITH_STOP("probe-pending", "1.0.0", start, stop)
