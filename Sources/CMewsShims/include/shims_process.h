/*
 * Processes and signals. What has to do with signals is for the command alone: a linking program's are its own
 * business.
 */
#ifndef CMEWS_SHIMS_PROCESS_H
#define CMEWS_SHIMS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A page that is all zeros in a child process. NULL when memory is out. */
uint64_t *_Nullable shim_fork_mark_create(void);
void shim_fork_mark_destroy(uint64_t *_Nonnull mark);

/*
 * The words behind *place, which a child process finds zeroed: mapped by the first call, with their first word set.
 * NULL when memory is out. Any thread.
 */
uint64_t *_Nullable shim_wiped_on_fork_once(
    uint64_t *_Nullable *_Nonnull place, size_t size, uint64_t first_word);

extern uint64_t *_Nullable shim_process_mark_;

/* From here on children of this process can be told. False: memory is out. Any thread, any number of times. */
bool shim_process_mark(void);

/* Whether this is a child that was forked, without exec, from a process that has called shim_process_mark. */
SHIM_NO_LOCKS static inline bool shim_process_is_child(void) {
    uint64_t *mark = __atomic_load_n(&shim_process_mark_, __ATOMIC_ACQUIRE);
    return mark != NULL && *mark == 0;
}

/*
 * Blocks SIGINT, SIGTERM, SIGHUP and SIGCHLD in the calling thread and returns a descriptor to read them from, or
 * -errno. Call it before any thread is created, so that all inherit the mask. SIGPIPE is ignored from here on.
 */
int32_t shim_signals_watch(void);

/* The number of the next signal of the descriptor, or 0 when there is none. Does not wait. */
int32_t shim_signal_next(int32_t descriptor);

/*
 * Starts this program anew with other arguments (argv ends in NULL), in a process group of its own, with default signal
 * dispositions and nothing blocked, and with exactly the named descriptors above 2 left open. Returns the process id or
 * -errno.
 */
int32_t shim_spawn_self(char *_Nullable const *_Nonnull argv, const int32_t *_Nonnull descriptors, int32_t count);

/* What waitpid says of a child: 0 while it runs, else its id; *status receives the wait status. */
int32_t shim_reap(int32_t process, int32_t *_Nonnull status);
static inline int32_t shim_exit_code(int32_t status) { return (status & 0x7f) == 0 ? (status >> 8) & 0xff : -1; }
static inline int32_t shim_exit_signal(int32_t status) { return status & 0x7f; }

/*
 * Sees to it that descriptors 0, 1 and 2 are taken: otherwise the next socket could become the standard error. One that
 * was closed stays useless, so that who writes to it is told.
 */
void shim_occupy_standard_streams(void);

#endif
