/*
 * mews/exchange.h: one request with its response, as a handler sees it.
 *
 * A handler gets a borrowed mews_exchange pointer. It is valid during that call and on that thread only; afterwards
 * every function here answers MEWS_E_GONE or an empty value. What must outlive the call holds a token
 * (mews_exchange_retain).
 */
#ifndef MEWS_EXCHANGE_H
#define MEWS_EXCHANGE_H

#include "base.h"

MEWS_BEGIN_DECLARATIONS

typedef struct mews_exchange mews_exchange;
typedef struct mews_plugin mews_plugin;

/*
 * A handler: answers one request. Respond exactly once, then return MEWS_OK. Returning an error, or returning without a
 * response, sends 500 to the client (if no response was given) and writes a line to the log.
 *
 * A handler that has taken a token (mews_exchange_retain) may also return MEWS_PENDING without a response: the request
 * then waits, without a thread, until mews_complete or mews_continue is called with the token; see "Completing later"
 * below. After a response, MEWS_PENDING means MEWS_OK.
 *
 * exchange  borrowed; valid until the handler returns.
 * state     what the route was registered with; for a plugin, what its start function stored.
 *
 * Thread: a worker or an I/O thread, another one for each call, as the route's execution class has it; one that is
 * learned may change between two calls. Either has 1 MiB of stack. Calls for different requests run at the same time on
 * several threads. What is to be kept for each thread belongs into a worker slot (mews_worker_slot in plugin.h).
 */
typedef mews_result (*mews_handler)(mews_exchange *MEWS_NONNULL exchange, void *MEWS_NULLABLE state);

/* How the calls of a route are run. */
typedef uint32_t mews_execution;

enum {
    MEWS_EXECUTION_DEFAULT = 0, /* the host learns from the calls which of the others suits them */
    MEWS_EXECUTION_INLINE = 1,  /* on the I/O thread: the handler is short and never waits */
    MEWS_EXECUTION_WORKER = 2,  /* on a worker thread: the handler may wait */
    MEWS_EXECUTION_BLOCKING = 3 /* on a worker thread: the handler waits, and uses little CPU time */
};

/*
 * At most as many handlers run on workers at once as the server is set up for. One that waits (for a lock, a file, a
 * database) gives its place up: at once if it says so (mews_blocking_begin in port.h), else when the host has noticed,
 * after about two milliseconds. Handlers of class MEWS_EXECUTION_BLOCKING take no place: as many run at once as there
 * may be worker threads.
 */

/* ---- Request ---------------------------------------------------------------------------------------------------- */

/* The method, as sent: "GET". Valid until the handler returns, like every text and all bytes of the request below. */
MEWS_IN_HANDLER mews_text mews_request_method(const mews_exchange *MEWS_REQUIRED exchange);

/* The request target exactly as sent, query included: "/a%20b?c=d" (RFC 9112, 3.2). */
MEWS_IN_HANDLER mews_text mews_request_target(const mews_exchange *MEWS_REQUIRED exchange);

/*
 * The path: percent-decoded and without dot segments (RFC 3986, 5.2.4 and 6.2.2). An encoded slash stays "%2F", so that
 * the number of segments is the one the client sent.
 */
MEWS_IN_HANDLER mews_text mews_request_path(const mews_exchange *MEWS_REQUIRED exchange);

/* The query without its "?", as sent. Absent when the target has no "?". */
MEWS_IN_HANDLER mews_text mews_request_query(const mews_exchange *MEWS_REQUIRED exchange);

/* The HTTP version times ten: 10 or 11. 0 when the exchange is gone. */
MEWS_IN_HANDLER uint32_t mews_request_version(const mews_exchange *MEWS_REQUIRED exchange);

/*
 * What the path held in the place of "{name}" or "{name...}" in the route's pattern, decoded. Absent when the pattern
 * has no such parameter.
 *
 * name  the parameter's name, without braces. MEWS_BORROWED for the call.
 */
MEWS_IN_HANDLER mews_text mews_path_parameter(
    const mews_exchange *MEWS_REQUIRED exchange, const char *MEWS_REQUIRED name);

/*
 * The value of a query parameter: percent-decoded, "+" read as a space (application/x-www-form-urlencoded). Absent when
 * there is none; empty for "?name" and "?name=". With several of one name: the first.
 *
 * name  compared with the decoded names, case counts. MEWS_BORROWED for the call.
 */
MEWS_IN_HANDLER mews_text mews_query_parameter(mews_exchange *MEWS_REQUIRED exchange, const char *MEWS_REQUIRED name);

/* One header field of the request. */
typedef struct mews_header {
    mews_text name;  /* as sent */
    mews_text value; /* without the white space around it */
} mews_header;

MEWS_STATIC_ASSERT(sizeof(mews_header) == 2 * sizeof(mews_text), "mews_header is two texts");

/* The number of header fields, each repetition counted. */
MEWS_IN_HANDLER uint32_t mews_request_header_count(const mews_exchange *MEWS_REQUIRED exchange);

/* The header field at an index, in the order sent. Both texts are absent when the index is out of range. */
MEWS_IN_HANDLER mews_header mews_request_header_at(const mews_exchange *MEWS_REQUIRED exchange, uint32_t index);

/*
 * The value of a header field. Absent when the request has none of that name; with several of one name: the first, and
 * mews_request_header_repeated gives the others.
 *
 * name  in any case: "Content-Type". MEWS_BORROWED for the call.
 */
MEWS_IN_HANDLER mews_text mews_request_header(
    const mews_exchange *MEWS_REQUIRED exchange, const char *MEWS_REQUIRED name);

/*
 * The value of the header field of that name with that number (0 is the first), in the order sent. Absent after the
 * last.
 */
MEWS_IN_HANDLER mews_text mews_request_header_repeated(
    const mews_exchange *MEWS_REQUIRED exchange, const char *MEWS_REQUIRED name, uint32_t number);

/* The whole body. A request without one has length 0. */
MEWS_IN_HANDLER mews_bytes mews_request_body(const mews_exchange *MEWS_REQUIRED exchange);

/* ---- Response --------------------------------------------------------------------------------------------------- */

/*
 * Adds a header field to the response; call it before the response is given. Repeated names are sent repeatedly.
 * Content-Length, Transfer-Encoding, Connection, Date and Server are the server's own and are refused, as are names
 * that are no token and values with control characters (RFC 9110, 5.1 and 5.5).
 *
 * name, value  end in NUL. MEWS_COPIED.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_LIMIT above 16 KiB of added fields; MEWS_E_WRONG_STATE after the
 *         response; MEWS_E_NO_MEMORY; MEWS_E_GONE; MEWS_E_WRONG_THREAD.
 */
MEWS_IN_HANDLER mews_result mews_response_header(
    mews_exchange *MEWS_REQUIRED exchange, const char *MEWS_REQUIRED name, const char *MEWS_REQUIRED value);

/* The same with lengths. */
MEWS_IN_HANDLER mews_result mews_response_header_text(
    mews_exchange *MEWS_REQUIRED exchange, mews_text name, mews_text value);

/*
 * Responds, with a copy of a body. Date, Server and Content-Length are added; the response to HEAD is sent without the
 * body, and 1xx, 204 and 304 have none (RFC 9110, 6.4.1 and 8.6).
 *
 * status        200 to 599.
 * content_type  ends in NUL; NULL sends no Content-Type. MEWS_COPIED.
 * body          length bytes; may be NULL when length is 0. MEWS_COPIED.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_WRONG_STATE when a response was given already; MEWS_E_NO_MEMORY;
 *         MEWS_E_GONE; MEWS_E_WRONG_THREAD.
 */
MEWS_IN_HANDLER mews_result mews_respond(
    mews_exchange *MEWS_REQUIRED exchange, uint32_t status, const char *MEWS_NULLABLE content_type,
    const void *MEWS_NULLABLE body, size_t length);

/* Responds with a body made by printf's rules. Arguments and results as for mews_respond. */
MEWS_IN_HANDLER mews_result mews_respond_format(
    mews_exchange *MEWS_REQUIRED exchange, uint32_t status, const char *MEWS_NULLABLE content_type,
    const char *MEWS_REQUIRED format, ...) MEWS_PRINTF_(4, 5);

/*
 * Responds with a body that is sent from where it lies, without a copy.
 *
 * body     length bytes that must not change until release is called. MEWS_HANDED_OVER.
 * release  called exactly once with context when the bytes are no longer needed, whatever this function answers: also
 *          when the response fails or the client has gone. NULL for bytes that live for ever.
 * Results as for mews_respond.
 */
MEWS_IN_HANDLER mews_result mews_respond_reference(
    mews_exchange *MEWS_REQUIRED exchange, uint32_t status, const char *MEWS_NULLABLE content_type,
    const void *MEWS_NULLABLE body, size_t length, mews_release MEWS_NULLABLE release, void *MEWS_NULLABLE context);

/* ---- Memory and lifetime ---------------------------------------------------------------------------------------- */

/*
 * Memory that is freed with the exchange: after the handler has returned and every token is released. Aligned to 16
 * bytes, not cleared. NULL when memory is exhausted, or the size is 0 or above 1 GiB.
 */
MEWS_IN_HANDLER void *MEWS_NULLABLE mews_alloc(mews_exchange *MEWS_REQUIRED exchange, size_t size);

/*
 * The plugin that registered the route; for a route of a linking program, the program itself. Valid as long as the
 * server.
 */
MEWS_IN_HANDLER mews_plugin *MEWS_NULLABLE mews_exchange_plugin(const mews_exchange *MEWS_REQUIRED exchange);

/* What outlives a handler's call: 64 bits, slot and generation. 0 is never a token. */
typedef uint64_t mews_token;

/*
 * Takes a token: until it is released, the memory of the exchange (its arena and the bytes of the request) stays as it
 * is, even when the response is sent and the client is gone. With it, the exchange can be completed later.
 *
 * token  receives the token. MEWS_HANDED_OVER: release it with mews_token_release, or spend it with mews_complete or
 *        mews_continue.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_LIMIT (65,535 tokens of one exchange); MEWS_E_GONE;
 *         MEWS_E_WRONG_THREAD.
 */
MEWS_IN_HANDLER MEWS_MUST_CHECK mews_result mews_exchange_retain(
    mews_exchange *MEWS_REQUIRED exchange, mews_token *MEWS_REQUIRED token);

/*
 * Whether somebody still waits for the response: MEWS_OK; or MEWS_E_GONE when the exchange is over, its client has left
 * (a handler that takes long may ask this now and then), its handler timeout has passed, its server has cut it off, or
 * there never was one.
 */
MEWS_ANY_THREAD mews_result mews_token_status(mews_token token);

/*
 * Releases a token. The release of an exchange's last token while the exchange is pending, and was neither completed
 * nor continued, sends 500 to the client and writes a line to the log.
 *
 * Returns MEWS_OK, or MEWS_E_GONE when the token was released already or never was one.
 */
MEWS_ANY_THREAD mews_result mews_token_release(mews_token token);

/* ---- Completing later ------------------------------------------------------------------------------------------- */

/*
 * A handler that cannot respond yet takes a token, hands it to whoever will know, and returns MEWS_PENDING. From then
 * on the exchange costs memory, but no thread. Later, on any thread, one of the functions below is called with the
 * token:
 *
 *   static mews_result report(mews_exchange *exchange, void *state) {
 *       mews_token token;
 *       mews_result result = mews_exchange_retain(exchange, &token);
 *       if (result != MEWS_OK) return result;
 *       if (!enqueue(state, token)) return mews_token_release(token), MEWS_E_LIMIT;
 *       return MEWS_PENDING;
 *   }
 *
 *   ... and on a thread of the plugin's: mews_complete(token, 200, "text/plain", text, length);
 *
 * - The first call counts; it may even come before the handler has returned, and is then held back until it has. If the
 *   handler does not return MEWS_PENDING after all, its own outcome counts and a completion is dropped.
 * - MEWS_OK and MEWS_E_GONE spend the token: it is released, and nothing is left to be done with it. After any other
 *   answer it is still the caller's.
 * - MEWS_E_GONE says that nobody waits any more: the exchange is over, the client has left, the route's handler timeout
 *   has passed, or the server has cut the request off. What the caller prepared is the caller's to clean up, as after
 *   every error.
 * - The client may also leave after MEWS_OK: then the response is dropped, as any response may be.
 * - While the server stops, a pending exchange is a request in flight: the stop waits for it until the drain timeout,
 *   and then cuts it off.
 */

/*
 * Responds to a pending exchange, with a copy of a body. Fields that the handler added with mews_response_header before
 * it returned are sent, too; for others there is mews_continue.
 *
 * token         spent by MEWS_OK and MEWS_E_GONE.
 * status        200 to 599.
 * content_type  ends in NUL; NULL sends no Content-Type. MEWS_COPIED.
 * body          length bytes; may be NULL when length is 0. MEWS_COPIED.
 * Returns MEWS_OK: this is the response. MEWS_E_GONE: nobody waits for one, or the token was spent or released already.
 *         MEWS_E_WRONG_STATE: the exchange was completed or continued already. MEWS_E_INVALID_ARGUMENT;
 *         MEWS_E_NO_MEMORY.
 */
MEWS_ANY_THREAD mews_result mews_complete(
    mews_token token, uint32_t status, const char *MEWS_NULLABLE content_type, const void *MEWS_NULLABLE body,
    size_t length);

/*
 * The same with a body that is sent from where it lies, without a copy.
 *
 * body     length bytes that must not change until release is called. MEWS_HANDED_OVER.
 * release  called exactly once with context when the bytes are no longer needed, whatever this function answers: on a
 *          thread of the server, or after an error on the caller's before this function returns. NULL for bytes that
 *          live for ever.
 * Results as for mews_complete.
 */
MEWS_ANY_THREAD mews_result mews_complete_reference(
    mews_token token, uint32_t status, const char *MEWS_NULLABLE content_type, const void *MEWS_NULLABLE body,
    size_t length, mews_release MEWS_NULLABLE release, void *MEWS_NULLABLE context);

/*
 * Has a worker go on with a pending exchange: it calls handler with the exchange, as a handler of a route is called,
 * with the whole interface of this header. It may return MEWS_PENDING again, if a token is held: a fresh one, or
 * another that was taken before.
 *
 * token    spent by MEWS_OK and MEWS_E_GONE.
 * handler  called exactly once after MEWS_OK, never after an error. When the client leaves meanwhile it is called all
 *          the same, and its response is dropped.
 * state    given to the handler. MEWS_BORROWED until the handler has returned.
 * Returns MEWS_OK; MEWS_E_GONE: nobody waits for a response, or the token was spent or released already.
 *         MEWS_E_WRONG_STATE: the exchange was completed or continued already. MEWS_E_INVALID_ARGUMENT;
 *         MEWS_E_NO_MEMORY.
 */
MEWS_ANY_THREAD mews_result mews_continue(
    mews_token token, mews_handler MEWS_REQUIRED handler, void *MEWS_NULLABLE state);

MEWS_END_DECLARATIONS

#endif
