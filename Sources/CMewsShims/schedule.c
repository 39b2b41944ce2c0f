#include "CMewsShims.h"

/* SwiftPM defines it in debug builds. */
#ifdef DEBUG

static __thread const struct shim_schedule *current;

void shim_set_schedule(const struct shim_schedule *schedule) { current = schedule; }

bool shim_is_scheduled(void) { return current != NULL; }

void shim_schedule_reach(uint32_t point) {
    if (current != NULL) current->reach(current->context, point);
}

int32_t shim_schedule_futex_wait(const void *word, uint32_t expected, int64_t deadline_ns) {
    return current->futex_wait(current->context, word, expected, deadline_ns);
}

void shim_schedule_futex_wake(const void *word) { current->futex_wake(current->context, word); }

int64_t shim_schedule_nanoseconds(void) { return current->nanoseconds(current->context); }

void shim_schedule_await_readable(int32_t descriptor, int32_t timeout_ms) {
    current->await_readable(current->context, descriptor, timeout_ms);
}

#endif
