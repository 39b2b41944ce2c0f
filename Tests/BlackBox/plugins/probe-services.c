/* Shows what the host's services answer to a plugin. */
#include <mews/plugin.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static mews_plugin *plugin;
static atomic_uint timers_fired;

static mews_result setting(mews_exchange *exchange, void *state) {
    (void)state;
    mews_text key = mews_path_parameter(exchange, "key");
    char name[64] = "";
    if (key.length >= sizeof name) return MEWS_E_LIMIT;
    memcpy(name, key.data, key.length);
    mews_text value = mews_setting(plugin, name);
    if (value.data == NULL) return mews_respond(exchange, 404, NULL, NULL, 0);
    if (value.data[value.length] != '\0') return MEWS_E_FAILED;
    return mews_respond(exchange, 200, "text/plain", value.data, value.length);
}

static mews_result identity(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%.*s %.*s %u %d", MEWS_TEXT_ARG(mews_plugin_name(plugin)),
        MEWS_TEXT_ARG(mews_plugin_version(plugin)), mews_process_index(plugin),
        mews_exchange_plugin(exchange) == plugin);
}

/* The slot counts this thread's calls: each starts at 1, and none is shared. */
static mews_result worker(mews_exchange *exchange, void *state) {
    (void)state;
    uint32_t index = mews_worker_index(plugin), count = mews_worker_count(plugin);
    void **slot = mews_worker_slot(plugin);
    if (slot == NULL) return MEWS_E_FAILED;
    uintptr_t calls = (uintptr_t)*slot + 1;
    *slot = (void *)calls;
    return mews_respond_format(exchange, 200, "text/plain", "%u %u %llu", index, count, (unsigned long long)calls);
}

struct foreign_answers {
    uint32_t index;
    bool has_slot;
};

static void *ask_from_foreign_thread(void *argument) {
    struct foreign_answers *answers = argument;
    answers->index = mews_worker_index(plugin);
    answers->has_slot = mews_worker_slot(plugin) != NULL;
    return NULL;
}

static mews_result foreign_worker(mews_exchange *exchange, void *state) {
    (void)state;
    struct foreign_answers answers = {0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, ask_from_foreign_thread, &answers) != 0) return MEWS_E_SYSTEM;
    pthread_join(thread, NULL);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d", answers.index == UINT32_MAX, answers.has_slot);
}

static mews_result log_lines(mews_exchange *exchange, void *state) {
    (void)state;
    mews_log(plugin, MEWS_LEVEL_INFO, "said at level info: %d", 42);
    mews_log(plugin, MEWS_LEVEL_WARNING, "said at level warning");
    mews_log(plugin, MEWS_LEVEL_ERROR, "first line\nforged line");
    return mews_respond(exchange, 200, "text/plain", "logged", 6);
}

static void count_timer(mews_plugin *self, void *context) {
    atomic_fetch_add(&timers_fired, 1);
    mews_log(self, MEWS_LEVEL_INFO, "timer fired: %s, on a thread of the host: %d", (const char *)context,
        mews_worker_index(self) != UINT32_MAX);
}

static mews_result start_timer(mews_exchange *exchange, void *state) {
    (void)state;
    mews_timer timer = 0;
    mews_result result = mews_timer_start(plugin, 20, count_timer, "from a handler", &timer);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d", (int)result, timer != 0);
}

static mews_result cancel_timer(mews_exchange *exchange, void *state) {
    (void)state;
    mews_timer timer = 0;
    mews_result started = mews_timer_start(plugin, 60000, count_timer, "cancelled", &timer);
    mews_result first = mews_timer_cancel(plugin, timer);
    mews_result second = mews_timer_cancel(plugin, timer);
    mews_result none = mews_timer_cancel(plugin, 0);
    mews_result too_long = mews_timer_start(plugin, UINT64_MAX, count_timer, NULL, NULL);
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d %d %d", (int)started, (int)first, (int)second,
        (int)none, (int)too_long);
}

static mews_result timer_count(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%u", atomic_load(&timers_fired));
}

static mews_result clocks(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%llu %lld",
        (unsigned long long)mews_clock_monotonic_ns(), (long long)mews_clock_wall_ns());
}

static mews_result late_route(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result result = mews_route(plugin, "GET", "/too-late", clocks);
    return mews_respond_format(exchange, 200, "text/plain", "%d", (int)result);
}

/* What mews_route answers to patterns and methods that are wrong; each is tried in start. */
static char refusals[64];

static void try_bad_routes(mews_plugin *self) {
    static const struct {
        const char *method, *pattern;
    } bad[] = {
        {"GET", "no-slash"}, {"GET", "/{unclosed"}, {"GET", "/{rest...}/more"}, {"GET", "/{}"},
        {"GET", "/{same}/{same}"}, {"G T", "/x"}, {"", "/x"}, {"GET", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mews_result result = mews_route(self, bad[i].method, bad[i].pattern, clocks);
        refusals[i] = result == MEWS_E_INVALID_ARGUMENT ? 'r' : 'A';
    }
}

static mews_result show_refusals(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond(exchange, 200, "text/plain", refusals, strlen(refusals));
}

static const struct {
    const char *pattern;
    mews_handler handler;
} routes[] = {
    {"/setting/{key}", setting}, {"/identity", identity}, {"/worker", worker}, {"/foreign-worker", foreign_worker},
    {"/log", log_lines}, {"/timer", start_timer}, {"/timer-cancel", cancel_timer}, {"/timer-count", timer_count},
    {"/clocks", clocks}, {"/late-route", late_route}, {"/refusals", show_refusals},
};

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    plugin = self;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_result result = mews_route(self, "GET", routes[i].pattern, routes[i].handler);
        if (result != MEWS_OK) return result;
    }
    try_bad_routes(self);
    mews_result result = mews_route_inline(self, "GET", "/inline/worker", worker);
    if (result != MEWS_OK) return result;
    return mews_timer_start(self, 10, count_timer, "from start", NULL);
}

static void stop(mews_plugin *self, void *state) {
    (void)state;
    mews_log(self, MEWS_LEVEL_INFO, "stop was called");
}

MEWS_PLUGIN_WITH_STOP("probe-services", "1.0.0", start, stop)
