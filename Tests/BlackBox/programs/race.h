/*
 * What the races share: clients that send requests by number, and read answers that name theirs.
 */
#ifndef RACE_H
#define RACE_H

#include "storm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/time.h>

enum { CLIENT_TIMEOUT_SECONDS = 60 };

/* The server is about to stop: it may refuse connections, and end those it has. */
static atomic_bool is_stopping;

struct client {
    uint16_t port;
    uint64_t seed;
    int socket;
    char received[2048]; /* ends in NUL */
    size_t count;
};

static void disconnect(struct client *client, bool resets) {
    if (resets) reset_on_close(client->socket);
    close(client->socket);
    client->socket = -1;
}

/* False: a server that stops takes no more. */
static bool connect_client(struct client *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(client->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = CLIENT_TIMEOUT_SECONDS};
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    client->count = 0;
    client->received[0] = 0;
    CHECK(client->socket >= 0, "no socket");
    setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address) == 0) return true;
    CHECK(atomic_load(&is_stopping), "a running server refuses a connection");
    disconnect(client, false);
    return false;
}

/* Receives more. False: the connection has ended. */
static bool receive(struct client *client) {
    size_t room = sizeof client->received - 1 - client->count;
    CHECK(room > 0, "a response that does not end: %s", client->received);
    ssize_t count = recv(client->socket, client->received + client->count, room, 0);
    if (count <= 0) return false;
    client->count += (size_t)count;
    client->received[client->count] = 0;
    return true;
}

struct answer {
    int status;
    unsigned long number; /* the body's */
    bool closes;
};

enum reading { WHOLE, NONE, HALF };

/* Reads one answer, whose body is shorter than a limit. NONE, HALF: the connection ended before it, or within its
 * body. */
static enum reading read_answer(struct client *client, size_t limit, struct answer *answer) {
    char *end;
    while ((end = strstr(client->received, "\r\n\r\n")) == NULL) {
        if (!receive(client)) return NONE;
    }
    size_t length = 0, head = (size_t)(end + 4 - client->received);
    CHECK(sscanf(client->received, "HTTP/1.1 %d", &answer->status) == 1, "no response: %s", client->received);
    const char *field = strstr(client->received, "Content-Length: ");
    CHECK(field != NULL && field < end && sscanf(field, "Content-Length: %zu", &length) == 1 && length < limit,
        "no length: %s", client->received);
    while (client->count < head + length) {
        if (!receive(client)) return HALF;
    }
    answer->number = strtoul(client->received + head, NULL, 10);
    const char *close = strstr(client->received, "Connection: close");
    answer->closes = close != NULL && close < end;
    client->count -= head + length;
    memmove(client->received, client->received + head + length, client->count + 1);
    return WHOLE;
}

#endif
