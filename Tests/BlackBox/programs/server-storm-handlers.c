/* The handlers of server-storm, and the threads that complete what they leave pending. */
#define _GNU_SOURCE
#include "server-storm.h"

#include <pthread.h>

enum { COMPLETERS = 3, DELAYED_LIMIT = 512, KEPT_LIMIT = 256 };

/* ---- Handlers that respond -------------------------------------------------------------------------------------- */

/* What a handler does before it responds. */
struct manner {
    useconds_t sleep;
    bool says_so;
};

static _Atomic(mews_server *) server_to_stop;

void let_handler_stop(mews_server *server) { atomic_store(&server_to_stop, server); }

static void enter_handler(void) {
    atomic_fetch_add(&tally.handled, 1);
    mews_server *server = atomic_exchange(&server_to_stop, NULL);
    if (server != NULL) CHECK(mews_server_stop(server) == MEWS_OK, "a handler cannot stop its server");
}

static unsigned long number_of(mews_exchange *exchange) {
    mews_text number = mews_path_parameter(exchange, "number");
    CHECK(number.data != NULL, "a request without its number");
    unsigned long value = 0;
    for (size_t i = 0; i < number.length; i++) {
        CHECK(number.data[i] >= '0' && number.data[i] <= '9', "a number that a client did not send");
        value = value * 10 + (unsigned long)(number.data[i] - '0');
    }
    return value;
}

static mews_result respond_number(mews_exchange *exchange, void *state) {
    const struct manner *manner = state;
    enter_handler();
    unsigned long number = number_of(exchange);
    if (manner->says_so) mews_blocking_begin();
    if (manner->sleep > 0) usleep((useconds_t)(number % manner->sleep));
    if (manner->says_so) mews_blocking_end();
    CHECK(number_of(exchange) == number, "a request has changed under its handler");
    return mews_respond_format(exchange, 200, "text/plain", "%lu", number);
}

static void give_back(void *context) {
    free(context);
    atomic_fetch_add(&tally.returned, 1);
}

static mews_result respond_large(mews_exchange *exchange, void *state) {
    (void)state;
    enter_handler();
    unsigned long number = number_of(exchange);
    size_t size = (number % LARGE_UNITS + 1) * LARGE_UNIT;
    char *body = malloc(size);
    CHECK(body != NULL, "no memory");
    for (size_t i = 0; i < size; i++) body[i] = body_byte(number, i);
    atomic_fetch_add(&tally.lent, 1);
    return mews_respond_reference(exchange, 200, "application/octet-stream", body, size, give_back, body);
}

static mews_result respond_echo(mews_exchange *exchange, void *state) {
    (void)state;
    enter_handler();
    mews_bytes body = mews_request_body(exchange);
    char *copy = mews_alloc(exchange, body.length + 1);
    CHECK(copy != NULL, "no memory of the exchange");
    if (body.length > 0) memcpy(copy, body.data, body.length);
    CHECK(mews_response_header(exchange, "X-Kind", "echo") == MEWS_OK, "no header");
    return mews_respond(exchange, 200, "application/octet-stream", copy, body.length);
}

/* ---- Tokens on their way from handlers to completers ------------------------------------------------------------ */

/* One request that was left pending. Its tokens and continuations share it. */
struct request {
    unsigned long number;
    atomic_int holders;
    atomic_int tokens;
};

struct job {
    struct job *next;
    struct request *request;
    mews_token token;
    uint64_t due; /* on the clock of now_ms; UINT64_MAX for the end of the server */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *jobs, *delayed_jobs;
static unsigned delayed_count, kept_count;
static int busy_completers;
static bool is_paused, is_ending;
static pthread_t completers[COMPLETERS];
/* Requests with tokens that were not spent. */
static atomic_ulong requests_held;

static void let_go(struct request *request) {
    if (atomic_fetch_sub(&request->holders, 1) == 1) free(request);
}

/* NULL: the exchange is over, as it may be for a continuation that another token of the request has overtaken. */
static struct job *take_token(mews_exchange *exchange, struct request *request) {
    struct job *job = malloc(sizeof *job);
    CHECK(job != NULL, "no memory");
    *job = (struct job){.request = request};
    mews_result result = mews_exchange_retain(exchange, &job->token);
    if (result == MEWS_E_GONE) {
        free(job);
        return NULL;
    }
    CHECK(result == MEWS_OK, "an exchange gives no token: %d", (int)result);
    atomic_fetch_add(&request->holders, 1);
    if (atomic_fetch_add(&request->tokens, 1) == 0) atomic_fetch_add(&requests_held, 1);
    atomic_fetch_add(&tally.taken, 1);
    return job;
}

static void count_spent(struct job *job) {
    atomic_fetch_add(&tally.spent, 1);
    if (atomic_fetch_sub(&job->request->tokens, 1) == 1) atomic_fetch_sub(&requests_held, 1);
    let_go(job->request);
    free(job);
}

static void push(struct job *job, uint64_t due) {
    job->due = due;
    pthread_mutex_lock(&lock);
    if (due == UINT64_MAX && ++kept_count > KEPT_LIMIT) job->due = 0;
    if (job->due == 0 || delayed_count >= DELAYED_LIMIT) {
        job->next = jobs;
        jobs = job;
    } else {
        job->next = delayed_jobs;
        delayed_jobs = job;
        delayed_count++;
    }
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static mews_result leave_pending(mews_exchange *exchange, void *state) {
    (void)state;
    static atomic_uint choices;
    unsigned choice = atomic_fetch_add(&choices, 1) % 16;
    enter_handler();
    struct request *request = calloc(1, sizeof *request);
    CHECK(request != NULL, "no memory");
    request->number = number_of(exchange);
    atomic_store(&request->holders, 1);
    struct job *first = take_token(exchange, request);
    struct job *second = choice < 4 ? take_token(exchange, request) : NULL;
    CHECK(first != NULL && (choice >= 4 || second != NULL), "a fresh request gives no token");
    /* One is spent soon, so that the client has its answer; another may stay for long. */
    push(first, choice == 5 ? now_ms() + request->number % 40 + 1 : 0);
    if (second != NULL) push(second, choice < 2 ? UINT64_MAX : now_ms() + request->number % 100 + 1);
    let_go(request);
    return MEWS_PENDING;
}

static mews_result go_on_later(mews_exchange *exchange, void *state) {
    struct request *request = state;
    atomic_fetch_add(&tally.called, 1);
    CHECK(number_of(exchange) == request->number, "another request's memory");
    struct job *job = take_token(exchange, request);
    let_go(request);
    if (job == NULL) return MEWS_OK;
    push(job, 0);
    return MEWS_PENDING;
}

static mews_result go_on_now(mews_exchange *exchange, void *state) {
    struct request *request = state;
    unsigned long number = request->number;
    atomic_fetch_add(&tally.called, 1);
    CHECK(number_of(exchange) == number, "another request's memory");
    let_go(request);
    mews_result result = mews_respond_format(exchange, 200, "text/plain", "%lu", number);
    /* Overtaken as above: there is a response. */
    return result == MEWS_E_WRONG_STATE ? MEWS_OK : result;
}

/* ---- Completers ------------------------------------------------------------------------------------------------- */

static mews_result spend(struct job *job, uint32_t way) {
    char text[32];
    size_t length = (size_t)snprintf(text, sizeof text, "%lu", job->request->number);
    if (way < 3) {
        atomic_fetch_add(&job->request->holders, 1);
        mews_result result = mews_continue(job->token, way == 0 ? go_on_later : go_on_now, job->request);
        if (result == MEWS_OK) {
            atomic_fetch_add(&tally.continued, 1);
        } else {
            let_go(job->request);
        }
        return result;
    }
    if (way < 8) return mews_complete(job->token, 200, "text/plain", text, length);
    char *body = malloc(length);
    CHECK(body != NULL, "no memory");
    memcpy(body, text, length);
    atomic_fetch_add(&tally.lent, 1);
    return mews_complete_reference(job->token, 200, "text/plain", body, length, give_back, body);
}

/* Spends a token in one of the ways there are. */
static void finish(struct job *job, uint64_t *seed) {
    mews_result result = MEWS_E_WRONG_STATE;
    if (job->due != 0) atomic_fetch_add(&tally.late, 1);
    if (!one_in(seed, 16)) {
        result = spend(job, random_below(seed, 12));
        if (result == MEWS_E_WRONG_STATE) atomic_fetch_add(&tally.refused, 1);
    }
    switch (result) {
    case MEWS_OK: atomic_fetch_add(&tally.accepted, 1); break;
    case MEWS_E_GONE: atomic_fetch_add(&tally.gone, 1); break;
    case MEWS_E_WRONG_STATE:
        result = mews_token_release(job->token);
        /* Nothing is left to be released of a server that is freed. */
        CHECK(result == MEWS_OK || (result == MEWS_E_GONE && atomic_load(&is_stopping)),
            "a token cannot be released: %d", (int)result);
        atomic_fetch_add(&tally.released, 1);
        break;
    default: fail(__LINE__, "a completion is answered %d", (int)result);
    }
    count_spent(job);
}

/* A job whose time has come. The lock is held. */
static struct job *next_job(void) {
    struct job *job = jobs;
    if (job != NULL) {
        jobs = job->next;
        return job;
    }
    uint64_t now = now_ms();
    for (struct job **place = &delayed_jobs; (job = *place) != NULL; place = &job->next) {
        if (job->due > now && !is_ending) continue;
        *place = job->next;
        delayed_count--;
        return job;
    }
    return NULL;
}

static void *complete_jobs(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct job *job = is_paused ? NULL : next_job();
        if (job == NULL && is_ending) break;
        if (job == NULL) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 2000000;
            if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
            pthread_cond_timedwait(&changed, &lock, &until);
            continue;
        }
        busy_completers++;
        pthread_mutex_unlock(&lock);
        if (one_in(&seed, 32)) usleep(random_below(&seed, 500));
        finish(job, &seed);
        pthread_mutex_lock(&lock);
        busy_completers--;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void start_completers(uint64_t seed) {
    is_paused = is_ending = false;
    kept_count = 0;
    for (int i = 0; i < COMPLETERS; i++) {
        pthread_create(&completers[i], NULL, complete_jobs, (void *)(uintptr_t)(seed + (uint64_t)i));
    }
}

void end_completers(void) {
    pthread_mutex_lock(&lock);
    is_ending = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < COMPLETERS; i++) pthread_join(completers[i], NULL);
    CHECK(jobs == NULL && delayed_jobs == NULL && atomic_load(&requests_held) == 0, "tokens were not spent");
}

unsigned long count_held_requests(void) { return atomic_load(&requests_held); }

void pause_completers(void) {
    pthread_mutex_lock(&lock);
    is_paused = true;
    while (busy_completers > 0) {
        pthread_mutex_unlock(&lock);
        usleep(100);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
}

void resume_completers(void) {
    pthread_mutex_lock(&lock);
    is_paused = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* ---- Routes ----------------------------------------------------------------------------------------------------- */

static void add_route(
    mews_server *server, const char *method, const char *pattern, mews_handler handler, void *state,
    mews_execution execution) {
    mews_route_options options = MEWS_ROUTE_OPTIONS_INIT;
    options.execution = execution;
    mews_result result = mews_server_route_with(server, method, pattern, handler, state, &options);
    CHECK(result == MEWS_OK, "%s: no route: %d", pattern, (int)result);
}

void add_routes(mews_server *server) {
    static struct manner at_once, asleep = {.sleep = 2500}, saying_so = {.sleep = 2500, .says_so = true};
    add_route(server, "GET", "/inline/{number}", respond_number, &at_once, MEWS_EXECUTION_INLINE);
    add_route(server, "GET", "/worker/{number}", respond_number, &at_once, MEWS_EXECUTION_WORKER);
    add_route(server, "GET", "/asleep/{number}", respond_number, &asleep, MEWS_EXECUTION_WORKER);
    add_route(server, "GET", "/blocking/{number}", respond_number, &asleep, MEWS_EXECUTION_BLOCKING);
    add_route(server, "GET", "/scope/{number}", respond_number, &saying_so, MEWS_EXECUTION_WORKER);
    add_route(server, "GET", "/large/{number}", respond_large, NULL, MEWS_EXECUTION_WORKER);
    add_route(server, "GET", "/large-inline/{number}", respond_large, NULL, MEWS_EXECUTION_INLINE);
    add_route(server, "POST", "/echo/{number}", respond_echo, NULL, MEWS_EXECUTION_WORKER);
    add_route(server, "POST", "/echo-inline/{number}", respond_echo, NULL, MEWS_EXECUTION_INLINE);
    add_route(server, "GET", "/pending/{number}", leave_pending, NULL, MEWS_EXECUTION_WORKER);
    add_route(server, "GET", "/pending-inline/{number}", leave_pending, NULL, MEWS_EXECUTION_INLINE);
}
