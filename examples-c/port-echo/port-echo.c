/*
 * port-echo [PORT [THREADS]]: sends back what it receives, on 127.0.0.1, until SIGINT or SIGTERM.
 *
 * Every thread runs the same loop: take packets, handle them. There is no other thread: those that wait drive the input
 * and output of the port. A connection has one operation in flight at a time, so it needs no lock.
 */
#include <errno.h>
#include <mews/port.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKETS_AT_ONCE = 64, THREADS_AT_MOST = 64, ACCEPTS_IN_FLIGHT = 4, STOP = 1 };

struct connection {
    mews_operation operation;
    mews_handle socket;
    int is_sending;
    char buffer[16384];
};

static mews_port *port;
static mews_handle listener;

static void fail(const char *what, mews_result result) {
    fprintf(stderr, "port-echo: %s: %s\n", what, result == MEWS_E_SYSTEM ? strerror(errno) : mews_result_text(result));
    exit(1);
}

static void end(struct connection *connection) {
    mews_handle_close(port, connection->socket);
    free(connection);
}

/*
 * Goes on until an operation has to wait: its packet is the next we hear of the connection. Because of
 * MEWS_HANDLE_SKIP_ON_SUCCESS, what is done at once has no packet and is handled right here.
 */
static void go_on(struct connection *connection, uint64_t bytes) {
    for (;;) {
        mews_result result;
        if (connection->is_sending) {
            connection->is_sending = 0;
            result = mews_port_receive(
                port, connection->socket, &connection->operation, connection->buffer, sizeof connection->buffer);
        } else {
            if (bytes == 0) break; /* the peer is done */
            connection->is_sending = 1;
            result = mews_port_send(
                port, connection->socket, &connection->operation, connection->buffer, (size_t)bytes);
        }
        if (result == MEWS_PENDING) return;
        if (result != MEWS_OK) break;
        bytes = mews_operation_bytes(&connection->operation);
    }
    end(connection);
}

static void begin(int descriptor) {
    struct connection *connection = calloc(1, sizeof *connection);
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connection == NULL || mews_port_associate(port, descriptor, (uintptr_t)connection, MEWS_HANDLE_SKIP_ON_SUCCESS,
                                                  &connection->socket) != MEWS_OK) {
        free(connection);
        close(descriptor);
        return;
    }
    connection->is_sending = 1;
    go_on(connection, 0);
}

/* Takes connections until there is none; the packet of the accept then in flight comes with the next one. */
static void accept_more(mews_operation *operation) {
    for (;;) {
        mews_result result = mews_port_accept(port, listener, operation);
        if (result == MEWS_OK) {
            begin(mews_operation_descriptor(operation));
            continue;
        }
        if (result == MEWS_PENDING || result == MEWS_E_GONE) return;
        /* Out of descriptors, most likely: try again when some connection may have ended. */
        if (mews_port_timer(port, operation, 100, 0) != MEWS_PENDING) fail("mews_port_timer", result);
        return;
    }
}

/* Returns 0 when the server is to end. */
static int handle(const mews_packet *packet) {
    if (packet->operation == NULL) return packet->key != STOP;
    if (packet->key != 0) {
        struct connection *connection = (struct connection *)(uintptr_t)packet->key;
        if (packet->status == MEWS_OK) {
            go_on(connection, packet->bytes);
        } else {
            end(connection);
        }
        return 1;
    }
    /* Key 0: an accept, or the timer that stands in for one. */
    if (packet->status == MEWS_OK && mews_operation_descriptor(packet->operation) >= 0)
        begin(mews_operation_descriptor(packet->operation));
    if (packet->status != MEWS_E_CANCELED) accept_more(packet->operation);
    return 1;
}

static void *work(void *unused) {
    mews_packet packets[PACKETS_AT_ONCE];
    size_t count;
    while (mews_port_get_many(port, -1, packets, PACKETS_AT_ONCE, &count) == MEWS_OK) {
        for (size_t i = 0; i < count; i++) {
            if (handle(&packets[i])) continue;
            /* The others are to end as well. */
            mews_port_post(port, STOP, 0, NULL);
            return unused;
        }
    }
    return unused;
}

static void listen_on(uint16_t number) {
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (descriptor < 0 || setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(descriptor, (struct sockaddr *)&address, length) < 0 || listen(descriptor, 1024) < 0 ||
        getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        fail("listening", MEWS_E_SYSTEM);
    mews_result result = mews_port_associate(port, descriptor, 0, MEWS_HANDLE_SKIP_ON_SUCCESS, &listener);
    if (result != MEWS_OK) fail("mews_port_associate", result);
    printf("port-echo: listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* Connections that are still open when the port is shut down. */
static void sweep(void *context, const mews_packet *packet) {
    (void)context;
    if (packet->operation == NULL) return;
    if (packet->key != 0) {
        free((struct connection *)(uintptr_t)packet->key);
    } else if (packet->status == MEWS_OK && mews_operation_descriptor(packet->operation) >= 0) {
        close(mews_operation_descriptor(packet->operation));
    }
}

int main(int argc, char **argv) {
    int thread_count = argc > 2 ? atoi(argv[2]) : 2;
    if (thread_count < 1 || thread_count > THREADS_AT_MOST) thread_count = 1;

    /* Signals are for sigwait below: the threads inherit the mask. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    mews_result result = mews_port_create(0, &port);
    if (result != MEWS_OK) fail("mews_port_create", result);
    listen_on(argc > 1 ? (uint16_t)atoi(argv[1]) : 7007);
    static mews_operation accepts[ACCEPTS_IN_FLIGHT];
    for (int i = 0; i < ACCEPTS_IN_FLIGHT; i++) accept_more(&accepts[i]);

    pthread_t threads[THREADS_AT_MOST];
    for (int i = 0; i < thread_count; i++) {
        errno = pthread_create(&threads[i], NULL, work, NULL);
        if (errno != 0) fail("pthread_create", MEWS_E_SYSTEM);
    }
    int signal_number;
    sigwait(&signals, &signal_number);
    mews_port_post(port, STOP, 0, NULL);
    for (int i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);
    mews_port_shutdown(port, sweep, NULL);
    mews_port_close(port);
    return 0;
}
