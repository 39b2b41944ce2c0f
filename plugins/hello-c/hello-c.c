/*
 * A request handler in C.
 *
 *   curl http://127.0.0.1:8080/hello/world
 *   Hello, world!
 *
 *   cc -shared -fPIC -Wl,-z,defs hello-c.c -o plugins/hello-c.so $(pkg-config --cflags --libs mews)
 */
#include <mews/plugin.h>

static mews_result hello(mews_exchange *exchange, void *state) {
    (void)state;
    mews_text name = mews_path_parameter(exchange, "name");
    return mews_respond_format(exchange, 200, "text/plain", "Hello, %.*s!\n", MEWS_TEXT_ARG(name));
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    return mews_route(self, "GET", "/hello/{name}", hello);
}

MEWS_PLUGIN("hello-c", "1.0.0", start)
