/* Shows a client what a handler sees of its request. */
#include <mews/plugin.h>

#include <stdio.h>
#include <string.h>

/* A line "label=text", or "label absent". */
static size_t show(char *out, size_t room, const char *label, mews_text text) {
    int size = text.data == NULL ? snprintf(out, room, "%s absent\n", label)
                                 : snprintf(out, room, "%s=%.*s\n", label, MEWS_TEXT_ARG(text));
    return size < 0 || (size_t)size >= room ? 0 : (size_t)size;
}

static mews_result show_request(mews_exchange *exchange, void *state) {
    (void)state;
    char body[4096];
    size_t size = 0;
    size += show(body + size, sizeof body - size, "method", mews_request_method(exchange));
    size += show(body + size, sizeof body - size, "target", mews_request_target(exchange));
    size += show(body + size, sizeof body - size, "path", mews_request_path(exchange));
    size += show(body + size, sizeof body - size, "query", mews_request_query(exchange));
    size += show(body + size, sizeof body - size, "name", mews_path_parameter(exchange, "name"));
    size += show(body + size, sizeof body - size, "rest", mews_path_parameter(exchange, "rest"));
    size += show(body + size, sizeof body - size, "unknown", mews_path_parameter(exchange, "unknown"));
    size += (size_t)snprintf(body + size, sizeof body - size, "version=%u\nbody=%zu\n",
        mews_request_version(exchange), mews_request_body(exchange).length);
    return mews_respond(exchange, 200, "text/plain", body, size);
}

static mews_result show_headers(mews_exchange *exchange, void *state) {
    (void)state;
    char *body = mews_alloc(exchange, 65536);
    if (body == NULL) return MEWS_E_NO_MEMORY;
    size_t size = 0;
    uint32_t count = mews_request_header_count(exchange);
    for (uint32_t i = 0; i < count; i++) {
        mews_header header = mews_request_header_at(exchange, i);
        size += (size_t)snprintf(body + size, 65536 - size, "%.*s: %.*s\n", MEWS_TEXT_ARG(header.name),
            MEWS_TEXT_ARG(header.value));
    }
    mews_header beyond = mews_request_header_at(exchange, count);
    size += show(body + size, 65536 - size, "beyond", beyond.name);
    size += show(body + size, 65536 - size, "lower-case", mews_request_header(exchange, "x-repeated"));
    for (uint32_t number = 0; number < 4; number++) {
        mews_text value = mews_request_header_repeated(exchange, "X-REPEATED", number);
        size += show(body + size, 65536 - size, "repeated", value);
    }
    return mews_respond(exchange, 200, "text/plain", body, size);
}

static mews_result show_query(mews_exchange *exchange, void *state) {
    (void)state;
    static const char *const names[] = {"a", "empty", "bare", "two words", "absent", "ä"};
    char body[4096];
    size_t size = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size += show(body + size, sizeof body - size, names[i], mews_query_parameter(exchange, names[i]));
    }
    return mews_respond(exchange, 200, "text/plain", body, size);
}

/* Which of the routes below was taken: their patterns compete for the same paths. */
static mews_result show_route(mews_exchange *exchange, void *state) {
    return mews_respond(exchange, 200, "text/plain", state, strlen(state));
}

static mews_result route_named(mews_plugin *self, const char *method, const char *pattern, const char *label) {
    mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
    options.state = (void *)label;
    options.use_state = 1;
    return mews_route_with(self, method, pattern, show_route, &options);
}

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    mews_result results[] = {
        mews_route(self, "*", "/request/{name}", show_request),
        mews_route(self, "GET", "/rest/{rest...}", show_request),
        mews_route(self, "GET", "/headers", show_headers),
        mews_route_inline(self, "GET", "/query", show_query),
        route_named(self, "GET", "/choice/literal", "literal"),
        route_named(self, "GET", "/choice/{parameter}", "parameter"),
        route_named(self, "GET", "/choice/{rest...}", "rest"),
        route_named(self, "GET", "/methods", "GET"),
        route_named(self, "PUT", "/methods", "PUT"),
        route_named(self, "*", "/any", "any"),
        route_named(self, "POST", "/any", "POST"),
    };
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i] != MEWS_OK) return mews_fail(self, "route %zu: %s", i, mews_result_text(results[i]));
    }
    return MEWS_OK;
}

MEWS_PLUGIN("probe-request", "1.0.0", start)
