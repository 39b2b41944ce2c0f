/*
 * deadline-race REQUESTS: handlers and completions that take about as long as their handler timeout, clients that
 * pipeline, leave and come back, servers that are stopped while handlers are late. Checks that each request of a client
 * that stays has exactly one response, its own or 504; that nothing follows a 504; that a late handler still finds its
 * own request; and that what was lent is given back. Says what it did in one line; a failed check ends it with
 * status 1.
 */
#define _GNU_SOURCE
#include "race.h"

#include <mews/mews.h>

enum { ROUNDS = 4, COMPLETERS = 3, CLIENTS = 16, TIMEOUT_MS = 4, BODY = 3000 };

static struct {
    atomic_ulong numbers, called, noticed, lent, returned;
    atomic_ulong answered, late, left, cut; /* as the clients see it */
} tally;

/* ---- Handlers ---------------------------------------------------------------------------------------------------- */

/* A moment before, at or after the deadline. */
static void take_time(unsigned random) {
    if (random % 8 != 0) usleep(random / 8 % (TIMEOUT_MS * 1600));
}

static void give_back(void *context) {
    free(context);
    atomic_fetch_add(&tally.returned, 1);
}

/* The number of a request, if all of it is as its client has sent it: each byte of the body is the number's lowest. */
static unsigned long number_of(const mews_exchange *exchange) {
    mews_text text = mews_path_parameter(exchange, "number");
    CHECK(text.data != NULL, "no number");
    unsigned long number = strtoul(text.data, NULL, 10);
    mews_bytes body = mews_request_body(exchange);
    const unsigned char *bytes = body.data;
    CHECK(body.length == number % 2 * BODY, "request %lu has a body of %zu bytes", number, body.length);
    for (size_t i = 0; i < body.length; i++) {
        CHECK(bytes[i] == (unsigned char)number, "request %lu has another's bytes", number);
    }
    return number;
}

static mews_result respond(mews_exchange *exchange, unsigned long number, bool lends) {
    if (!lends) return mews_respond_format(exchange, 200, "text/plain", "%lu", number);
    char *body = malloc(32);
    CHECK(body != NULL, "no memory");
    int length = snprintf(body, 32, "%lu", number);
    atomic_fetch_add(&tally.lent, 1);
    return mews_respond_reference(exchange, 200, "text/plain", body, (size_t)length, give_back, body);
}

static mews_result answer(mews_exchange *exchange, void *state) {
    (void)state;
    static atomic_uint seeds;
    uint64_t seed = atomic_fetch_add(&seeds, 7919);
    atomic_fetch_add(&tally.called, 1);
    unsigned long number = number_of(exchange);
    void *note = mews_alloc(exchange, 64);
    CHECK(note != NULL, "no memory");
    memset(note, (int)number, 64);
    take_time(next_random(&seed));
    mews_token token;
    CHECK(mews_exchange_retain(exchange, &token) == MEWS_OK, "a running exchange gives no token");
    if (mews_token_status(token) == MEWS_E_GONE) atomic_fetch_add(&tally.noticed, 1);
    CHECK(mews_token_release(token) == MEWS_OK, "a token cannot be released");
    CHECK(number_of(exchange) == number, "request %lu has become another", number);
    CHECK(((unsigned char *)note)[63] == (unsigned char)number, "the memory of request %lu is another's", number);
    unsigned random = next_random(&seed);
    if (random % 16 == 0) return MEWS_E_GONE;
    CHECK(mews_response_header(exchange, "X-Number", "yes") == MEWS_OK, "a header field is refused");
    mews_result result = respond(exchange, number, random % 2 == 0);
    CHECK(result == MEWS_OK, "a response is answered %d", (int)result);
    return MEWS_OK;
}

/* ---- What completes later ---------------------------------------------------------------------------------------- */

struct job {
    struct job *next;
    mews_token token;
    unsigned long number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *jobs;
static bool completers_end;

static mews_result leave_pending(mews_exchange *exchange, void *state) {
    (void)state;
    struct job *job = malloc(sizeof *job);
    CHECK(job != NULL, "no memory");
    atomic_fetch_add(&tally.called, 1);
    job->number = number_of(exchange);
    mews_result result = mews_exchange_retain(exchange, &job->token);
    CHECK(result == MEWS_OK, "an exchange gives no token: %d", (int)result);
    pthread_mutex_lock(&lock);
    job->next = jobs;
    jobs = job;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return MEWS_PENDING;
}

static mews_result go_on(mews_exchange *exchange, void *state) {
    (void)state;
    return respond(exchange, number_of(exchange), true);
}

static void finish(const struct job *job, unsigned random) {
    char body[32];
    int length = snprintf(body, sizeof body, "%lu", job->number);
    mews_result result = random % 2 == 0 ? mews_complete(job->token, 200, "text/plain", body, (size_t)length)
                                         : mews_continue(job->token, go_on, NULL);
    CHECK(result == MEWS_OK || result == MEWS_E_GONE, "a completion is answered %d", (int)result);
}

static void *complete_jobs(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    pthread_mutex_lock(&lock);
    while (jobs != NULL || !completers_end) {
        struct job *job = jobs;
        if (job == NULL) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        jobs = job->next;
        pthread_mutex_unlock(&lock);
        take_time(next_random(&seed));
        finish(job, next_random(&seed));
        free(job);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* ---- The clients ------------------------------------------------------------------------------------------------- */

enum outcome { ANSWERED, LATE, CUT };

/* Reads one response, which is to be that of the request, or 504. */
static enum outcome read_response(struct client *client, unsigned long number) {
    struct answer answer;
    enum reading reading = read_answer(client, 256, &answer);
    CHECK(reading != HALF, "half a response: %s", client->received);
    if (reading == NONE) {
        CHECK(atomic_load(&is_stopping), "request %lu is not answered", number);
        return CUT;
    }
    bool is_own = answer.status == 500 || (answer.status == 200 && answer.number == number);
    CHECK(is_own || (answer.status == 504 && answer.closes), "request %lu is answered %d with %lu", number,
        answer.status, answer.number);
    return answer.status == 504 ? LATE : ANSWERED;
}

/* Sends some requests in one piece; their numbers count up. */
static bool send_requests(struct client *client, unsigned long first, unsigned count) {
    static const char *const routes[] = {"worker", "blocking", "pending", "inline", "stuck"};
    static _Thread_local char bytes[4 * (BODY + 256)];
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned long number = first + i;
        size_t body = number % 2 * BODY;
        length += (size_t)snprintf(bytes + length, sizeof bytes - length,
            "POST /%s/%lu HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
            routes[next_random(&client->seed) % 5], number, body);
        memset(bytes + length, (int)number, body);
        length += body;
    }
    return send(client->socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* A few requests, ended in one of the ways there are. False: the server takes no more. */
static bool run_client_once(struct client *client) {
    if (client->socket < 0 && !connect_client(client)) return false;
    unsigned random = next_random(&client->seed);
    unsigned count = random % 4 == 0 ? 3 : 1;
    unsigned long first = atomic_fetch_add(&tally.numbers, count) + 1;
    bool is_sent = send_requests(client, first, count);
    CHECK(is_sent || atomic_load(&is_stopping), "a running server closed a connection");
    if (!is_sent || random / 4 % 16 == 0) {
        take_time(random / 64);
        disconnect(client, true);
        atomic_fetch_add(&tally.left, 1);
        return is_sent;
    }
    for (unsigned i = 0; i < count; i++) {
        switch (read_response(client, first + i)) {
        case ANSWERED: atomic_fetch_add(&tally.answered, 1); continue;
        case LATE:
            CHECK(!receive(client) && client->count == 0, "more follows a 504: %s", client->received);
            atomic_fetch_add(&tally.late, 1);
            break;
        case CUT: atomic_fetch_add(&tally.cut, 1); break;
        }
        disconnect(client, false);
        return true;
    }
    CHECK(client->count == 0, "more follows the last response: %s", client->received);
    return true;
}

static void *run_client(void *argument) {
    struct client *client = argument;
    while (!atomic_load(&is_stopping) && run_client_once(client)) {}
    if (client->socket >= 0) disconnect(client, false);
    return NULL;
}

/* ---- A round: one server from its creation to its destruction ---------------------------------------------------- */

static void take_log_line(void *context, mews_level level, mews_text source, mews_text text) {
    (void)context, (void)source;
    bool is_expected = memmem(text.data, text.length, "the handler returned -4", 23) != NULL;
    CHECK(level < MEWS_LEVEL_ERROR || is_expected, "the log says: %.*s", MEWS_TEXT_ARG(text));
}

static mews_server *start_server(uint16_t *port) {
    mews_server *server = NULL;
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 2;
    options.workers = 2;
    options.log = take_log_line;
    options.log_level = MEWS_LEVEL_WARNING;
    options.handler_timeout_ms = TIMEOUT_MS;
    mews_route_options blocking = MEWS_ROUTE_OPTIONS_INIT, pending = MEWS_ROUTE_OPTIONS_INIT,
                       on_thread = MEWS_ROUTE_OPTIONS_INIT;
    blocking.execution = MEWS_EXECUTION_BLOCKING;
    blocking.handler_timeout_ms = TIMEOUT_MS - 1;
    pending.handler_timeout_ms = TIMEOUT_MS + 1;
    on_thread.execution = MEWS_EXECUTION_INLINE;
    CHECK(mews_server_create(&options, &server) == MEWS_OK, "no server");
    mews_result results[] = {
        mews_server_route(server, "POST", "/worker/{number}", answer, NULL),
        mews_server_route_with(server, "POST", "/blocking/{number}", answer, NULL, &blocking),
        mews_server_route_with(server, "POST", "/pending/{number}", leave_pending, NULL, &pending),
        mews_server_route_with(server, "POST", "/inline/{number}", leave_pending, NULL, &on_thread),
        mews_server_route_with(server, "POST", "/stuck/{number}", answer, NULL, &on_thread),
        mews_server_listen(server, "http://127.0.0.1:0", port),
        mews_server_start(server),
    };
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        CHECK(results[i] == MEWS_OK, "%zu: %s", i, mews_server_error(server));
    }
    return server;
}

static void run_round(unsigned long requests, unsigned seed) {
    uint16_t port = 0;
    mews_server *server = start_server(&port);
    unsigned long limit = atomic_load(&tally.numbers) + requests;
    atomic_store(&is_stopping, false);
    completers_end = false;
    pthread_t completers[COMPLETERS], threads[CLIENTS];
    struct client clients[CLIENTS];
    for (unsigned i = 0; i < COMPLETERS; i++) {
        pthread_create(&completers[i], NULL, complete_jobs, (void *)(uintptr_t)(seed + i));
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.port = port, .seed = seed * 31 + i, .socket = -1};
        pthread_create(&threads[i], NULL, run_client, &clients[i]);
    }
    while (atomic_load(&tally.numbers) < limit) usleep(1000);
    atomic_store(&is_stopping, true);
    mews_server_stop(server);
    mews_result result = mews_server_wait(server);
    CHECK(result == MEWS_OK, "the server does not stop: %d", (int)result);
    mews_server_destroy(server);
    pthread_mutex_lock(&lock);
    completers_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < COMPLETERS; i++) pthread_join(completers[i], NULL);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    CHECK(tally.lent == tally.returned, "%lu bodies lent, %lu given back", tally.lent, tally.returned);
}

int main(int argc, char **argv) {
    unsigned long requests = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    for (unsigned round = 0; round < ROUNDS; round++) run_round(requests / ROUNDS, round * 1000 + 1);
    printf(
        "%lu requests on %d servers: %lu answered, %lu with 504, %lu clients left, %lu cut off; "
        "%lu handlers called, %lu noticed that they were late; %lu bodies by reference\n",
        tally.numbers, ROUNDS, tally.answered, tally.late, tally.left, tally.cut, tally.called, tally.noticed,
        tally.lent);
    CHECK(tally.answered > 0 && tally.late > 0 && tally.noticed > 0 && tally.left > 0, "a way was not taken");
    return 0;
}
