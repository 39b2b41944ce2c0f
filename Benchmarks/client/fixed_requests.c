/*
 * Sends a fixed number of GET requests and checks every answer: for measurements that need a known amount of work,
 * and for proof that nothing fails.
 *
 *   fixed_requests PORT CONNECTIONS REQUESTS DEPTH PATH=BODY...
 *
 * The requests go to 127.0.0.1, shared out evenly among the connections, DEPTH at a time on each; the paths take
 * turns. An answer is right when its status is 200 and its body is BODY. Prints "N requests, N failed"; the exit
 * status is 0 when none failed, 1 when some did, 2 for wrong arguments.
 *
 * The next DEPTH requests go out, in one write, when the last DEPTH are answered. They are small enough to fit into the
 * socket's buffer, so the write may block: the server never has to wait for this client first.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_SIZE = 65536, REQUEST_SIZE = 512, MAXIMUM_DEPTH = 64, SILENCE_MS = 60000, REPORTED_FAILURES = 10 };

struct expectation {
    char request[REQUEST_SIZE];
    size_t request_size;
    const char *body;
    size_t body_size;
};

struct connection {
    int descriptor;
    uint64_t unsent;      /* requests not yet written */
    uint64_t unanswered;  /* requests written and not yet answered */
    uint64_t next_sent;   /* the number of the next request, which chooses its expectation */
    uint64_t next_answer; /* the number of the request that the next answer is for */
    char input[INPUT_SIZE];
    size_t input_size;
};

struct client {
    struct sockaddr_in address;
    int set;
    uint64_t depth;
    uint64_t finished;
    uint64_t failed;
    uint64_t expectation_count;
    struct expectation *expectations;
};

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

static void fail(struct client *client, uint64_t count, const char *why, const char *request) {
    if (client->failed < REPORTED_FAILURES) {
        fprintf(stderr, "failed: %s: %.*s\n", why, (int)strcspn(request, "\r"), request);
    }
    client->failed += count;
    client->finished += count;
}

static struct expectation *expectation_of(struct client *client, uint64_t number) {
    return &client->expectations[number % client->expectation_count];
}

static void open_connection(struct client *client, struct connection *connection) {
    int one = 1;
    connection->descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->descriptor < 0) die("socket");
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const struct sockaddr *address = (const struct sockaddr *)&client->address;
    if (connect(connection->descriptor, address, sizeof client->address) != 0) die("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(client->set, EPOLL_CTL_ADD, connection->descriptor, &event) != 0) die("epoll_ctl");
    connection->input_size = 0;
}

static bool send_batch(struct client *client, struct connection *connection) {
    static char output[MAXIMUM_DEPTH * REQUEST_SIZE];
    uint64_t count = connection->unsent < client->depth ? connection->unsent : client->depth;
    size_t size = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct expectation *expectation = expectation_of(client, connection->next_sent++);
        memcpy(output + size, expectation->request, expectation->request_size);
        size += expectation->request_size;
    }
    connection->unsent -= count;
    connection->unanswered += count;
    for (size_t place = 0; place < size;) {
        ssize_t sent = send(connection->descriptor, output + place, size - place, MSG_NOSIGNAL);
        if (sent < 0) return false;
        place += (size_t)sent;
    }
    return true;
}

/*
 * Reads one answer at the start of size bytes, which end in NUL. Returns its size; 0 when it is not complete yet; -1
 * when it is no answer of known length. `right` tells whether it is the one expected.
 */
static ssize_t read_answer(const char *bytes, size_t size, const struct expectation *expectation, bool *right) {
    const char *head_end = memmem(bytes, size, "\r\n\r\n", 4);
    if (head_end == NULL) return size < INPUT_SIZE - 1 ? 0 : -1;
    const char *field = strcasestr(bytes, "\r\nContent-Length:");
    if (field == NULL || field > head_end) return -1;
    size_t length = strtoull(field + strlen("\r\nContent-Length:"), NULL, 10);
    size_t head_size = (size_t)(head_end + 4 - bytes);
    if (length > INPUT_SIZE - 1 - head_size) return -1;
    if (size < head_size + length) return 0;
    *right = strncmp(bytes, "HTTP/1.1 200 ", 13) == 0 && length == expectation->body_size &&
             memcmp(head_end + 4, expectation->body, length) == 0;
    return (ssize_t)(head_size + length);
}

/* Checks the answers that are complete; false when what came is no answer. */
static bool check_answers(struct client *client, struct connection *connection) {
    size_t place = 0;
    while (connection->unanswered > 0 && place < connection->input_size) {
        const struct expectation *expectation = expectation_of(client, connection->next_answer);
        bool right = false;
        connection->input[connection->input_size] = '\0';
        ssize_t size =
            read_answer(connection->input + place, connection->input_size - place, expectation, &right);
        if (size < 0) return false;
        if (size == 0) break;
        place += (size_t)size;
        connection->next_answer++;
        connection->unanswered--;
        if (right) {
            client->finished++;
        } else {
            fail(client, 1, "wrong answer", expectation->request);
        }
    }
    connection->input_size -= place;
    memmove(connection->input, connection->input + place, connection->input_size);
    return connection->unanswered > 0 || connection->input_size == 0;
}

static bool receive(struct client *client, struct connection *connection) {
    ssize_t received = recv(connection->descriptor, connection->input + connection->input_size,
        INPUT_SIZE - 1 - connection->input_size, 0);
    if (received <= 0) return false;
    connection->input_size += (size_t)received;
    if (!check_answers(client, connection)) return false;
    return connection->unanswered > 0 || connection->unsent == 0 || send_batch(client, connection);
}

/* All that was sent and not answered has failed; what was not sent goes over a new connection. */
static void replace(struct client *client, struct connection *connection) {
    close(connection->descriptor);
    uint64_t lost = connection->unanswered;
    const char *request = expectation_of(client, connection->next_answer)->request;
    fail(client, lost, lost > 0 ? "connection lost" : "connection closed between requests", request);
    connection->unanswered = 0;
    connection->next_answer = connection->next_sent;
    if (connection->unsent == 0) return;
    open_connection(client, connection);
    if (!send_batch(client, connection)) die("send");
}

static void run(struct client *client, struct connection *connections, uint64_t count, uint64_t requests) {
    for (uint64_t i = 0; i < count; i++) {
        connections[i].unsent = requests / count + (i < requests % count);
        connections[i].next_sent = connections[i].next_answer = i; /* so that the paths are mixed at every moment */
        open_connection(client, &connections[i]);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (connections[i].unsent > 0 && !send_batch(client, &connections[i])) die("send");
    }
    while (client->finished < requests) {
        struct epoll_event events[64];
        int ready = epoll_wait(client->set, events, 64, SILENCE_MS);
        if (ready < 0) die("epoll_wait");
        if (ready == 0) {
            fprintf(stderr, "failed: silence for %d ms\n", SILENCE_MS);
            client->failed += requests - client->finished;
            return;
        }
        for (int i = 0; i < ready; i++) {
            if (!receive(client, events[i].data.ptr)) replace(client, events[i].data.ptr);
        }
    }
}

static bool read_expectation(char *argument, struct expectation *expectation) {
    char *separator = strchr(argument, '=');
    if (separator == NULL) return false;
    *separator = '\0';
    int size = snprintf(expectation->request, REQUEST_SIZE, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argument);
    expectation->request_size = (size_t)size;
    expectation->body = separator + 1;
    expectation->body_size = strlen(separator + 1);
    return size < REQUEST_SIZE;
}

int main(int argc, char **argv) {
    uint64_t numbers[4] = {0};
    for (int i = 1; i < argc && i <= 4; i++) numbers[i - 1] = strtoull(argv[i], NULL, 10);
    uint64_t port = numbers[0], count = numbers[1], requests = numbers[2], depth = numbers[3];
    bool valid = argc >= 6 && port > 0 && port <= UINT16_MAX && count > 0 && requests > 0;
    if (!valid || depth == 0 || depth > MAXIMUM_DEPTH) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS REQUESTS DEPTH PATH=BODY...\n", argv[0]);
        fprintf(stderr, "DEPTH is 1 to %d\n", MAXIMUM_DEPTH);
        return 2;
    }
    struct client client = {
        .address = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        .set = epoll_create1(0),
        .depth = depth,
        .expectation_count = (uint64_t)(argc - 5),
        .expectations = calloc((size_t)(argc - 5), sizeof(struct expectation)),
    };
    struct connection *connections = calloc(count, sizeof *connections);
    if (client.set < 0 || client.expectations == NULL || connections == NULL) die("start");
    for (int i = 5; i < argc; i++) {
        if (!read_expectation(argv[i], &client.expectations[i - 5])) {
            fprintf(stderr, "%s: \"%s\" is not PATH=BODY\n", argv[0], argv[i]);
            return 2;
        }
    }
    run(&client, connections, count, requests);
    printf("%llu requests, %llu failed\n", (unsigned long long)requests, (unsigned long long)client.failed);
    return client.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
