/*
 * echo_client PORT SECONDS: 64 connections, each with one message of 64 bytes on its way. Prints how many came back.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 64, MESSAGE = 64 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    double end = now() + atof(argv[2]);
    char message[MESSAGE];
    memset(message, 'm', sizeof message);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < CONNECTIONS; i++) {
        int one = 1;
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) return 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
        epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
        if (send(descriptor, message, sizeof message, MSG_NOSIGNAL) != MESSAGE) return 1;
    }
    uint64_t count = 0;
    while (now() < end) {
        struct epoll_event events[CONNECTIONS];
        int ready = epoll_wait(poll, events, CONNECTIONS, 100);
        for (int i = 0; i < ready; i++) {
            char buffer[MESSAGE];
            if (recv(events[i].data.fd, buffer, sizeof buffer, 0) != MESSAGE) return 1;
            if (send(events[i].data.fd, message, sizeof message, MSG_NOSIGNAL) != MESSAGE) return 1;
            count++;
        }
    }
    printf("%llu\n", (unsigned long long)count);
    return 0;
}
