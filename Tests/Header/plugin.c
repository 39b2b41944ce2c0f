/* The smallest plugin, with MEWS_PLUGIN: C and C++ alike. */
#include <mews/plugin.h>

static mews_result hello(mews_exchange *exchange, void *state) {
    mews_text name = mews_path_parameter(exchange, "name");
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "Hello, %.*s!\n", MEWS_TEXT_ARG(name));
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_route(self, "GET", "/hello/{name}", hello);
}

MEWS_PLUGIN("hello", "1.0.0", start)
