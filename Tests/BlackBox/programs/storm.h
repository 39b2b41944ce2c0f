/*
 * What the storms share: checks that end the program, random numbers that a seed repeats, and what the process holds.
 */
#ifndef STORM_H
#define STORM_H

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#define STORM_HAS_FEATURE(name) __has_feature(name)
#else
#define STORM_HAS_FEATURE(name) 0
#endif

/* A sanitizer's own records grow with what it watches: the resident memory then says nothing. */
static const bool is_sanitized = STORM_HAS_FEATURE(address_sanitizer) || STORM_HAS_FEATURE(thread_sanitizer);

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) fail(__LINE__, __VA_ARGS__); \
    } while (0)

_Noreturn __attribute__((format(printf, 2, 3))) static void fail(int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "line %d: ", line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    /* With MEWS_STORM_ABORT in the environment, what is left is for a debugger. */
    if (getenv("MEWS_STORM_ABORT") != NULL) abort();
    _exit(1);
}

/* A linear congruential generator of 64 bits, of which the upper ones are used. */
static inline uint32_t next_random(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Below a limit. */
static inline uint32_t random_below(uint64_t *seed, uint32_t limit) { return next_random(seed) % limit; }

/* Once in so many times. */
static inline bool one_in(uint64_t *seed, uint32_t times) { return random_below(seed, times) == 0; }

/* Milliseconds on the monotonic clock. */
static inline uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether it is one that a sanitizer has for itself: pipes to what gives addresses their names. */
static inline bool is_sanitizers_descriptor(const char *name) {
    char path[300], target[8] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%s", name);
    return is_sanitized && readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "pipe:", 5) == 0;
}

/* How many entries a folder of /proc has, without "." and "..". */
static inline int count_entries(const char *path, bool (*is_left_out)(const char *name)) {
    DIR *directory = opendir(path);
    CHECK(directory != NULL, "%s cannot be read", path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.' && (is_left_out == NULL || !is_left_out(entry->d_name))) count++;
    }
    closedir(directory);
    return count;
}

/* The one with which it counts is among them, always. */
static inline int count_descriptors(void) { return count_entries("/proc/self/fd", is_sanitizers_descriptor); }

/* The kernel takes a thread off its list a moment after pthread_join has returned: waits 5 seconds for that. */
static inline int count_threads(int expected) {
    int count = 0;
    for (int attempt = 0; attempt < 5000; attempt++) {
        count = count_entries("/proc/self/task", NULL);
        if (count <= expected) break;
        usleep(1000);
    }
    return count;
}

static inline long resident_kib(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2, "/proc/self/statm cannot be read");
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Has close reset the connection. */
static inline void reset_on_close(int socket) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static inline void reset_connection(int socket) {
    reset_on_close(socket);
    close(socket);
}

/*
 * What the process holds between two rounds: it has to be what it was before the first one. Memory may grow while
 * caches fill: it is compared with what it was after some rounds, and may be above that by the tolerance.
 */
struct holdings {
    int descriptors;
    int threads;
    long resident;
};

enum { RESIDENT_TOLERANCE_KIB = 8 << 10, ROUNDS_TO_WARM_UP = 4 };

static inline void *do_nothing(void *argument) { return argument; }

static inline struct holdings count_holdings(void) {
    /* A sanitizer has a thread of its own from the first one on. */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, do_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0, "no thread");
    /* An arena a thread would spread what is free over more of them in each round. */
    mallopt(M_ARENA_MAX, 2);
    int threads = count_threads(is_sanitized ? 2 : 1);
    return (struct holdings){.descriptors = count_descriptors(), .threads = threads, .resident = 0};
}

/* Checks them after a round. */
static inline void check_holdings(struct holdings *first, unsigned round) {
    int descriptors = count_descriptors(), threads = count_threads(first->threads);
    CHECK(descriptors == first->descriptors, "round %u: %d descriptors were open, now %d", round, first->descriptors,
        descriptors);
    CHECK(threads == first->threads, "round %u: there were %d threads, now %d", round, first->threads, threads);
    malloc_trim(0);
    long resident = resident_kib();
    if (round == ROUNDS_TO_WARM_UP) first->resident = resident;
    CHECK(is_sanitized || round <= ROUNDS_TO_WARM_UP || resident <= first->resident + RESIDENT_TOLERANCE_KIB,
        "round %u: %ld KiB were resident after the warm-up, now %ld", round, first->resident, resident);
}

#endif
