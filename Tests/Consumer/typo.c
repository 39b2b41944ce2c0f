/* A plugin that calls a function which the library does not have. It must not link. */
#include <mews/plugin.h>

mews_result mews_rout(mews_plugin *self);

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_rout(self);
}

MEWS_PLUGIN("typo", "1.0.0", start)
