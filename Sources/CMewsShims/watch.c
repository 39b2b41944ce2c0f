#include "CMewsShims.h"

#include <sys/resource.h>

struct shim_thread_usage shim_thread_usage_now(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (struct shim_thread_usage){shim_clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID), usage.ru_nvcsw};
}

int32_t shim_thread_state_open(int32_t thread) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return descriptor >= 0 ? descriptor : -errno;
}

int32_t shim_thread_sleeps(int32_t descriptor) {
    /* "TID (NAME) STATE ...": a name has 15 bytes at most, and may hold parentheses and spaces itself. */
    char text[64];
    ssize_t length = pread(descriptor, text, sizeof text - 1, 0);
    if (length <= 0) return -1;
    text[length] = '\0';
    const char *name_end = strrchr(text, ')');
    if (name_end == NULL || name_end[1] != ' ') return -1;
    /* Interruptible (S) and uninterruptible (D) waits. */
    return name_end[2] == 'S' || name_end[2] == 'D';
}
