/*
 * takeover-storm SECONDS SEED [BACKEND]: handlers on one I/O thread that block it, at random, for half a second.
 *
 * 64 clients, each with a connection of its own, send requests with and without bodies, pipelined. The handlers, all of
 * them declared inline, now and then block: before their response, after it, on both sides of it, or having said so.
 * Checks that every response is complete, in its order and of the right content, that no connection is lost, and that
 * nothing is left when the server has gone. One client more asks for nothing that blocks, without pause: so there is
 * always somebody who waits. Says how long the I/O thread stood still each time, and how long that client waited for
 * its answers. BACKEND is epoll or io_uring; otherwise the server chooses.
 */
#define _GNU_SOURCE
#include "storm.h"

#include <mews/mews.h>

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdatomic.h>

enum {
    CLIENTS = 64,
    PIPELINED = 8,
    BODY_LIMIT = 9000,
    ANSWER_LIMIT = 7000,
    BLOCK_MS = 500,
    BLOCK_ONE_IN = 150,
    BLOCKING_WAYS = 4, /* of those */
    TIME_PLACES = 40000, /* of 50 us: two seconds */
};

/* How often something took how long. */
struct times {
    atomic_ulong all, places[TIME_PLACES + 1];
};

static atomic_bool is_stopping;
static atomic_ulong blocked, answered;
static struct times stood_still, waited;
static uint16_t port;
static unsigned long left_over = ULONG_MAX;

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void note_time(struct times *times, uint64_t since) {
    uint64_t place = (now_us() - since) / 50;
    atomic_fetch_add(&times->places[place < TIME_PLACES ? place : TIME_PLACES], 1);
    atomic_fetch_add(&times->all, 1);
}

/* The time within which a share of them lies, in milliseconds. */
static double time_ms(const struct times *times, double share) {
    unsigned long seen = 0;
    for (int place = 0; place <= TIME_PLACES; place++) {
        seen += times->places[place];
        if (seen > 0 && (double)seen >= share * (double)times->all) return (place + 1) * 0.05;
    }
    return 0;
}

static void print_times(const char *what, const struct times *times) {
    printf("%s: %.2f ms (median), %.2f (p90), %.2f (p99), %.2f (p99.9), %.2f (longest of %lu)\n", what,
        time_ms(times, 0.5), time_ms(times, 0.9), time_ms(times, 0.99), time_ms(times, 0.999), time_ms(times, 1),
        times->all);
}

/* ---- What a number stands for ----------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t number) {
    number ^= number >> 33;
    number *= UINT64_C(0xff51afd7ed558ccd);
    return number ^ number >> 33;
}

static uint32_t way(uint64_t number) { return mix(number + 4) % BLOCK_ONE_IN; }
static size_t body_size(uint64_t number) { return mix(number) % 3 == 0 ? mix(number + 1) % BODY_LIMIT : 0; }
static char body_byte(uint64_t number, size_t index) { return (char)(number * 31 + index * 7 + index / 251); }
static size_t answer_size(uint64_t number) { return mix(number + 2) % 4 == 0 ? mix(number + 3) % ANSWER_LIMIT : 40; }
static char answer_byte(uint64_t number, size_t index) { return (char)('a' + (number + index) % 26); }

/* ---- Handlers --------------------------------------------------------------------------------------------------- */

/* When the last handler began to block that nobody has run after, or 0. */
static _Atomic uint64_t blocked_since;

static void block(void) {
    atomic_fetch_add(&blocked, 1);
    atomic_store(&blocked_since, now_us());
    usleep(BLOCK_MS * 1000);
}

/* The first handler that runs after one has blocked tells how long the I/O thread stood still. */
static void note_delay(void) {
    if (atomic_load(&blocked_since) == 0) return;
    uint64_t since = atomic_exchange(&blocked_since, 0);
    if (since != 0) note_time(&stood_still, since);
}

static mews_result respond(mews_exchange *exchange, uint64_t number) {
    size_t size = answer_size(number);
    char *answer = mews_alloc(exchange, size + 1);
    CHECK(answer != NULL, "no memory of the exchange");
    for (size_t i = 0; i < size; i++) answer[i] = answer_byte(number, i);
    return mews_respond(exchange, 200, "application/octet-stream", answer, size);
}

static mews_result work(mews_exchange *exchange, void *state) {
    (void)state;
    note_delay();
    mews_text text = mews_path_parameter(exchange, "number");
    CHECK(text.data != NULL && text.length < 20, "a request without its number");
    char digits[24] = "";
    memcpy(digits, text.data, text.length);
    uint64_t number = strtoull(digits, NULL, 10);
    mews_bytes body = mews_request_body(exchange);
    if (way(number) == 0 || way(number) == 1) block();
    if (way(number) == 2) {
        mews_blocking_begin();
        usleep(BLOCK_MS * 1000);
        mews_blocking_end();
    }
    CHECK(body.length == body_size(number), "a body of %zu bytes instead of %zu", body.length, body_size(number));
    for (size_t i = 0; i < body.length; i++) {
        CHECK((char)body.data[i] == body_byte(number, i), "a body with a foreign byte");
    }
    mews_result result = respond(exchange, number);
    if (way(number) == 1 || way(number) == 3) block();
    return result;
}

static void take_log_line(void *context, mews_level level, mews_text source, mews_text text) {
    (void)context, (void)source;
    char line[256];
    snprintf(line, sizeof line, "%.*s", MEWS_TEXT_ARG(text));
    unsigned long connections, exchanges, held, blocks;
    if (sscanf(line, "freed with %lu connections, %lu exchanges, %lu held by tokens, %lu blocks", &connections,
            &exchanges, &held, &blocks) == 4) {
        left_over = connections + exchanges + held + blocks;
        return;
    }
    bool is_expected = strstr(line, "held up an I/O thread") != NULL || strstr(line, "declared inline") != NULL;
    CHECK(is_expected || level < MEWS_LEVEL_WARNING, "the log says: %s", line);
}

/* ---- Clients ---------------------------------------------------------------------------------------------------- */

struct reader {
    int socket;
    size_t start, end;
    char bytes[64 << 10];
};

static void fill(struct reader *reader) {
    if (reader->start > 0) {
        memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    ssize_t count = recv(reader->socket, reader->bytes + reader->end, sizeof reader->bytes - reader->end - 1, 0);
    CHECK(count > 0, "a connection is lost: %s", count == 0 ? "closed" : strerror(errno));
    reader->end += (size_t)count;
    reader->bytes[reader->end] = '\0';
}

static void read_answer(struct reader *reader, uint64_t number) {
    char *end;
    while ((end = strstr(reader->bytes + reader->start, "\r\n\r\n")) == NULL) fill(reader);
    const char *head = reader->bytes + reader->start;
    CHECK(strncmp(head, "HTTP/1.1 200 OK\r\n", 17) == 0, "the answer begins %.40s", head);
    const char *length = strstr(head, "Content-Length: ");
    CHECK(length != NULL && length < end, "an answer without its length");
    size_t size = strtoull(length + 16, NULL, 10);
    CHECK(size == answer_size(number), "an answer of %zu bytes instead of %zu", size, answer_size(number));
    reader->start = (size_t)(end + 4 - reader->bytes);
    while (reader->end - reader->start < size) fill(reader);
    for (size_t i = 0; i < size; i++) {
        CHECK(reader->bytes[reader->start + i] == answer_byte(number, i), "the answer to another request");
    }
    reader->start += size;
    atomic_fetch_add(&answered, 1);
}

static void send_all(int socket, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(socket, bytes, count, MSG_NOSIGNAL);
        CHECK(sent > 0, "a connection is lost while sending: %s", strerror(errno));
        bytes += sent;
        count -= (size_t)sent;
    }
}

static size_t write_request(char *bytes, uint64_t number) {
    size_t size = body_size(number);
    const char *method = size > 0 ? "POST" : "GET";
    size_t count = (size_t)sprintf(
        bytes, "%s /task/%llu HTTP/1.1\r\nHost: storm\r\n", method, (unsigned long long)number);
    if (size > 0) count += (size_t)sprintf(bytes + count, "Content-Length: %zu\r\n", size);
    count += (size_t)sprintf(bytes + count, "\r\n");
    for (size_t i = 0; i < size; i++) bytes[count++] = body_byte(number, i);
    return count;
}

static struct reader *open_connection(void) {
    struct reader *reader = calloc(1, sizeof *reader);
    CHECK(reader != NULL, "no memory");
    reader->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 30};
    setsockopt(reader->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CHECK(connect(reader->socket, (struct sockaddr *)&address, sizeof address) == 0, "no connection");
    return reader;
}

static void close_connection(struct reader *reader) {
    close(reader->socket);
    free(reader);
}

/* Asks for one thing that does not block after the other. */
static void *run_prober(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    struct reader *reader = open_connection();
    char request[BODY_LIMIT + 200];
    while (!atomic_load(&is_stopping)) {
        uint64_t number = next_random(&seed);
        while (way(number) < BLOCKING_WAYS) number = next_random(&seed);
        size_t length = write_request(request, number);
        uint64_t start = now_us();
        send_all(reader->socket, request, length);
        read_answer(reader, number);
        note_time(&waited, start);
    }
    close_connection(reader);
    return NULL;
}

static void *run_client(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    struct reader *reader = open_connection();
    char *request = malloc(PIPELINED * (BODY_LIMIT + 200));
    CHECK(request != NULL, "no memory");
    while (!atomic_load(&is_stopping)) {
        uint64_t numbers[PIPELINED];
        uint32_t count = 1 + random_below(&seed, PIPELINED);
        size_t length = 0;
        for (uint32_t i = 0; i < count; i++) {
            numbers[i] = next_random(&seed);
            length += write_request(request + length, numbers[i]);
        }
        /* Sometimes in two pieces, so that a request is under way when the I/O thread is blocked. */
        size_t cut = one_in(&seed, 3) ? random_below(&seed, (uint32_t)length) : length;
        send_all(reader->socket, request, cut);
        if (cut < length) usleep(random_below(&seed, 3000));
        send_all(reader->socket, request + cut, length - cut);
        for (uint32_t i = 0; i < count; i++) read_answer(reader, numbers[i]);
        CHECK(reader->start == reader->end, "bytes behind the last answer");
    }
    free(request);
    close_connection(reader);
    return NULL;
}

/* ---- The server ------------------------------------------------------------------------------------------------- */

static mews_server *start_server(const char *backend) {
    mews_server *server = NULL;
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 1;
    options.workers = 2;
    options.workers_max = 128;
    options.log = take_log_line;
    options.log_level = MEWS_LEVEL_DEBUG;
    if (strcmp(backend, "epoll") == 0) options.io_backend = MEWS_IO_EPOLL;
    if (strcmp(backend, "io_uring") == 0) options.io_backend = MEWS_IO_URING;
    CHECK(mews_server_create(&options, &server) == MEWS_OK, "no server");
    mews_route_options inline_route = MEWS_ROUTE_OPTIONS_INIT;
    inline_route.execution = MEWS_EXECUTION_INLINE;
    CHECK(mews_server_route_with(server, "GET", "/task/{number}", work, NULL, &inline_route) == MEWS_OK, "no route");
    CHECK(mews_server_route_with(server, "POST", "/task/{number}", work, NULL, &inline_route) == MEWS_OK, "no route");
    CHECK(mews_server_listen(server, "http://127.0.0.1:0", &port) == MEWS_OK, "%s", mews_server_error(server));
    CHECK(mews_server_start(server) == MEWS_OK, "%s", mews_server_error(server));
    return server;
}

int main(int argc, char **argv) {
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    mews_server *server = start_server(argc > 3 ? argv[3] : "auto");
    pthread_t clients[CLIENTS + 1];
    for (int i = 0; i <= CLIENTS; i++) {
        void *argument = (void *)(uintptr_t)mix(seed * (CLIENTS + 1) + (uint64_t)i);
        void *(*body)(void *) = i < CLIENTS ? run_client : run_prober;
        CHECK(pthread_create(&clients[i], NULL, body, argument) == 0, "no thread");
    }
    uint64_t end = now_ms() + seconds * 1000;
    while (now_ms() < end) usleep(20000);
    atomic_store(&is_stopping, true);
    for (int i = 0; i <= CLIENTS; i++) pthread_join(clients[i], NULL);
    CHECK(mews_server_stop(server) == MEWS_OK && mews_server_wait(server) == MEWS_OK, "the server does not stop");
    mews_server_destroy(server);
    CHECK(left_over == 0, "%lu connections, exchanges and blocks are left", left_over);
    print_times("the I/O thread stood still", &stood_still);
    print_times("who asks for nothing that blocks waited", &waited);
    printf("%lu answers over %d connections, none lost; %lu handlers blocked for %d ms; nothing left, %ld KiB "
        "resident\n",
        answered, CLIENTS + 1, blocked, BLOCK_MS, resident_kib());
    CHECK(answered > 0 && blocked > 0, "nothing happened");
    return 0;
}
