#include "CMewsShims.h"

#include <liburing.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Newer than the headers of liburing 2.3. */
enum { ENTER_NO_IOWAIT = 1U << 7 };

_Static_assert(IORING_CQE_F_BUFFER == 1U << 0 && IORING_CQE_F_MORE == 1U << 1, "as in shims_ring.h");
_Static_assert(IORING_CQE_BUFFER_SHIFT == 16, "as in shims_ring.h");
_Static_assert(IORING_OP_FSYNC == SHIM_RING_FSYNC && IORING_OP_POLL_ADD == SHIM_RING_POLL, "as in shims_ring.h");
_Static_assert(IORING_OP_SENDMSG == SHIM_RING_SENDMSG && IORING_OP_ACCEPT == SHIM_RING_ACCEPT, "as in shims_ring.h");
_Static_assert(IORING_OP_ASYNC_CANCEL == SHIM_RING_CANCEL && IORING_OP_READ == SHIM_RING_READ, "as in shims_ring.h");
_Static_assert(IORING_OP_WRITE == SHIM_RING_WRITE && IORING_OP_SEND == SHIM_RING_SEND, "as in shims_ring.h");
_Static_assert(IORING_OP_RECV == SHIM_RING_RECEIVE, "as in shims_ring.h");

/* Sends of several pieces in one submission; what is more is sent a piece at a time. */
enum { MESSAGES = 16 };

struct shim_ring_message {
    struct msghdr header;
    struct iovec pieces[SHIM_RING_PIECES];
};

struct shim_ring {
    struct io_uring ring;
    uint32_t enter_flags;
    struct io_uring_buf_ring *buffers;
    uint32_t buffer_count;
    int provided;                        /* buffers that were put in and not published */
    uint32_t used_messages;
    struct shim_ring_message messages[MESSAGES];
};

/*
 * liburing maps a ring's memory, and unmaps it, by system calls of its own, which the thread sanitizer does not see: it
 * would take a ring at the address of one that is gone for the same, shared without order. What the kernel orders is
 * said here.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
static uint32_t unmapped_rings;
#define RING_WILL_BE_UNMAPPED() ((void)__atomic_add_fetch(&unmapped_rings, 1, __ATOMIC_RELEASE))
#define RING_WAS_MAPPED() ((void)__atomic_load_n(&unmapped_rings, __ATOMIC_ACQUIRE))
#endif
#endif
#ifndef RING_WAS_MAPPED
#define RING_WILL_BE_UNMAPPED() ((void)0)
#define RING_WAS_MAPPED() ((void)0)
#endif

struct shim_ring *shim_ring_create(uint32_t submissions, uint32_t completions, uint32_t flags, int32_t *error) {
    struct shim_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    struct io_uring_params parameters = {.flags = flags | IORING_SETUP_CQSIZE, .cq_entries = completions};
    *error = io_uring_queue_init_params(submissions, &ring->ring, &parameters);
    if (*error < 0) {
        free(ring);
        return NULL;
    }
    RING_WAS_MAPPED();
    /* A child process that shared the memory would take completions, and submit, by accident. */
    (void)io_uring_ring_dontfork(&ring->ring);
    return ring;
}

static size_t buffer_ring_size(const struct shim_ring *ring) {
    return ring->buffer_count * sizeof(struct io_uring_buf);
}

void shim_ring_destroy(struct shim_ring *ring) {
    RING_WILL_BE_UNMAPPED();
    io_uring_queue_exit(&ring->ring);
    if (ring->buffers != NULL) munmap(ring->buffers, buffer_ring_size(ring));
    free(ring);
}

int32_t shim_ring_descriptor(const struct shim_ring *ring) { return ring->ring.ring_fd; }

uint32_t shim_ring_features(const struct shim_ring *ring) { return ring->ring.features; }

bool shim_ring_knows(struct shim_ring *ring, int32_t code) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->ring);
    if (probe == NULL) return false;
    bool known = io_uring_opcode_supported(probe, code);
    io_uring_free_probe(probe);
    return known;
}

int32_t shim_ring_register(struct shim_ring *ring) {
    int registered = io_uring_register_ring_fd(&ring->ring);
    if (registered < 0) return registered;
    ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    return 0;
}

void shim_ring_count_iowait(struct shim_ring *ring, bool counts) {
    ring->enter_flags = counts ? ring->enter_flags & ~(uint32_t)ENTER_NO_IOWAIT : ring->enter_flags | ENTER_NO_IOWAIT;
}

struct io_uring_sqe *shim_ring_next_entry(struct shim_ring *ring) { return io_uring_get_sqe(&ring->ring); }

struct shim_ring_message *shim_ring_next_message(struct shim_ring *ring) {
    return ring->used_messages < MESSAGES ? &ring->messages[ring->used_messages++] : NULL;
}

struct iovec *shim_ring_message_pieces(struct shim_ring_message *message) { return message->pieces; }

uint32_t shim_ring_unsubmitted(const struct shim_ring *ring) { return io_uring_sq_ready(&ring->ring); }

/* Shows the kernel the entries that were filled, and returns how many it has not taken. */
static uint32_t show_entries(struct io_uring *ring) {
    struct io_uring_sq *queue = &ring->sq;
    if (queue->sqe_head != queue->sqe_tail) {
        queue->sqe_head = queue->sqe_tail;
        io_uring_smp_store_release(queue->ktail, queue->sqe_tail);
    }
    return queue->sqe_tail - *queue->khead;
}

static int32_t enter(struct shim_ring *ring, uint32_t wait, uint32_t flags, void *argument, size_t size) {
    int result = io_uring_enter2((unsigned)ring->ring.enter_ring_fd, show_entries(&ring->ring), wait,
                                 flags | ring->enter_flags, argument, size);
    /* The kernel has copied what entries point to, but for the bytes. */
    if (ring->ring.sq.sqe_tail == *ring->ring.sq.khead) ring->used_messages = 0;
    return result < 0 ? result : 0;
}

int32_t shim_ring_submit(struct shim_ring *ring) { return enter(ring, 0, 0, NULL, 0); }

int32_t shim_ring_enter(struct shim_ring *ring, uint32_t wait, int64_t timeout_ns) {
    if (wait == 0 || timeout_ns < 0) return enter(ring, wait, IORING_ENTER_GETEVENTS, NULL, 0);
    struct __kernel_timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)&limit};
    return enter(ring, wait, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof argument);
}

bool shim_ring_next_event(struct shim_ring *ring, struct shim_ring_event *event) {
    struct io_uring_cq *queue = &ring->ring.cq;
    unsigned head = *queue->khead;
    if (head == io_uring_smp_load_acquire(queue->ktail)) return false;
    const struct io_uring_cqe *completion = &queue->cqes[head & queue->ring_mask];
    *event = (struct shim_ring_event){
        .data = completion->user_data, .result = completion->res, .flags = completion->flags};
    io_uring_smp_store_release(queue->khead, head + 1);
    return true;
}

uint32_t shim_ring_unread(const struct shim_ring *ring) { return io_uring_cq_ready(&ring->ring); }

uint32_t shim_ring_losses(const struct shim_ring *ring) {
    return __atomic_load_n(ring->ring.cq.koverflow, __ATOMIC_RELAXED);
}

int32_t shim_ring_cancel_all(struct shim_ring *ring, int64_t timeout_ns) {
    struct io_uring_sq *queue = &ring->ring.sq;
    /* The kernel reads the tail only when it is entered to submit. */
    queue->sqe_head = queue->sqe_tail = *queue->khead;
    io_uring_smp_store_release(queue->ktail, queue->sqe_tail);
    ring->used_messages = 0;
    struct io_uring_sync_cancel_reg all = {
        .fd = -1,
        .flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY,
        .timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000}};
    int32_t result = io_uring_register_sync_cancel(&ring->ring, &all);
    return result == -ENOENT || result > 0 ? 0 : result;
}

int32_t shim_ring_reap(struct shim_ring *ring) {
    int result = io_uring_enter2(
        (unsigned)ring->ring.enter_ring_fd, 0, 0, IORING_ENTER_GETEVENTS | ring->enter_flags, NULL, 0);
    return result < 0 ? result : 0;
}

bool shim_ring_has_work(const struct shim_ring *ring) {
    return (__atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

bool shim_ring_has_overflown(const struct shim_ring *ring) {
    return (__atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) != 0;
}

/* Has the kernel take buffers from a ring of them, which is empty. */
static int32_t register_buffers(struct shim_ring *ring, struct io_uring_buf_ring *buffers, uint16_t group) {
    io_uring_buf_ring_init(buffers);
    ring->provided = 0;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffers, .ring_entries = ring->buffer_count, .bgid = group};
    return io_uring_register_buf_ring(&ring->ring, &registration, 0);
}

int32_t shim_ring_add_buffers(struct shim_ring *ring, uint32_t count, uint16_t group) {
    ring->buffer_count = count;
    void *memory = mmap(NULL, buffer_ring_size(ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    int32_t error = register_buffers(ring, memory, group);
    if (error < 0) {
        munmap(memory, buffer_ring_size(ring));
        return error;
    }
    (void)madvise(memory, buffer_ring_size(ring), MADV_DONTFORK);
    ring->buffers = memory;
    return 0;
}

int32_t shim_ring_renew_buffers(struct shim_ring *ring, uint16_t group) {
    /* Not there when this has failed half-way before. */
    (void)io_uring_unregister_buf_ring(&ring->ring, group);
    return register_buffers(ring, ring->buffers, group);
}

void shim_ring_provide_buffer(struct shim_ring *ring, void *bytes, uint32_t size, uint16_t number) {
    io_uring_buf_ring_add(ring->buffers, bytes, size, number, (int)ring->buffer_count - 1, ring->provided++);
}

void shim_ring_publish_buffers(struct shim_ring *ring) {
    io_uring_buf_ring_advance(ring->buffers, ring->provided);
    ring->provided = 0;
}

void shim_entry_set_data(struct io_uring_sqe *entry, uint64_t data) { entry->user_data = data; }

void shim_entry_nop(struct io_uring_sqe *entry) { io_uring_prep_nop(entry); }

void shim_entry_poll(struct io_uring_sqe *entry, int32_t descriptor, uint32_t events) {
    io_uring_prep_poll_multishot(entry, descriptor, events);
}

void shim_entry_poll_once(struct io_uring_sqe *entry, int32_t descriptor, uint32_t events) {
    io_uring_prep_poll_add(entry, descriptor, events);
}

void shim_entry_accept(struct io_uring_sqe *entry, int32_t listener) {
    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void shim_entry_receive(struct io_uring_sqe *entry, int32_t descriptor, uint16_t group) {
    io_uring_prep_recv(entry, descriptor, NULL, 0, 0);
    entry->ioprio = IORING_RECV_MULTISHOT;
    entry->flags = IOSQE_BUFFER_SELECT;
    entry->buf_group = group;
}

void shim_entry_send(struct io_uring_sqe *entry, int32_t descriptor, const void *bytes, size_t count) {
    io_uring_prep_send(entry, descriptor, bytes, count, MSG_NOSIGNAL);
}

void shim_entry_send_message(
    struct io_uring_sqe *entry, int32_t descriptor, struct shim_ring_message *message, size_t count) {
    message->header = (struct msghdr){.msg_iov = message->pieces, .msg_iovlen = count};
    io_uring_prep_sendmsg(entry, descriptor, &message->header, MSG_NOSIGNAL);
}

void shim_entry_read(struct io_uring_sqe *entry, int32_t descriptor, void *bytes, uint32_t count, uint64_t offset) {
    io_uring_prep_read(entry, descriptor, bytes, count, offset);
}

void shim_entry_write(
    struct io_uring_sqe *entry, int32_t descriptor, const void *bytes, uint32_t count, uint64_t offset) {
    io_uring_prep_write(entry, descriptor, bytes, count, offset);
}

void shim_entry_sync(struct io_uring_sqe *entry, int32_t descriptor, bool data_only) {
    io_uring_prep_fsync(entry, descriptor, data_only ? IORING_FSYNC_DATASYNC : 0);
}

void shim_entry_cancel(struct io_uring_sqe *entry, uint64_t data) {
    io_uring_prep_cancel64(entry, data, 0);
    entry->flags = IOSQE_CQE_SKIP_SUCCESS;
}

int32_t shim_memory_file(void) {
    int descriptor = memfd_create("mews", MFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}
