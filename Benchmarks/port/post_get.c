/*
 * post_get: nanoseconds for a packet through the port: posted and received by one thread; bounced between two threads
 * on two ports, which wakes a thread each time; and streamed from one thread to another that takes them in batches.
 */
#include <mews/port.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { ALONE = 5000000, BOUNCES = 200000, STREAMED = 3000000 };

static mews_port *first, *second;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void *bounce(void *unused) {
    mews_packet packet;
    for (int i = 0; i < BOUNCES; i++)
        if (mews_port_get(second, -1, &packet) != MEWS_OK || mews_port_post(first, 1, 0, NULL) != MEWS_OK) break;
    return unused;
}

static void *drain(void *unused) {
    mews_packet packets[64];
    size_t count, total = 0;
    while (total < STREAMED && mews_port_get_many(second, -1, packets, 64, &count) == MEWS_OK) total += count;
    return unused;
}

int main(void) {
    mews_packet packet;
    pthread_t thread;
    if (mews_port_create(1, &first) != MEWS_OK || mews_port_create(1, &second) != MEWS_OK) return 1;

    double begin = now();
    for (int i = 0; i < ALONE; i++)
        if (mews_port_post(first, (uint64_t)i, 0, NULL) != MEWS_OK || mews_port_get(first, -1, &packet) != MEWS_OK)
            return 1;
    printf("post and get on one thread        %8.1f ns\n", (now() - begin) / ALONE);

    if (pthread_create(&thread, NULL, bounce, NULL) != 0) return 1;
    begin = now();
    for (int i = 0; i < BOUNCES; i++)
        if (mews_port_post(second, 1, 0, NULL) != MEWS_OK || mews_port_get(first, -1, &packet) != MEWS_OK) return 1;
    printf("there and back between two threads%8.1f ns\n", (now() - begin) / BOUNCES);
    pthread_join(thread, NULL);

    if (pthread_create(&thread, NULL, drain, NULL) != 0) return 1;
    begin = now();
    for (int i = 0; i < STREAMED; i++)
        if (mews_port_post(second, 1, 0, NULL) != MEWS_OK) return 1;
    pthread_join(thread, NULL);
    printf("a stream from one to another      %8.1f ns\n", (now() - begin) / STREAMED);
    return 0;
}
