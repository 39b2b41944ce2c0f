/*
 * echo_port leader|hand-off: the same echo on a completion port. leader: one thread waits, and handles what it finds.
 * hand-off: that thread passes each packet to a second one through another port. Prints its TCP port.
 */
#include <mews/port.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PACKETS_AT_ONCE = 256 };

struct connection {
    mews_operation operation;
    mews_handle socket;
    char buffer[4096];
};

static mews_port *port, *other_port;
static mews_handle listener;

static void receive(struct connection *connection, uint64_t bytes) {
    mews_result result;
    do {
        if (bytes > 0) {
            result = mews_port_send(port, connection->socket, &connection->operation, connection->buffer, bytes);
            if (result != MEWS_OK) abort();
        }
        result = mews_port_receive(
            port, connection->socket, &connection->operation, connection->buffer, sizeof connection->buffer);
        bytes = result == MEWS_OK ? mews_operation_bytes(&connection->operation) : 0;
    } while (bytes > 0);
    if (result == MEWS_PENDING) return;
    mews_handle_close(port, connection->socket);
    free(connection);
}

static void serve(struct connection *connection, mews_result status, uint64_t bytes) {
    if (status == MEWS_OK && bytes > 0) {
        receive(connection, bytes);
    } else {
        mews_handle_close(port, connection->socket);
        free(connection);
    }
}

static void accept_all(mews_operation *operation, int is_done) {
    while (is_done || mews_port_accept(port, listener, operation) == MEWS_OK) {
        int one = 1, descriptor = mews_operation_descriptor(operation);
        is_done = 0;
        struct connection *connection = calloc(1, sizeof *connection);
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (mews_port_associate(port, descriptor, (uintptr_t)connection, MEWS_HANDLE_SKIP_ON_SUCCESS,
                                &connection->socket) != MEWS_OK)
            abort();
        receive(connection, 0);
    }
}

static void *work(void *unused) {
    mews_packet packets[PACKETS_AT_ONCE];
    size_t count;
    while (mews_port_get_many(other_port, -1, packets, PACKETS_AT_ONCE, &count) == MEWS_OK)
        for (size_t i = 0; i < count; i++)
            serve((struct connection *)(uintptr_t)packets[i].key, MEWS_OK, packets[i].bytes);
    return unused;
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int hands_off = argc > 1 && strcmp(argv[1], "hand-off") == 0;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (mews_port_create(1, &port) != MEWS_OK || mews_port_create(1, &other_port) != MEWS_OK ||
        bind(descriptor, (struct sockaddr *)&address, length) < 0 || listen(descriptor, 1024) < 0 ||
        getsockname(descriptor, (struct sockaddr *)&address, &length) < 0 ||
        mews_port_associate(port, descriptor, 0, MEWS_HANDLE_SKIP_ON_SUCCESS, &listener) != MEWS_OK)
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t thread;
    if (hands_off && pthread_create(&thread, NULL, work, NULL) != 0) return 1;
    static mews_operation accepting;
    accept_all(&accepting, 0);
    mews_packet packets[PACKETS_AT_ONCE];
    size_t count;
    while (mews_port_get_many(port, -1, packets, PACKETS_AT_ONCE, &count) == MEWS_OK) {
        for (size_t i = 0; i < count; i++) {
            mews_packet *packet = &packets[i];
            if (packet->key == 0) {
                accept_all(packet->operation, packet->status == MEWS_OK);
            } else if (hands_off && packet->status == MEWS_OK && packet->bytes > 0) {
                if (mews_port_post(other_port, packet->key, packet->bytes, packet->operation) != MEWS_OK) return 1;
            } else {
                serve((struct connection *)(uintptr_t)packet->key, packet->status, packet->bytes);
            }
        }
    }
    return 0;
}
