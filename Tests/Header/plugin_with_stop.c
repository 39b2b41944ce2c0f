/* A plugin with state, a stop function, route options, a timer and a body by reference: C and C++ alike. */
#include <mews/mews.h>
#include <stdlib.h>

static mews_result report(mews_exchange *exchange, void *state) {
    static const char body[] = "ok\n";
    (void)state;
    return mews_respond_reference(exchange, 200, NULL, body, sizeof(body) - 1, free, NULL);
}

static void tick(mews_plugin *self, void *context) {
    (void)context;
    mews_log(self, MEWS_LEVEL_INFO, "tick %d", 1);
}

static mews_result start(mews_plugin *self, void **state) {
    mews_timer timer = 0;
    mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
    options.execution = MEWS_EXECUTION_INLINE;
    *state = NULL;
    if (mews_timer_start(self, 1000, tick, NULL, &timer) != MEWS_OK) return mews_fail(self, "no timer: %s", "full");
    return mews_route_with(self, "GET", "/report", report, &options);
}

static void stop(mews_plugin *self, void *state) {
    (void)self;
    (void)state;
}

MEWS_PLUGIN_WITH_STOP("report", "0.1", start, stop)
