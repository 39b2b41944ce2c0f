/* The clients of server-storm: what they send, how they break off, and what they check of what they read. */
#define _GNU_SOURCE
#include "server-storm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/time.h>

enum {
    CLIENTS = 10,
    PARKED = 12, /* sockets a client has left open and forgotten */
    REQUESTS = 6,
    BATCH_LIMIT = REQUESTS * (ECHO_LIMIT + 2048),
    TIMEOUT_SECONDS = 60
};

enum request_kind { NUMBER, PENDING, LARGE, ECHO, REQUEST_KINDS };

struct request {
    enum request_kind kind;
    unsigned long number;
    size_t body;
    size_t end; /* where it ends in the batch */
};

struct client {
    pthread_t thread;
    uint16_t port;
    uint64_t seed;
    int socket;
    int parked[PARKED];
    /* What was received and not consumed; a NUL follows it. */
    size_t start, count;
    char received[16 << 10];
    struct request requests[REQUESTS];
    unsigned request_count;
    size_t batch_length;
    char batch[BATCH_LIMIT];
};

static struct client clients[CLIENTS];
static atomic_ulong next_number;

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

static void append_body(struct client *client, const struct request *request, bool is_chunked) {
    char *bytes = client->batch;
    size_t sent = 0;
    while (sent < request->body) {
        size_t piece = is_chunked ? 1 + random_below(&client->seed, 4000) : request->body;
        if (piece > request->body - sent) piece = request->body - sent;
        if (is_chunked) client->batch_length += (size_t)sprintf(bytes + client->batch_length, "%zx\r\n", piece);
        for (size_t i = 0; i < piece; i++) bytes[client->batch_length++] = body_byte(request->number, sent + i);
        if (is_chunked) client->batch_length += (size_t)sprintf(bytes + client->batch_length, "\r\n");
        sent += piece;
    }
    if (is_chunked) client->batch_length += (size_t)sprintf(bytes + client->batch_length, "0\r\n\r\n");
}

static void append_request(struct client *client) {
    static const char *const number_paths[] = {"inline", "worker", "asleep", "blocking", "scope"};
    uint64_t *seed = &client->seed;
    struct request *request = &client->requests[client->request_count++];
    uint32_t choice = random_below(seed, 16);
    request->kind = choice < 7 ? NUMBER : choice < 12 ? PENDING : choice < 14 ? ECHO : LARGE;
    request->number = atomic_fetch_add(&next_number, 1);
    request->body = 0;
    bool is_inline = one_in(seed, 2), is_chunked = one_in(seed, 2);
    const char *path = request->kind == NUMBER    ? number_paths[random_below(seed, 5)]
                       : request->kind == PENDING ? (is_inline ? "pending-inline" : "pending")
                       : request->kind == ECHO    ? (is_inline ? "echo-inline" : "echo")
                                                  : (is_inline ? "large-inline" : "large");
    char *end = client->batch + client->batch_length;
    end += sprintf(end, "%s /%s/%lu HTTP/1.1\r\nHost: localhost\r\n", request->kind == ECHO ? "POST" : "GET", path,
        request->number);
    if (one_in(seed, 4)) end += sprintf(end, "X-Filler: %0*d\r\n", (int)random_below(seed, 60), 0);
    if (request->kind == ECHO) {
        request->body = random_below(seed, one_in(seed, 2) ? 300 : ECHO_LIMIT);
        if (one_in(seed, 8)) end += sprintf(end, "Expect: 100-continue\r\n");
        end += is_chunked ? sprintf(end, "Transfer-Encoding: chunked\r\n")
                          : sprintf(end, "Content-Length: %zu\r\n", request->body);
    }
    end += sprintf(end, "\r\n");
    client->batch_length = (size_t)(end - client->batch);
    if (request->kind == ECHO) append_body(client, request, is_chunked);
    request->end = client->batch_length;
}

static void make_batch(struct client *client) {
    client->request_count = 0;
    client->batch_length = 0;
    unsigned count = one_in(&client->seed, 2) ? 1 : 1 + random_below(&client->seed, REQUESTS);
    for (unsigned i = 0; i < count; i++) append_request(client);
}

/* Sends the first bytes of the batch, in one piece or in several. False: the connection took no more. */
static bool send_batch(struct client *client, size_t limit) {
    bool in_pieces = one_in(&client->seed, 4);
    for (size_t sent = 0; sent < limit;) {
        size_t piece = in_pieces ? 1 + random_below(&client->seed, 3000) : limit;
        if (piece > limit - sent) piece = limit - sent;
        ssize_t count = send(client->socket, client->batch + sent, piece, MSG_NOSIGNAL);
        if (count <= 0) return false;
        sent += (size_t)count;
        if (in_pieces && one_in(&client->seed, 4)) usleep(random_below(&client->seed, 500));
    }
    return true;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

/* Receives more behind what is there. False: the connection is at its end. */
static bool receive(struct client *client) {
    if (client->count == 0) client->start = 0;
    if (client->start > 0) memmove(client->received, client->received + client->start, client->count);
    client->start = 0;
    size_t room = sizeof client->received - 1 - client->count;
    CHECK(room > 0, "a head that does not end: %.200s", client->received);
    ssize_t count = recv(client->socket, client->received + client->count, room, 0);
    CHECK(count >= 0 || errno == ECONNRESET || errno == EPIPE || atomic_load(&is_stopping),
        "a client waits in vain: %s", strerror(errno));
    if (count <= 0) return false;
    client->count += (size_t)count;
    client->received[client->count] = 0;
    return true;
}

/* Reads a head and what it says. False: the connection is at its end, perhaps in the middle of it. */
static bool read_head(struct client *client, int *status, size_t *length) {
    for (;;) {
        client->received[client->start + client->count] = 0;
        char *head = client->received + client->start;
        char *end = client->count > 0 ? strstr(head, "\r\n\r\n") : NULL;
        if (end == NULL) {
            if (!receive(client)) return false;
            continue;
        }
        CHECK(sscanf(head, "HTTP/1.1 %d", status) == 1, "no response: %.200s", head);
        size_t head_length = (size_t)(end + 4 - head);
        client->start += head_length;
        client->count -= head_length;
        if (*status == 100) continue;
        const char *field = strstr(head, "Content-Length: ");
        CHECK(field != NULL && field < end && sscanf(field, "Content-Length: %zu", length) == 1, "no length: %.200s",
            head);
        return true;
    }
}

/* Reads and checks one response. False: the connection is at its end. */
static bool read_response(struct client *client, const struct request *request) {
    int status = 0;
    size_t length = 0, read = 0;
    char text[32];
    if (!read_head(client, &status, &length)) return false;
    if (request->kind == PENDING && status == 500) request = NULL;
    CHECK(request == NULL || status == 200, "request %lu is answered %d", request->number, status);
    size_t expected = 0;
    if (request != NULL) {
        expected = request->kind == ECHO    ? request->body
                   : request->kind == LARGE ? (request->number % LARGE_UNITS + 1) * LARGE_UNIT
                                            : (size_t)snprintf(text, sizeof text, "%lu", request->number);
    }
    CHECK(request == NULL || length == expected, "request %lu is answered with %zu bytes instead of %zu",
        request->number, length, expected);
    while (read < length) {
        if (client->count == 0 && !receive(client)) return false;
        size_t piece = client->count < length - read ? client->count : length - read;
        const char *bytes = client->received + client->start;
        for (size_t i = 0; i < piece && request != NULL; i++) {
            bool is_text = request->kind == NUMBER || request->kind == PENDING;
            char wanted = is_text ? text[read + i] : body_byte(request->number, read + i);
            CHECK(bytes[i] == wanted, "request %lu: a wrong byte at %zu", request->number, read + i);
        }
        client->start += piece;
        client->count -= piece;
        read += piece;
    }
    atomic_fetch_add(&tally.answered, 1);
    return true;
}

/* Reads what a batch, cut after so many bytes, has to be answered with. False: the connection is at its end. */
static bool read_responses(struct client *client, size_t sent) {
    for (unsigned i = 0; i < client->request_count && client->requests[i].end <= sent; i++) {
        if (read_response(client, &client->requests[i])) continue;
        CHECK(atomic_load(&is_stopping), "request %lu is not answered", client->requests[i].number);
        atomic_fetch_add(&tally.cut, 1);
        return false;
    }
    return true;
}

/* ---- Connections ------------------------------------------------------------------------------------------------ */

static bool connect_client(struct client *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(client->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = TIMEOUT_SECONDS};
    client->start = client->count = 0;
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client->socket >= 0, "no socket: %s", strerror(errno));
    setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(client->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address) == 0) {
        atomic_fetch_add(&tally.connections, 1);
        return true;
    }
    CHECK(atomic_load(&is_stopping), "a running server refuses a connection: %s", strerror(errno));
    close(client->socket);
    return false;
}

/* Leaves the socket open, in the place of another that goes. */
static void park(struct client *client) {
    int *place = &client->parked[random_below(&client->seed, PARKED)];
    if (*place >= 0) one_in(&client->seed, 2) ? reset_connection(*place) : (void)close(*place);
    *place = client->socket;
    client->socket = -1;
}

/* Sends without reading until the server takes no more, or a good deal. */
static void flood(struct client *client) {
    struct timeval limit = {.tv_usec = 20000};
    setsockopt(client->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (int batches = 0; batches < 20 && send_batch(client, client->batch_length); batches++) make_batch(client);
    atomic_fetch_add(&tally.unread, 1);
}

/* Behaves, for some batches, and ends properly. */
static void converse(struct client *client) {
    for (unsigned batches = random_below(&client->seed, 4); batches > 0 && !atomic_load(&is_stopping); batches--) {
        if (!send_batch(client, client->batch_length) || !read_responses(client, client->batch_length)) return;
        make_batch(client);
    }
    if (!send_batch(client, client->batch_length)) return;
    if (one_in(&client->seed, 2)) shutdown(client->socket, SHUT_WR);
    read_responses(client, client->batch_length);
}

/* Sends a part, closes its half, and reads: what was whole is answered, then comes the end. */
static void close_half(struct client *client, size_t cut) {
    if (!send_batch(client, cut)) return;
    shutdown(client->socket, SHUT_WR);
    if (!read_responses(client, cut)) return;
    int status;
    size_t length;
    CHECK(!read_head(client, &status, &length), "a request that was cut off is answered %d", status);
}

static void run_connection(struct client *client) {
    uint64_t *seed = &client->seed;
    make_batch(client);
    size_t cut = random_below(seed, (uint32_t)client->batch_length + 1);
    switch (random_below(seed, 10)) {
    case 0: case 1: case 2: case 3: converse(client); break;
    case 4: close_half(client, cut); break;
    case 5:
        flood(client);
        return park(client);
    case 6:
        send_batch(client, cut);
        atomic_fetch_add(&tally.broken, 1);
        return park(client);
    case 7:
        send_batch(client, cut);
        usleep(random_below(seed, 1500));
        break;
    case 8:
        /* Leaves in the middle of the responses. */
        if (!send_batch(client, client->batch_length)) break;
        recv(client->socket, client->received, 1 + random_below(seed, 8000), 0);
        break;
    default: send_batch(client, cut); break;
    }
    if (one_in(seed, 2)) reset_on_close(client->socket);
    close(client->socket);
    atomic_fetch_add(&tally.broken, 1);
}

static void *run_client(void *argument) {
    struct client *client = argument;
    for (int i = 0; i < PARKED; i++) client->parked[i] = -1;
    while (!atomic_load(&is_stopping) && connect_client(client)) run_connection(client);
    for (int i = 0; i < PARKED; i++) {
        if (client->parked[i] >= 0) close(client->parked[i]);
    }
    return NULL;
}

void start_clients(uint16_t port, uint64_t seed) {
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].port = port;
        clients[i].seed = seed * 31 + (uint64_t)i;
        CHECK(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) == 0, "no thread");
    }
}

void end_clients(void) {
    for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i].thread, NULL);
}
