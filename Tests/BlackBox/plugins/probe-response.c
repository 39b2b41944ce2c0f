/* Responds in every way the interface has, right and wrong, and shows what its functions answer. */
#include <mews/plugin.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static mews_result order(mews_exchange *exchange, void *state) {
    (void)state;
    static const struct {
        const char *name, *value;
    } headers[] = {{"X-B", "1"}, {"Set-Cookie", "a=1"}, {"X-A", "2"}, {"Set-Cookie", "b=2"}, {"X-Empty", ""}};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        mews_result result = mews_response_header(exchange, headers[i].name, headers[i].value);
        if (result != MEWS_OK) return result;
    }
    return mews_respond(exchange, 200, "text/plain", "order", 5);
}

/* Each must be refused, and none may reach the client. */
static mews_result splitting(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result values[] = {
        mews_response_header(exchange, "X-Split", "a\r\nX-Injected: 1"),
        mews_response_header(exchange, "X-Split", "a\nX-Injected: 1"),
        mews_response_header(exchange, "X-Split", "a\rb"),
        mews_response_header(exchange, "X-Split\r\nX-Injected", "1"),
        mews_response_header(exchange, "X Split", "1"),
        mews_response_header(exchange, "X-Split:", "1"),
        mews_response_header(exchange, "", "1"),
        mews_response_header_text(exchange, (mews_text){"X-Nul", 5}, (mews_text){"a\0b", 3}),
    };
    char body[256] = "";
    size_t size = 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        body[size++] = values[i] == MEWS_E_INVALID_ARGUMENT ? 'r' : 'A';
    }
    return mews_respond(exchange, 200, "text/plain", body, size);
}

static mews_result own_fields(mews_exchange *exchange, void *state) {
    (void)state;
    static const char *const names[] = {"Content-Length", "transfer-encoding", "CONNECTION", "Date", "Server"};
    char body[16];
    size_t size = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        body[size++] = mews_response_header(exchange, names[i], "1") == MEWS_E_INVALID_ARGUMENT ? 'r' : 'A';
    }
    return mews_respond(exchange, 200, "text/plain", body, size);
}

/* A content type with a line break in it is refused like any other header value. */
static mews_result bad_content_type(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result result = mews_respond(exchange, 200, "text/plain\r\nX-Injected: 1", "x", 1);
    return mews_respond_format(exchange, 200, "text/plain", "%d", (int)result);
}

static mews_result too_many_fields(mews_exchange *exchange, void *state) {
    (void)state;
    char value[1001];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 64; i++) {
        mews_result result = mews_response_header(exchange, "X-Long", value);
        if (result != MEWS_OK) return mews_respond_format(exchange, 200, "text/plain", "%d after %d", (int)result, i);
    }
    return MEWS_E_FAILED;
}

static mews_result status(mews_exchange *exchange, void *state) {
    (void)state;
    mews_text text = mews_path_parameter(exchange, "status");
    char digits[8] = "";
    if (text.length >= sizeof digits) return MEWS_E_INVALID_ARGUMENT;
    memcpy(digits, text.data, text.length);
    mews_result result = mews_respond(exchange, (uint32_t)atoi(digits), "text/plain", "body", 4);
    if (result == MEWS_OK) return result;
    return mews_respond_format(exchange, 200, "text/plain", "refused %d", (int)result);
}

static mews_result failing(mews_exchange *exchange, void *state) {
    (void)exchange, (void)state;
    return MEWS_E_NOT_FOUND;
}

static mews_result silent(mews_exchange *exchange, void *state) {
    (void)exchange, (void)state;
    return MEWS_OK;
}

static mews_result failing_late(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result result = mews_respond(exchange, 200, "text/plain", "responded", 9);
    return result == MEWS_OK ? MEWS_E_FAILED : result;
}

/* What second calls answered; shown by the next request. */
static atomic_int second_respond, second_format, late_header;

static mews_result twice(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result result = mews_respond(exchange, 200, "text/plain", "first", 5);
    second_respond = mews_respond(exchange, 200, "text/plain", "second", 6);
    second_format = mews_respond_format(exchange, 200, "text/plain", "%s", "second");
    late_header = mews_response_header(exchange, "X-Late", "1");
    return result;
}

static mews_result twice_results(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%d %d %d", second_respond, second_format, late_header);
}

static atomic_ullong releases;

static void release(void *context) {
    free(context);
    atomic_fetch_add(&releases, 1);
}

static size_t size_parameter(mews_exchange *exchange) {
    mews_text text = mews_path_parameter(exchange, "size");
    size_t size = 0;
    for (size_t i = 0; i < text.length; i++) size = size * 10 + (size_t)(text.data[i] - '0');
    return size;
}

/* Bytes that repeat with a period of 251, a prime: a lost or repeated block of any size shows. */
static unsigned char *make_pattern(size_t size) {
    unsigned char *bytes = malloc(size + 1);
    if (bytes == NULL) return NULL;
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(i % 251);
    return bytes;
}

static mews_result reference(mews_exchange *exchange, void *state) {
    (void)state;
    size_t size = size_parameter(exchange);
    void *bytes = make_pattern(size);
    if (bytes == NULL) return MEWS_E_NO_MEMORY;
    return mews_respond_reference(exchange, 200, "application/octet-stream", bytes, size, release, bytes);
}

/* The release function is called for a response that is refused, too. */
static mews_result reference_refused(mews_exchange *exchange, void *state) {
    (void)state;
    mews_result result = mews_respond(exchange, 200, "text/plain", "first", 5);
    void *bytes = make_pattern(100);
    if (bytes == NULL) return MEWS_E_NO_MEMORY;
    mews_result second = mews_respond_reference(exchange, 200, NULL, bytes, 100, release, bytes);
    return result == MEWS_OK && second == MEWS_E_WRONG_STATE ? MEWS_OK : MEWS_E_FAILED;
}

static mews_result reference_constant(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_reference(exchange, 200, "text/plain", "constant", 8, NULL, NULL);
}

static void respond_again(void *context) {
    mews_respond(context, 200, "text/plain", "again", 5);
    mews_response_header(context, "X-Again", "1");
    atomic_fetch_add(&releases, 1);
}

/* The release function calls back into the interface, with the exchange that it belongs to. */
static mews_result reference_reentrant(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_reference(exchange, 200, "text/plain", "constant", 8, respond_again, exchange);
}

static mews_result copy(mews_exchange *exchange, void *state) {
    (void)state;
    size_t size = size_parameter(exchange);
    void *bytes = make_pattern(size);
    if (bytes == NULL) return MEWS_E_NO_MEMORY;
    mews_result result = mews_respond(exchange, 200, "application/octet-stream", bytes, size);
    free(bytes);
    return result;
}

static mews_result count_releases(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%llu", atomic_load(&releases));
}

static mews_result format_long(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond_format(exchange, 200, "text/plain", "%0*d", (int)size_parameter(exchange), 7);
}

static const struct {
    const char *pattern;
    mews_handler handler;
} routes[] = {
    {"/order", order},
    {"/splitting", splitting},
    {"/own-fields", own_fields},
    {"/bad-content-type", bad_content_type},
    {"/too-many-fields", too_many_fields},
    {"/status/{status}", status},
    {"/failing", failing},
    {"/silent", silent},
    {"/failing-late", failing_late},
    {"/twice", twice},
    {"/twice-results", twice_results},
    {"/reference/{size}", reference},
    {"/reference-refused", reference_refused},
    {"/reference-constant", reference_constant},
    {"/reference-reentrant", reference_reentrant},
    {"/copy/{size}", copy},
    {"/releases", count_releases},
    {"/format/{size}", format_long},
};

static mews_result start(mews_plugin *self, void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        mews_result result = mews_route(self, "GET", routes[i].pattern, routes[i].handler);
        if (result != MEWS_OK) return result;
    }
    mews_result result = mews_route_inline(self, "GET", "/inline/failing", failing);
    if (result == MEWS_OK) result = mews_route_inline(self, "GET", "/inline/silent", silent);
    if (result == MEWS_OK) result = mews_route_inline(self, "GET", "/inline/reference/{size}", reference);
    return result;
}

MEWS_PLUGIN("probe-response", "1.0.0", start)
