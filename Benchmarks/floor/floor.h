/*
 * What both floor programs share: the constant answer, and the counting of requests that stands in for parsing.
 *
 * A floor does only what no HTTP/1.1 server can leave out: it takes bytes from the kernel, looks at all of them to
 * tell how many requests they hold, and gives as many answers back in one send. No head is parsed, no route is looked
 * up, no limit is kept. A server's cost above the floor is its own.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\nServer: L\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

enum { RESPONSE_SIZE = sizeof RESPONSE - 1, MAXIMUM_BATCH = 256, BATCH_SIZE = MAXIMUM_BATCH * RESPONSE_SIZE };

static inline _Noreturn void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

/* MAXIMUM_BATCH answers in a row: as many as needed are sent from its start. */
static inline char *make_responses(void) {
    char *responses = malloc(BATCH_SIZE);
    if (responses == NULL) die("malloc");
    for (int i = 0; i < MAXIMUM_BATCH; i++) memcpy(responses + i * RESPONSE_SIZE, RESPONSE, RESPONSE_SIZE);
    return responses;
}

/* The blank lines ("\r\n\r\n") of count bytes, at most MAXIMUM_BATCH. Sixteen places at a time where it can. */
static inline int count_requests(const char *bytes, size_t count) {
    size_t place = 0;
    int requests = 0;
#if defined(__SSE2__)
    const __m128i carriage_return = _mm_set1_epi8('\r'), line_feed = _mm_set1_epi8('\n');
    for (; place + 19 <= count; place += 16) {
        const char *p = bytes + place;
        __m128i first = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), carriage_return);
        __m128i second = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + 1)), line_feed);
        __m128i third = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + 2)), carriage_return);
        __m128i fourth = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + 3)), line_feed);
        __m128i all = _mm_and_si128(_mm_and_si128(first, second), _mm_and_si128(third, fourth));
        requests += __builtin_popcount((unsigned)_mm_movemask_epi8(all));
    }
#endif
    for (; place + 4 <= count; place++) requests += memcmp(bytes + place, "\r\n\r\n", 4) == 0;
    return requests < MAXIMUM_BATCH ? requests : MAXIMUM_BATCH;
}

/* A socket that listens on 127.0.0.1; every thread has its own, the kernel shares connections out among them. */
static inline int listen_on(uint16_t port, int flags) {
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | flags, 0);
    if (listener < 0) die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
    if (listen(listener, 4096) != 0) die("listen");
    return listener;
}

/* Runs one loop on each of `threads` threads: PROGRAM PORT THREADS. */
static inline int run_floor(int argc, char **argv, void *(*loop)(void *)) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT THREADS\n", argv[0]);
        return 2;
    }
    static uint16_t port;
    port = (uint16_t)atoi(argv[1]);
    for (int i = atoi(argv[2]); i > 1; i--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, loop, &port) != 0) die("pthread_create");
    }
    loop(&port);
    return EXIT_FAILURE;
}

#endif
