#include "CMewsShims.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

/* Repeats a call while signals interrupt it, and answers its result or -errno. */
#define ANSWER(call)                                \
    for (;;) {                                      \
        intptr_t result_ = (intptr_t)(call);        \
        if (result_ >= 0) return result_;           \
        if (errno != EINTR) return -(intptr_t)errno; \
    }

int32_t shim_descriptor_kind(int32_t descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) < 0) return -errno;
    if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return SHIM_DESCRIPTOR_FILE;
    if (!S_ISSOCK(status.st_mode)) return SHIM_DESCRIPTOR_STREAM;
    int protocol = 0;
    socklen_t length = sizeof protocol;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0) return -errno;
    return protocol == IPPROTO_TCP ? SHIM_DESCRIPTOR_TCP : SHIM_DESCRIPTOR_SOCKET;
}

bool shim_socket_has_messages(int32_t descriptor) {
    int type = 0;
    socklen_t length = sizeof type;
    return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type != SOCK_STREAM;
}

int32_t shim_descriptor_set_nonblocking(int32_t descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return (flags & O_NONBLOCK) != 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : -errno;
}

/*
 * A bit a descriptor. What a descriptor number stands for is the process's, and so is this; a child begins with an
 * empty table. NULL until it is needed.
 */
#define NOTED_LIMIT (1 << 20)
static uint64_t *noted_table;

static uint64_t *noted_descriptors(void) { return shim_wiped_on_fork_once(&noted_table, NOTED_LIMIT / 8, 0); }

bool shim_descriptor_note(int32_t descriptor) {
    uint64_t *noted = noted_descriptors();
    if (noted == NULL || descriptor < 0 || descriptor >= NOTED_LIMIT) return true;
    uint64_t bit = UINT64_C(1) << (descriptor % 64);
    return (__atomic_fetch_or(&noted[descriptor / 64], bit, __ATOMIC_ACQ_REL) & bit) == 0;
}

void shim_descriptor_forget(int32_t descriptor) {
    uint64_t *noted = noted_descriptors();
    if (noted == NULL || descriptor < 0 || descriptor >= NOTED_LIMIT) return;
    __atomic_fetch_and(&noted[descriptor / 64], ~(UINT64_C(1) << (descriptor % 64)), __ATOMIC_ACQ_REL);
}

intptr_t shim_read_vectors(int32_t descriptor, bool is_socket, struct iovec *vectors, int32_t count) {
    if (!is_socket) ANSWER(readv(descriptor, vectors, count));
    if (count == 1) ANSWER(recv(descriptor, vectors->iov_base, vectors->iov_len, MSG_DONTWAIT));
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    ANSWER(recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
}

/* SIGPIPE, for calls that have no flag against it: blocked meanwhile, and taken back if the call raised it. */
struct pipe_signal {
    sigset_t before;
    bool was_pending;
};

static void hold_pipe_signal(struct pipe_signal *held) {
    sigset_t signal, pending;
    sigemptyset(&signal);
    sigaddset(&signal, SIGPIPE);
    sigpending(&pending);
    held->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &signal, &held->before);
}

static intptr_t let_pipe_signal_go(const struct pipe_signal *held, intptr_t result) {
    if (result == -EPIPE && !held->was_pending) {
        sigset_t signal;
        sigemptyset(&signal);
        sigaddset(&signal, SIGPIPE);
        struct timespec now = {0};
        while (sigtimedwait(&signal, NULL, &now) < 0 && errno == EINTR) continue;
    }
    pthread_sigmask(SIG_SETMASK, &held->before, NULL);
    return result;
}

static intptr_t write_pipe(int32_t descriptor, const struct iovec *vectors, int32_t count) {
    ANSWER(writev(descriptor, vectors, count));
}

intptr_t shim_write_vectors(int32_t descriptor, bool is_socket, struct iovec *vectors, int32_t count) {
    if (is_socket) return shim_send(descriptor, vectors, count);
    struct pipe_signal held;
    hold_pipe_signal(&held);
    return let_pipe_signal_go(&held, write_pipe(descriptor, vectors, count));
}

bool shim_is_readable(int32_t descriptor) {
    struct pollfd wanted = {.fd = descriptor, .events = POLLIN | POLLRDHUP};
    int count;
    do {
        count = poll(&wanted, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

intptr_t shim_receive_from(int32_t descriptor, struct iovec *vector, void *address, uint32_t *length) {
    socklen_t size = sizeof(struct sockaddr_storage);
    for (;;) {
        ssize_t received = recvfrom(descriptor, vector->iov_base, vector->iov_len, MSG_DONTWAIT, address, &size);
        if (received < 0 && errno == EINTR) continue;
        *length = received < 0 ? 0 : (uint32_t)size;
        return received < 0 ? -errno : received;
    }
}

intptr_t shim_send_to(int32_t descriptor, struct iovec *vector, const void *address, uint32_t length) {
    ANSWER(sendto(descriptor, vector->iov_base, vector->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL, address, length));
}

intptr_t shim_connect(int32_t descriptor, const void *address, uint32_t length) {
    /* A connect that a signal interrupts goes on by itself. */
    if (connect(descriptor, address, length) == 0) return 0;
    return errno == EINTR ? -EINPROGRESS : -errno;
}

intptr_t shim_connect_outcome(int32_t descriptor) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return -errno;
    if (error != 0) return -error;
    /* A socket that was not connected yet was ready, too: such news may be older than the connect. */
    struct sockaddr_storage peer;
    length = sizeof peer;
    if (getpeername(descriptor, (struct sockaddr *)&peer, &length) == 0) return 0;
    return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

static intptr_t send_file(int32_t socket, int32_t file, off_t *offset, size_t count) {
    ANSWER(sendfile(socket, file, offset, count));
}

intptr_t shim_send_file(int32_t socket, int32_t file, uint64_t *offset, uint64_t count) {
    off_t position = (off_t)*offset;
    struct pipe_signal held;
    hold_pipe_signal(&held);
    intptr_t result =
        let_pipe_signal_go(&held, send_file(socket, file, &position, count < (1 << 30) ? (size_t)count : 1 << 30));
    *offset = (uint64_t)position;
    return result;
}

intptr_t shim_shutdown_sending(int32_t socket) { return shutdown(socket, SHUT_WR) == 0 ? 0 : -errno; }

intptr_t shim_read_cached(int32_t file, void *bytes, size_t count, uint64_t offset) {
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    ssize_t result = preadv2(file, &vector, 1, (off_t)offset, RWF_NOWAIT);
    if (result >= 0) return result;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR || errno == EINVAL ? -EAGAIN : -errno;
}

intptr_t shim_read_at(int32_t file, void *bytes, size_t count, uint64_t offset) {
    ANSWER(pread(file, bytes, count, (off_t)offset));
}

intptr_t shim_write_at(int32_t file, const void *bytes, size_t count, uint64_t offset) {
    ANSWER(pwrite(file, bytes, count, (off_t)offset));
}

intptr_t shim_sync(int32_t file) { ANSWER(fsync(file)); }

int32_t shim_timerfd_create(void) {
    int descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

void shim_timerfd_set(int32_t descriptor, int64_t deadline_ns) {
    struct itimerspec setting = {0};
    if (deadline_ns >= 0) {
        setting.it_value.tv_sec = deadline_ns / 1000000000;
        setting.it_value.tv_nsec = deadline_ns % 1000000000;
        /* Zero would mean never. */
        if (deadline_ns == 0) setting.it_value.tv_nsec = 1;
    }
    timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &setting, NULL);
}

void shim_eventfd_clear(int32_t descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) continue;
}
