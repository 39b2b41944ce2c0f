/* Processes and signals, for the command alone: a linking program's signals are its own business. */
#ifndef CMEWS_SHIMS_PROCESS_H
#define CMEWS_SHIMS_PROCESS_H

#include <stdint.h>

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
