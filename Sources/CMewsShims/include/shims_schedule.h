/*
 * What a test of a debug build puts between the completion port and the system: it then decides which of its threads
 * runs when, and what time it is. Release builds have none of it, and call the system directly.
 */
#ifndef CMEWS_SHIMS_SCHEDULE_H
#define CMEWS_SHIMS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* What a thread is about to do that others may notice: the moments at which it matters who runs next. */
enum shim_schedule_point {
    SHIM_POINT_LOCK,
    SHIM_POINT_SPIN,
    SHIM_POINT_UNLOCK,
    SHIM_POINT_LOAD,
    SHIM_POINT_STORE,
    SHIM_POINT_WAIT,
    SHIM_POINT_WAKE,
    SHIM_POINT_CLOCK,
    SHIM_POINT_POLL,
    SHIM_POINT_INTERRUPT,
    SHIM_POINT_TEST,   /* whatever the test itself wants */
};

struct shim_schedule {
    void *_Nullable context;
    /* Returns when the calling thread may go on. */
    void (*_Nonnull reach)(void *_Nullable context, uint32_t point);
    /* Stand for the functions of shims_port.h, and answer like them. */
    int32_t (*_Nonnull futex_wait)(
        void *_Nullable context, const void *_Nonnull word, uint32_t expected, int64_t deadline_ns);
    void (*_Nonnull futex_wake)(void *_Nullable context, const void *_Nonnull word);
    int64_t (*_Nonnull nanoseconds)(void *_Nullable context);
    /* Returns when a descriptor is readable, or after so many milliseconds (negative: never). */
    void (*_Nonnull await_readable)(void *_Nullable context, int32_t descriptor, int32_t timeout_ms);
};

/* The schedule that the calling thread is under, if any. What is set stays where it is until another is set. */
void shim_set_schedule(const struct shim_schedule *_Nullable schedule);
SHIM_NO_LOCKS bool shim_is_scheduled(void);

/* Each calls the function of the calling thread's schedule; those that answer do so only on a thread that has one. */
SHIM_NO_LOCKS void shim_schedule_reach(uint32_t point);
SHIM_NO_LOCKS int32_t shim_schedule_futex_wait(const void *_Nonnull word, uint32_t expected, int64_t deadline_ns);
SHIM_NO_LOCKS void shim_schedule_futex_wake(const void *_Nonnull word);
SHIM_NO_LOCKS int64_t shim_schedule_nanoseconds(void);
SHIM_NO_LOCKS void shim_schedule_await_readable(int32_t descriptor, int32_t timeout_ms);

#endif
