/* What a machine allows this process, for people to be told. */
#ifndef CMEWS_SHIMS_MACHINE_H
#define CMEWS_SHIMS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* A limit of the process; UINT64_MAX for none. */
struct shim_limit {
    uint64_t soft;
    uint64_t hard;
};

struct shim_limit shim_descriptor_limit(void);
struct shim_limit shim_locked_memory_limit(void);

/* The kernel's release, such as "6.1.0-18-amd64", and its name of the processor: static text of the process. */
const char *_Nonnull shim_kernel_release(void);
const char *_Nonnull shim_machine_name(void);

/* Whether membarrier can have every thread of this process pass a barrier (private expedited). */
bool shim_has_membarrier(void);

/*
 * What every server needs, tried in turn; each answers 0 or the errno of its failure: an epoll set, an eventfd, a
 * timerfd, and a TCP socket that listens on the loopback address.
 */
int32_t shim_try_epoll(void);
int32_t shim_try_eventfd(void);
int32_t shim_try_timerfd(void);
int32_t shim_try_listen(void);

/*
 * Whether a thread can see of another that it sleeps, and read its CPU clock: 0, or the errno for which not; ENOTSUP
 * when what the kernel shows is not what the thread does. Takes a fraction of a second at most.
 */
int32_t shim_try_thread_watch(void);

#endif
