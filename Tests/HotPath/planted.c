/*
 * A plugin whose routes do, once a request, what a hot path must not do: it shows that the counters count.
 */
#define _GNU_SOURCE
#include <mews/plugin.h>

#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Written to, so that no compiler leaves the allocation out. */
static void *volatile kept;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Of the library that counts. */
static bool (*retain_and_release)(void);

static mews_result answer(mews_exchange *exchange) { return mews_respond(exchange, 200, "text/plain", "planted", 7); }

static mews_result plant_allocate(mews_exchange *exchange, void *state) {
    (void)state;
    kept = malloc(40);
    free(kept);
    return answer(exchange);
}

static mews_result plant_map(mews_exchange *exchange, void *state) {
    (void)state;
    void *memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) munmap(memory, 4096);
    return answer(exchange);
}

static mews_result plant_lock(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return answer(exchange);
}

static mews_result plant_futex(mews_exchange *exchange, void *state) {
    (void)state;
    static int word;
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return answer(exchange);
}

static mews_result plant_retain(mews_exchange *exchange, void *state) {
    (void)state;
    if (!retain_and_release()) return MEWS_E_WRONG_STATE;
    return answer(exchange);
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        mews_handler handler;
    } routes[] = {
        {"/planted/allocate", plant_allocate}, {"/planted/map", plant_map},       {"/planted/lock", plant_lock},
        {"/planted/futex", plant_futex},       {"/planted/retain", plant_retain},
    };
    *(void **)&retain_and_release = dlsym(RTLD_DEFAULT, "hot_path_retain_and_release");
    if (retain_and_release == NULL) return mews_fail(self, "the library that counts is not preloaded");
    mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
    options.execution = MEWS_EXECUTION_INLINE;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_result result = mews_route_with(self, "GET", routes[i].pattern, routes[i].handler, &options);
        if (result != MEWS_OK) return result;
    }
    return MEWS_OK;
}

MEWS_PLUGIN("planted", "1.0.0", start)
