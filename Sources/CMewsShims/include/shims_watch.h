/* What one thread can find out about another of its process: how much CPU time it has used, and whether it sleeps. */
#ifndef CMEWS_SHIMS_WATCH_H
#define CMEWS_SHIMS_WATCH_H

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's number of the calling thread. */
static inline int32_t shim_thread_id(void) { return (int32_t)syscall(SYS_gettid); }

/* The clock of the calling thread's CPU time, for other threads of the process to read while this one lives. */
static inline int32_t shim_thread_clock(void) {
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (int32_t)clock : (int32_t)CLOCK_THREAD_CPUTIME_ID;
}

/* The time of a clock of shim_thread_clock in nanoseconds; -1 when its thread is gone. */
static inline int64_t shim_clock_nanoseconds(int32_t clock) {
    struct timespec time;
    if (clock_gettime((clockid_t)clock, &time) != 0) return -1;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/*
 * What the calling thread has used so far: CPU time in nanoseconds, and how often it has gone to sleep by its own
 * doing. The kernel's count of CPU time in getrusage is that of its last tick, milliseconds old; hence two calls.
 */
struct shim_thread_usage {
    int64_t cpu_time;
    int64_t waits;
};
SHIM_NO_LOCKS struct shim_thread_usage shim_thread_usage_now(void);

/* Opens what shim_thread_sleeps reads, for a thread of this process. Returns a descriptor, or a negative errno. */
int32_t shim_thread_state_open(int32_t thread);

/*
 * Whether the kernel has the thread waiting (for a lock, a time, a file, ...) at this moment, rather than running or
 * ready to run. 1 or 0; -1 when it does not say, because the thread is gone.
 */
int32_t shim_thread_sleeps(int32_t descriptor);

#endif
