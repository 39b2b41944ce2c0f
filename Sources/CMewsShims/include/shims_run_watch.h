/*
 * How the runs of handlers on an I/O thread are watched, and how the I/O thread's work is taken from a thread that is
 * stuck in one.
 *
 * The thread that runs handlers only stores and loads; who takes its work over pays for that with a barrier on all
 * CPUs (membarrier(2)). The thread says in `word` that it is about to touch what belongs to the I/O thread, and then
 * looks at `claim`; the taker claims a run, has every CPU pass a barrier, and then looks at `word`. So at least one of
 * them sees the other; when both do, an exchange of `claim` decides.
 */
#ifndef CMEWS_SHIMS_RUN_WATCH_H
#define CMEWS_SHIMS_RUN_WATCH_H

#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Set in `word` outside of handlers, and while a handler touches what belongs to the I/O thread. */
#define SHIM_RUN_BUSY 1u

struct shim_run_watch {
    uint64_t word;                     /* the number of the run, and SHIM_RUN_BUSY */
    uint64_t claim;                    /* 0, the number of a run that is to be taken, or that and 1 when it was */
    uint64_t number;                   /* the thread's own: the present run's number or the last one's; even */
    const uint32_t *_Nonnull is_watched; /* 0 while the watcher sleeps */
    bool is_lost;                      /* the thread's own: the I/O thread's work is another thread's now */
};

/* Asks the kernel for the right to the barrier, once in a process. Returns 0 or an errno. */
int32_t shim_run_watch_enable(void);

/* The barrier: every running thread of the process passes one before this returns. */
static inline void shim_run_barrier(void) {
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0u, 0);
}

/* A run begins. Returns false when the watcher has to be woken. */
SHIM_NO_LOCKS static inline bool shim_run_begin(struct shim_run_watch *_Nonnull watch) {
    watch->number += 2;
    __atomic_store_n(&watch->word, watch->number, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(watch->is_watched, __ATOMIC_RELAXED) != 0;
}

/* Both have seen each other: whoever changes the claim first has its way. */
SHIM_NO_LOCKS bool shim_run_settle(struct shim_run_watch *_Nonnull watch);

/*
 * The handler has returned, or is about to touch what belongs to the I/O thread. Returns false when that is another
 * thread's now.
 */
SHIM_NO_LOCKS static inline bool shim_run_enter(struct shim_run_watch *_Nonnull watch) {
    __atomic_store_n(&watch->word, watch->number | SHIM_RUN_BUSY, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint64_t claim = __atomic_load_n(&watch->claim, __ATOMIC_ACQUIRE);
    return (claim & ~(uint64_t)1) != watch->number || shim_run_settle(watch);
}

/* Whether the present run was taken. For the thread itself. */
SHIM_NO_LOCKS static inline bool shim_run_is_taken(const struct shim_run_watch *_Nonnull watch) {
    return __atomic_load_n(&watch->claim, __ATOMIC_RELAXED) == (watch->number | 1);
}

/* The handler goes on, and touches nothing of the I/O thread's. */
SHIM_NO_LOCKS static inline void shim_run_resume(struct shim_run_watch *_Nonnull watch) {
    __atomic_store_n(&watch->word, watch->number, __ATOMIC_RELEASE);
}

/* What the word says. Any thread. */
static inline uint64_t shim_run_word(const struct shim_run_watch *_Nonnull watch) {
    return __atomic_load_n(&watch->word, __ATOMIC_ACQUIRE);
}

/* Makes the watch of a thread that has lost its I/O thread's work ready for another's. */
static inline void shim_run_reset(struct shim_run_watch *_Nonnull watch) {
    __atomic_store_n(&watch->word, (uint64_t)SHIM_RUN_BUSY, __ATOMIC_RELAXED);
    __atomic_store_n(&watch->claim, (uint64_t)0, __ATOMIC_RELEASE);
    watch->is_lost = false;
}

/*
 * Takes the work over from a run, which the caller has seen in `word`. Returns false when the run is over, or touches
 * what belongs to the I/O thread at this moment. One thread at a time may call this for a watch.
 */
bool shim_run_take(struct shim_run_watch *_Nonnull watch, uint64_t number);

/* Gives the work away from within a run that has entered. For the thread itself. */
void shim_run_give_up(struct shim_run_watch *_Nonnull watch);

/* The word by which a watcher sleeps: it says that it does, is asked whether, and is woken. */
static inline void shim_run_watch_sleep(uint32_t *_Nonnull is_watched) {
    __atomic_store_n(is_watched, 0, __ATOMIC_SEQ_CST);
}
static inline bool shim_run_watch_sleeps(const uint32_t *_Nonnull is_watched) {
    return __atomic_load_n(is_watched, __ATOMIC_ACQUIRE) == 0;
}
/* Returns whether it slept, and the caller has to wake it. */
SHIM_NO_LOCKS static inline bool shim_run_watch_wake(uint32_t *_Nonnull is_watched) {
    return __atomic_exchange_n(is_watched, 1, __ATOMIC_SEQ_CST) == 0;
}

#endif
