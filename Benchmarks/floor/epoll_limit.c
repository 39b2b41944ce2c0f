/*
 * The floor under an HTTP/1.1 server on epoll: see floor.h. One epoll set a thread, edge-triggered, so that a
 * connection costs one recv and one send a pass and nothing is asked of the kernel twice.
 *
 *   epoll_limit PORT THREADS
 */
#define _GNU_SOURCE
#include "floor.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 512, INPUT_SIZE = 65536 };

static void watch(int set, int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

static void accept_all(int listener, int set) {
    int connection;
    while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        watch(set, connection, EPOLLIN | EPOLLET);
    }
}

/* A read that fills the input may have left bytes behind, which an edge-triggered set will not speak of again. */
static void answer(int connection, char *input, const char *responses) {
    ssize_t received;
    do {
        received = recv(connection, input, INPUT_SIZE, 0);
        if (received <= 0) {
            close(connection);
            return;
        }
        int requests = count_requests(input, (size_t)received);
        if (requests == 0) continue;
        if (send(connection, responses, (size_t)requests * RESPONSE_SIZE, MSG_NOSIGNAL) < 0) {
            close(connection);
            return;
        }
    } while (received == INPUT_SIZE);
}

static void *loop(void *argument) {
    int listener = listen_on(*(uint16_t *)argument, SOCK_NONBLOCK);
    int set = epoll_create1(0);
    if (set < 0) die("epoll_create1");
    watch(set, listener, EPOLLIN);
    char *responses = make_responses();
    char *input = malloc(INPUT_SIZE);
    if (input == NULL) die("malloc");
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                accept_all(listener, set);
            } else {
                answer(events[i].data.fd, input, responses);
            }
        }
    }
    return NULL;
}

int main(int argc, char **argv) { return run_floor(argc, argv, loop); }
