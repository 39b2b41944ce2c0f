/* Sockets and processes: calls whose C spelling Swift cannot import (variadic, macros) or that want a tight loop. */
#ifndef CMEWS_SHIMS_SOCKET_H
#define CMEWS_SHIMS_SOCKET_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* realloc for the hot path's slow moments. */
static inline void *_Nullable shim_reallocate(void *_Nullable memory, intptr_t size) {
    return realloc(memory, (size_t)size);
}

/*
 * recv, send and epoll_wait are called by their numbers. The C library's functions are cancellation points, which in a
 * process with threads costs two atomic exchanges a call, and no thread of the runtime is ever cancelled.
 */

/* Receives at most count bytes: the number of bytes, 0 at the end, or the negative errno. EINTR is retried. */
SHIM_NO_LOCKS static inline intptr_t shim_receive(int32_t descriptor, void *_Nonnull bytes, intptr_t count) {
    for (;;) {
        long received = syscall(SYS_recvfrom, descriptor, bytes, count, MSG_DONTWAIT, NULL, NULL);
        if (received >= 0) return received;
        if (errno != EINTR) return -errno;
    }
}

/* Sends one piece or several: the number of bytes the kernel took, or the negative errno. Never raises SIGPIPE. */
SHIM_NO_LOCKS static inline intptr_t shim_send(
    int32_t descriptor, const struct iovec *_Nonnull pieces, int32_t count) {
    for (;;) {
        long sent;
        if (count == 1) {
            sent = syscall(
                SYS_sendto, descriptor, pieces->iov_base, pieces->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0L);
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
            sent = syscall(SYS_sendmsg, descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if (sent >= 0) return sent;
        if (errno != EINTR) return -errno;
    }
}

/*
 * Takes a connection: its descriptor, non-blocking and closed on exec, or the negative errno. An error that is the
 * connection's and not the listener's is followed by the next connection, SHIM_ACCEPT_ATTEMPTS times: what is no
 * connection's fault after all, such as a policy that forbids the call, must not keep the caller for ever.
 */
enum { SHIM_ACCEPT_ATTEMPTS = 16 };
SHIM_NO_LOCKS int32_t shim_accept(int32_t listener);

/*
 * Has the kernel ignore further connections to a TCP listener, while those whose handshake has begun still come into
 * its queue. Who tries to connect tries again after a second, and is refused if the listener is closed by then. Holds
 * for the socket, not the descriptor, and for good. Returns 0 or the negative errno.
 */
int32_t shim_listener_admit_no_more(int32_t listener);

/*
 * Small responses must not wait for the acknowledgement of earlier ones. Unix sockets answer an error, which is fine.
 */
static inline int32_t shim_set_no_delay(int32_t descriptor) {
    int one = 1;
    return setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ? -errno : 0;
}

/* Whether something can be received now: 1, or 0, also for the end of the stream and for a failure. */
static inline int32_t shim_socket_holds_bytes(int32_t descriptor) {
    char byte;
    return recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * Whether the result of an accept tells of the connection, and not of the listener: an errno. The next one may do.
 */
bool shim_accept_failed_for_one(int32_t error);

/* Ends a connection in both directions, whoever has its socket open, too. Not a connection: nothing. */
SHIM_NO_LOCKS static inline void shim_socket_shut_down(int32_t descriptor) { (void)shutdown(descriptor, SHUT_RDWR); }

#endif
