/*
 * pending-race COMPLETIONS: pending exchanges, completed by four threads while clients leave at random and servers are
 * stopped and destroyed under them. Checks that each token has exactly one outcome, each acceptance exactly one effect,
 * and each client that stays exactly its own responses. Says what it did in one line; a failed check ends it with
 * status 1.
 */
#define _GNU_SOURCE
#include "race.h"

#include <mews/mews.h>

enum { ROUNDS = 8, COMPLETERS = 4, CLIENTS = 8 };

/* ---- What is counted -------------------------------------------------------------------------------------------- */

static struct {
    atomic_ulong requests, accepted, gone, refused, released;
    atomic_ulong lent, returned;      /* bodies by reference, and calls of their release function */
    atomic_ulong continued, called;   /* accepted continuations, and their calls */
    atomic_ulong answered, left, cut; /* as the clients see it */
} tally;

/* ---- Tokens on their way from handlers to completers ------------------------------------------------------------- */

/* One request that the handler left pending: its tokens and continuations share it. */
struct request {
    unsigned long number;
    bool is_shared; /* by several tokens from the beginning */
    atomic_int holders;
    atomic_int accepted; /* completions that were answered MEWS_OK and end the exchange */
};

static void let_go(struct request *request) {
    if (atomic_fetch_sub(&request->holders, 1) != 1) return;
    int accepted = atomic_load(&request->accepted);
    CHECK(accepted <= 1, "request %lu was completed %d times", request->number, accepted);
    free(request);
}

struct job {
    struct job *next;
    struct request *request;
    mews_token token;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *jobs, *late_jobs;
static bool keeps_late_jobs, completers_end;

static void push(struct request *request, mews_token token) {
    struct job *job = malloc(sizeof *job);
    CHECK(job != NULL, "no memory");
    *job = (struct job){.request = request, .token = token};
    pthread_mutex_lock(&lock);
    job->next = jobs;
    jobs = job;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void give_back(void *context) {
    free(context);
    atomic_fetch_add(&tally.returned, 1);
}

/* ---- The server's side ------------------------------------------------------------------------------------------ */

static mews_result respond_number(mews_exchange *exchange, void *state) {
    struct request *request = state;
    atomic_fetch_add(&tally.called, 1);
    mews_text number = mews_path_parameter(exchange, "number");
    CHECK(number.data != NULL && strtoul(number.data, NULL, 10) == request->number, "another request's memory");
    mews_result result = mews_respond_format(exchange, 200, "text/plain", "%lu", request->number);
    let_go(request);
    return result;
}

static mews_result leave_pending_again(mews_exchange *exchange, void *state) {
    struct request *request = state;
    mews_token token;
    atomic_fetch_add(&tally.called, 1);
    mews_result result = mews_exchange_retain(exchange, &token);
    CHECK(result == MEWS_OK, "a running exchange gives no token: %d", (int)result);
    push(request, token);
    return MEWS_PENDING;
}

static void end_job(struct job *job) {
    let_go(job->request);
    free(job);
}

/*
 * Goes on with a request, which the continuation holds: it lets go of it, or brings another job for it. Where other
 * tokens may be spent meanwhile it does not respond itself: it would win over a completion that was accepted.
 */
static mews_result continue_request(struct job *job, unsigned random) {
    bool again = random % 2 == 0 || job->request->is_shared;
    atomic_fetch_add(&job->request->holders, 1);
    mews_result result = mews_continue(job->token, again ? leave_pending_again : respond_number, job->request);
    if (result != MEWS_OK) {
        let_go(job->request);
        return result;
    }
    atomic_fetch_add(&tally.continued, 1);
    if (!again) atomic_fetch_add(&job->request->accepted, 1);
    return result;
}

static mews_result complete_by_reference(struct job *job) {
    char *body = malloc(32);
    CHECK(body != NULL, "no memory");
    int length = snprintf(body, 32, "%lu", job->request->number);
    atomic_fetch_add(&tally.lent, 1);
    return mews_complete_reference(job->token, 200, "text/plain", body, (size_t)length, give_back, body);
}

static mews_result complete_by_copy(struct job *job) {
    char body[32];
    int length = snprintf(body, sizeof body, "%lu", job->request->number);
    return mews_complete(job->token, 200, "text/plain", body, (size_t)length);
}

/* Spends a token in one of the ways there are. */
static void finish(struct job *job, unsigned random) {
    mews_result result;
    switch (random % 16) {
    case 0:
        result = mews_token_release(job->token);
        CHECK(result == MEWS_OK, "a token cannot be released: %d", (int)result);
        atomic_fetch_add(&tally.released, 1);
        end_job(job);
        return;
    case 1: case 2: case 3: case 4: case 5:
        result = continue_request(job, random / 16);
        break;
    case 6: case 7: case 8: case 9:
        result = complete_by_reference(job);
        if (result == MEWS_OK) atomic_fetch_add(&job->request->accepted, 1);
        break;
    default:
        result = complete_by_copy(job);
        if (result == MEWS_OK) atomic_fetch_add(&job->request->accepted, 1);
        break;
    }
    switch (result) {
    case MEWS_OK: atomic_fetch_add(&tally.accepted, 1); break;
    case MEWS_E_GONE: atomic_fetch_add(&tally.gone, 1); break;
    case MEWS_E_WRONG_STATE:
        atomic_fetch_add(&tally.refused, 1);
        result = mews_token_release(job->token);
        CHECK(result == MEWS_OK, "a refused completion took the token: %d", (int)result);
        break;
    default: fail(__LINE__, "a completion is answered %d", (int)result);
    }
    end_job(job);
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
        unsigned random = next_random(&seed);
        if (keeps_late_jobs && random % 4 == 0) {
            job->next = late_jobs;
            late_jobs = job;
            continue;
        }
        pthread_mutex_unlock(&lock);
        if (random % 32 == 1) usleep(random / 32 % 500);
        finish(job, next_random(&seed));
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static mews_result leave_pending(mews_exchange *exchange, void *state) {
    (void)state;
    static atomic_uint choices;
    unsigned choice = atomic_fetch_add(&choices, 1) % 8;
    struct request *request = calloc(1, sizeof *request);
    mews_text number = mews_path_parameter(exchange, "number");
    CHECK(request != NULL && number.data != NULL, "no memory, or no number");
    request->number = strtoul(number.data, NULL, 10);
    int count = choice == 0 ? 3 : 1;
    mews_token tokens[3];
    for (int i = 0; i < count; i++) {
        mews_result result = mews_exchange_retain(exchange, &tokens[i]);
        CHECK(result == MEWS_OK, "an exchange gives no token: %d", (int)result);
    }
    request->is_shared = count > 1;
    atomic_store(&request->holders, count);
    atomic_fetch_add(&tally.requests, 1);
    if (choice == 1) {
        /* Early: the handler itself does what else a thread does. */
        struct job *job = malloc(sizeof *job);
        CHECK(job != NULL, "no memory");
        *job = (struct job){.request = request, .token = tokens[0]};
        finish(job, 15);
        return MEWS_PENDING;
    }
    for (int i = 0; i < count; i++) push(request, tokens[i]);
    return MEWS_PENDING;
}

static void take_log_line(void *context, mews_level level, mews_text source, mews_text text) {
    (void)context, (void)source;
    static const char *expected[] = {"every token was released", "returned MEWS_PENDING without a token"};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (memmem(text.data, text.length, expected[i], strlen(expected[i])) != NULL) return;
    }
    CHECK(level < MEWS_LEVEL_ERROR, "the log says: %.*s", MEWS_TEXT_ARG(text));
}

/* ---- The clients ------------------------------------------------------------------------------------------------- */

/* Leaves without a word: the peer gets a reset. */
static void leave(struct client *client) {
    disconnect(client, true);
    atomic_fetch_add(&tally.left, 1);
}

/* Reads one response, which is to be that of the request. False: the server stops, and there is none any more. */
static bool read_response(struct client *client, unsigned long number) {
    struct answer answer;
    if (read_answer(client, 64, &answer) != WHOLE) {
        CHECK(atomic_load(&is_stopping), "request %lu is not answered", number);
        atomic_fetch_add(&tally.cut, 1);
        return false;
    }
    bool is_right = answer.status == 500 || (answer.status == 200 && answer.number == number);
    CHECK(is_right, "request %lu is answered %d with %lu", number, answer.status, answer.number);
    atomic_fetch_add(&tally.answered, 1);
    return true;
}

/* Sends some requests in one piece; their numbers count up. */
static bool send_requests(struct client *client, unsigned long first, unsigned count) {
    char bytes[1024];
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        const char *thread = next_random(&client->seed) % 2 == 0 ? "inline" : "worker";
        length += (size_t)snprintf(bytes + length, sizeof bytes - length,
            "GET /%s/%lu HTTP/1.1\r\nHost: localhost\r\n\r\n", thread, first + i);
    }
    return send(client->socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* One exchange of the client's, ended in one of the ways there are. False: the server takes no more. */
static bool run_client_once(struct client *client) {
    static atomic_ulong numbers;
    if (client->socket < 0 && !connect_client(client)) return false;
    unsigned random = next_random(&client->seed);
    unsigned count = random % 8 == 0 ? 3 : 1;
    unsigned long first = atomic_fetch_add(&numbers, count) + 1;
    bool is_sent = send_requests(client, first, count);
    CHECK(is_sent || atomic_load(&is_stopping), "a running server closed a connection");
    switch (random / 8 % 8) {
    case 0: leave(client); return true;
    case 1:
        usleep(random / 64 % 300);
        leave(client);
        return true;
    case 2: shutdown(client->socket, SHUT_WR); break;
    default: break;
    }
    bool is_open = is_sent;
    for (unsigned i = 0; i < count && is_open; i++) is_open = read_response(client, first + i);
    if (is_open && random / 8 % 8 != 2) return true;
    disconnect(client, false);
    return true;
}

static void *run_client(void *argument) {
    struct client *client = argument;
    while (!atomic_load(&is_stopping) && run_client_once(client)) {}
    if (client->socket >= 0) disconnect(client, false);
    return NULL;
}

/* ---- A round: one server from its creation to its destruction ---------------------------------------------------- */

static void finish_late_jobs(unsigned limit, uint64_t *seed) {
    for (; late_jobs != NULL && limit > 0; limit--) {
        struct job *job = late_jobs;
        late_jobs = job->next;
        CHECK(mews_token_status(job->token) == MEWS_E_GONE, "a request outlives its server");
        finish(job, next_random(seed) | 15);
    }
}

static mews_server *start_server(uint16_t *port) {
    mews_server *server = NULL;
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 2;
    options.workers = 2;
    options.drain_timeout_ms = 100;
    options.log = take_log_line;
    options.log_level = MEWS_LEVEL_WARNING;
    mews_route_options inline_options = MEWS_ROUTE_OPTIONS_INIT;
    inline_options.execution = MEWS_EXECUTION_INLINE;
    CHECK(mews_server_create(&options, &server) == MEWS_OK, "no server");
    mews_result results[] = {
        mews_server_route(server, "GET", "/worker/{number}", leave_pending, NULL),
        mews_server_route_with(server, "GET", "/inline/{number}", leave_pending, NULL, &inline_options),
        mews_server_listen(server, "http://127.0.0.1:0", port),
        mews_server_start(server),
    };
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        CHECK(results[i] == MEWS_OK, "%zu: %s", i, mews_server_error(server));
    }
    return server;
}

static void run_round(unsigned long requests, uint64_t seed) {
    uint16_t port = 0;
    mews_server *server = start_server(&port);
    unsigned long limit = atomic_load(&tally.requests) + requests;
    atomic_store(&is_stopping, false);
    keeps_late_jobs = completers_end = false;

    pthread_t completers[COMPLETERS], threads[CLIENTS];
    struct client clients[CLIENTS];
    for (unsigned i = 0; i < COMPLETERS; i++) {
        pthread_create(&completers[i], NULL, complete_jobs, (void *)(uintptr_t)(seed + i));
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.port = port, .seed = seed * 31 + i, .socket = -1};
        pthread_create(&threads[i], NULL, run_client, &clients[i]);
    }
    while (atomic_load(&tally.requests) < limit) usleep(1000);

    /* Stopped in the middle: some requests are pending, and some of those will be for longer than the server waits. */
    pthread_mutex_lock(&lock);
    keeps_late_jobs = true;
    pthread_mutex_unlock(&lock);
    atomic_store(&is_stopping, true);
    mews_server_stop(server);
    mews_result result = mews_server_wait(server);
    CHECK(result == MEWS_OK || result == MEWS_E_LIMIT, "the server does not stop: %d", (int)result);
    pthread_mutex_lock(&lock);
    keeps_late_jobs = false;
    finish_late_jobs(2, &seed);
    pthread_mutex_unlock(&lock);
    mews_server_destroy(server);

    pthread_mutex_lock(&lock);
    finish_late_jobs(-1u, &seed);
    completers_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < COMPLETERS; i++) pthread_join(completers[i], NULL);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    CHECK(tally.lent == tally.returned, "%lu bodies lent, %lu given back", tally.lent, tally.returned);
    CHECK(tally.continued == tally.called, "%lu continuations accepted, %lu called", tally.continued, tally.called);
}

int main(int argc, char **argv) {
    unsigned long completions = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    for (unsigned round = 0; round < ROUNDS; round++) run_round(completions / ROUNDS, round * 1000 + 1);
    printf(
        "%lu requests on %d servers: %lu accepted, %lu gone, %lu refused, %lu released; %lu continued, "
        "%lu by reference; "
        "%lu responses read, %lu clients left, %lu cut off\n",
        tally.requests, ROUNDS, tally.accepted, tally.gone, tally.refused, tally.released, tally.continued, tally.lent,
        tally.answered, tally.left, tally.cut);
    CHECK(tally.gone > 0 && tally.refused > 0 && tally.answered > 0 && tally.left > 0, "a way was not taken");
    return 0;
}
