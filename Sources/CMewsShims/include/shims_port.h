/* What the completion port and the threads of the runtime need of the system. */
#ifndef CMEWS_SHIMS_PORT_H
#define CMEWS_SHIMS_PORT_H

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Room for a thread's record with the completion port it waits on; zeroed when the thread starts. */
#define SHIM_PORT_THREAD_SIZE 128

struct shim_port_thread_storage {
    uint8_t bytes[SHIM_PORT_THREAD_SIZE];
} __attribute__((aligned(64)));

extern __thread struct shim_port_thread_storage shim_port_thread_storage_;

SHIM_NO_LOCKS static inline void *_Nonnull shim_port_thread(void) { return &shim_port_thread_storage_; }

/*
 * Has the destructor called with value when this thread exits. There is one destructor in a process: every call has to
 * pass the same. Returns 0, EAGAIN when the process has no key left, or ENOMEM.
 */
SHIM_NO_LOCKS int32_t shim_at_thread_exit(void *_Nonnull value, void (*_Nonnull destructor)(void *_Nullable value));

/* Nanoseconds on the clock that futex deadlines are on. */
SHIM_NO_LOCKS static inline int64_t shim_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Waits while *word holds expected, until the monotonic clock shows deadline (negative: for ever). Returns 0 when woken
 * or when the word held something else, ETIMEDOUT, or EINTR. It may also return 0 for no reason.
 */
SHIM_NO_LOCKS static inline int32_t shim_futex_wait_until(const void *_Nonnull word, uint32_t expected,
                                                          int64_t deadline_ns) {
    struct timespec deadline, *limit = NULL;
    if (deadline_ns >= 0) {
        deadline.tv_sec = deadline_ns / 1000000000;
        deadline.tv_nsec = deadline_ns % 1000000000;
        limit = &deadline;
    }
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, limit, NULL, FUTEX_BITSET_MATCH_ANY);
    return result == 0 || errno == EAGAIN ? 0 : errno;
}

/* Wakes one waiter of a word. The address is only a name here: the memory behind it may be gone already. */
SHIM_NO_LOCKS static inline void shim_futex_wake_one(const void *_Nonnull word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/*
 * Blocks every signal on this thread but those that a fault raises: a blocked fault kills the process past any crash
 * reporter. Stores what was blocked before.
 */
static inline void shim_block_signals(sigset_t *_Nonnull before) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

/*
 * Starts a joinable thread with a stack of so many bytes plus a guard page, and with signals blocked from its first
 * instruction on. Returns 0 or an errno.
 */
static inline int32_t shim_thread_create(pthread_t *_Nonnull thread, size_t stack,
                                         void *_Nullable (*_Nonnull body)(void *_Nullable context),
                                         void *_Nullable context) {
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    pthread_attr_t attributes;
    int32_t error = pthread_attr_init(&attributes);
    if (error != 0) return error;
    pthread_attr_setstacksize(&attributes, stack + guard);
    pthread_attr_setguardsize(&attributes, guard);
    sigset_t before;
    shim_block_signals(&before);
    error = pthread_create(thread, &attributes, body, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

/* Names the calling thread "PREFIX-NUMBER", cut to the kernel's 15 characters. */
static inline void shim_thread_set_name(const char *_Nonnull prefix, uint32_t number) {
    char name[16];
    snprintf(name, sizeof(name), "%s-%u", prefix, number);
    prctl(PR_SET_NAME, name);
}

/* Names the calling thread; the kernel keeps 15 characters. */
static inline void shim_thread_set_plain_name(const char *_Nonnull name) { prctl(PR_SET_NAME, name); }

/*
 * The number of CPUs in the calling thread's affinity mask, or 0 when the kernel does not say. The mask may be wider
 * than the C library's cpu_set_t, hence the bare system call.
 */
static inline int32_t shim_affinity_count(void) {
    uint64_t mask[1024];
    long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    int32_t count = 0;
    for (long i = 0; i < size / (long)sizeof(uint64_t); i++) count += __builtin_popcountll(mask[i]);
    return count;
}

#endif
