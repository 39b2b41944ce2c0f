/* epoll and eventfd, which the Swift overlay of the C library leaves out. Every function answers errors as -errno. */
#ifndef CMEWS_SHIMS_EPOLL_H
#define CMEWS_SHIMS_EPOLL_H

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t SHIM_EPOLL_READABLE = EPOLLIN;
static const uint32_t SHIM_EPOLL_WRITABLE = EPOLLOUT;
static const uint32_t SHIM_EPOLL_PEER_CLOSED = EPOLLRDHUP;
static const uint32_t SHIM_EPOLL_HANGUP = EPOLLHUP;
static const uint32_t SHIM_EPOLL_ERROR = EPOLLERR;
static const uint32_t SHIM_EPOLL_URGENT = EPOLLPRI;
static const uint32_t SHIM_EPOLL_EDGE = EPOLLET;
static const uint32_t SHIM_EPOLL_EXCLUSIVE = EPOLLEXCLUSIVE;

static inline int32_t shim_epoll_create(void) {
    int32_t descriptor = epoll_create1(EPOLL_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

SHIM_NO_LOCKS static inline int32_t shim_epoll_add(int32_t poll, int32_t descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

SHIM_NO_LOCKS static inline int32_t shim_epoll_delete(int32_t poll, int32_t descriptor) {
    struct epoll_event unused = {0};
    return epoll_ctl(poll, EPOLL_CTL_DEL, descriptor, &unused) < 0 ? -errno : 0;
}

/*
 * Waits at most timeout milliseconds (negative: for ever) and returns the number of events. A signal is no reason to
 * return from a wait without end; any other returns 0 then, and the caller sees by the clock how long is left. By its
 * number, and so no cancellation point (shims_socket.h says why); newer architectures have epoll_pwait
 * only.
 */
SHIM_NO_LOCKS static inline int32_t shim_epoll_wait(int32_t poll, struct epoll_event *_Nonnull events, int32_t capacity,
                                                    int32_t timeout) {
    int32_t count;
    do {
        count = (int32_t)syscall(SYS_epoll_pwait, poll, events, capacity, timeout, NULL, (size_t)0);
    } while (count < 0 && errno == EINTR && timeout < 0);
    if (count < 0 && errno == EINTR) return 0;
    return count < 0 ? -errno : count;
}

SHIM_NO_LOCKS static inline uint64_t shim_epoll_data(const struct epoll_event *_Nonnull event) {
    return event->data.u64;
}

static inline int32_t shim_eventfd_create(void) {
    int32_t descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

SHIM_NO_LOCKS static inline void shim_eventfd_signal(int32_t descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof(one)) < 0 && errno == EINTR) continue;
}

SHIM_NO_LOCKS static inline int32_t shim_descriptor_close(int32_t descriptor) {
    return close(descriptor) < 0 ? -errno : 0;
}

#endif
