/* Per-thread state and waiting. */
#ifndef CMEWS_SHIMS_THREAD_H
#define CMEWS_SHIMS_THREAD_H

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * What a thread of the runtime is to the runtime: set by the thread itself. It is looked at twice a request, so it lies
 * at a fixed distance from the thread pointer and is found without a call; the C library keeps room there for libraries
 * that are loaded late.
 */
extern __thread void *_Nullable shim_thread_context_ __attribute__((tls_model("initial-exec")));

SHIM_NO_LOCKS static inline void *_Nullable shim_thread_context(void) { return shim_thread_context_; }
SHIM_NO_LOCKS static inline void shim_set_thread_context(void *_Nullable context) { shim_thread_context_ = context; }

SHIM_NO_LOCKS static inline void shim_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/*
 * Waits while *word holds expected, at most timeout_ns nanoseconds (negative: for ever). Returns 0 when woken or when
 * the word held something else, ETIMEDOUT, or EINTR.
 */
static inline int32_t shim_futex_wait(const void *_Nonnull word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout, *limit = NULL;
    if (timeout_ns >= 0) {
        timeout.tv_sec = timeout_ns / 1000000000;
        timeout.tv_nsec = timeout_ns % 1000000000;
        limit = &timeout;
    }
    if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, limit, NULL, 0) == 0) return 0;
    return errno == EAGAIN ? 0 : errno;
}

/* Wakes up to count waiters of a word. */
static inline void shim_futex_wake(const void *_Nonnull word, int32_t count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Nanoseconds since 1970. */
static inline int64_t shim_wall_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Seconds since 1970, as of the last tick of the kernel: cheap, and late by some milliseconds at most. */
SHIM_NO_LOCKS static inline int64_t shim_wall_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec;
}

#endif
