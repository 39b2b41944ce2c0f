/*
 * io_uring. The ring is liburing's, and stays behind these functions: its header defines feature macros and names that
 * a module which Swift imports is better without. Flags that are newer than that header are numbers in ring.c.
 *
 * A ring is for the thread that created it, unless a function says otherwise. Errors are -errno.
 */
#ifndef CMEWS_SHIMS_RING_H
#define CMEWS_SHIMS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct shim_ring;
struct io_uring_sqe;

/* What a ring says of an operation, as it is written in the ring. */
struct shim_ring_event {
    uint64_t data;                       /* whose it is */
    int32_t result;                      /* what the system call would have returned, or -errno */
    uint32_t flags;                      /* SHIM_RING_MORE, SHIM_RING_BUFFER, and the number of the buffer */
};

/* The same, as the operation is told it. */
struct shim_ring_completion {
    void *_Nullable buffer;              /* the block that was received into, which is the operation's now */
    int32_t result;
    uint32_t flags;
};

/*
 * An operation of a ring, embedded in what it concerns. It can fill its submission entry again whenever it is asked to,
 * so that another ring can go on with it.
 */
struct shim_ring_operation {
    void (*_Nullable prepare)(struct shim_ring_operation *_Nonnull operation, struct io_uring_sqe *_Nonnull entry);
    void (*_Nullable complete)(
        struct shim_ring_operation *_Nonnull operation, struct shim_ring_completion completion);
    struct shim_ring_operation *_Nullable next;  /* the proactor's: of those that wait for a submission entry */
    uint32_t slot;                       /* the proactor's: its place in the table; 0 while it has none */
    uint32_t state;                      /* the proactor's */
};

/*
 * Several pieces of bytes to send at once: a scratch pad of the ring's, which is the next one's after each submission.
 */
struct shim_ring_message;
enum { SHIM_RING_PIECES = 64 };

/* More completions of the operation will come. */
static const uint32_t SHIM_RING_MORE = 1U << 1;
/* The upper half of the flags is the number of the buffer that was received into. */
static const uint32_t SHIM_RING_BUFFER = 1U << 0;
static const uint32_t SHIM_RING_BUFFER_SHIFT = 16;

/* What a ring is set up with. */
static const uint32_t SHIM_RING_SUBMIT_ALL = 1U << 7;
static const uint32_t SHIM_RING_TASKRUN_FLAG = 1U << 9;
static const uint32_t SHIM_RING_SINGLE_ISSUER = 1U << 12;
static const uint32_t SHIM_RING_DEFER_TASKRUN = 1U << 13;

/* What a kernel says that its rings do. */
static const uint32_t SHIM_RING_HAS_NO_DROP = 1U << 1;
static const uint32_t SHIM_RING_HAS_TIMEOUT = 1U << 8;
static const uint32_t SHIM_RING_HAS_NO_IOWAIT = 1U << 17;

/* Operation codes, for shim_ring_knows. */
enum {
    SHIM_RING_FSYNC = 3,
    SHIM_RING_POLL = 6,
    SHIM_RING_SENDMSG = 9,
    SHIM_RING_ACCEPT = 13,
    SHIM_RING_CANCEL = 14,
    SHIM_RING_READ = 22,
    SHIM_RING_WRITE = 23,
    SHIM_RING_SEND = 26,
    SHIM_RING_RECEIVE = 27
};

/*
 * Makes a ring with room for so many submissions and unread completions, both powers of two. A child process of this
 * one does not get its memory. NULL: *error is the -errno.
 */
struct shim_ring *_Nullable shim_ring_create(
    uint32_t submissions, uint32_t completions, uint32_t flags, int32_t *_Nonnull error);
/* Closes a ring, which cancels what is in flight, and frees it. */
void shim_ring_destroy(struct shim_ring *_Nonnull ring);

/* Readable while the thread has something to do in the ring. */
SHIM_NO_LOCKS int32_t shim_ring_descriptor(const struct shim_ring *_Nonnull ring);
/* SHIM_RING_HAS_... */
uint32_t shim_ring_features(const struct shim_ring *_Nonnull ring);
/* Whether the kernel knows an operation code. */
bool shim_ring_knows(struct shim_ring *_Nonnull ring, int32_t code);
/* Has the thread enter the ring without a look-up of its descriptor. */
int32_t shim_ring_register(struct shim_ring *_Nonnull ring);
/* Whether waits for completions count as waits for a disk, which they do at first. Needs SHIM_RING_HAS_NO_IOWAIT. */
void shim_ring_count_iowait(struct shim_ring *_Nonnull ring, bool counts);

/* The next entry to fill; NULL when all are filled and not submitted. */
SHIM_NO_LOCKS struct io_uring_sqe *_Nullable shim_ring_next_entry(struct shim_ring *_Nonnull ring);
/* A scratch pad for an entry that is being filled; NULL when all are in use until the next submission. */
SHIM_NO_LOCKS struct shim_ring_message *_Nullable shim_ring_next_message(struct shim_ring *_Nonnull ring);
/* Room for SHIM_RING_PIECES pieces. */
SHIM_NO_LOCKS struct iovec *_Nonnull shim_ring_message_pieces(struct shim_ring_message *_Nonnull message);
/* Entries that were filled and not submitted. */
SHIM_NO_LOCKS uint32_t shim_ring_unsubmitted(const struct shim_ring *_Nonnull ring);
/* Submits what was filled; takes no completions. 0 or -errno. */
SHIM_NO_LOCKS int32_t shim_ring_submit(struct shim_ring *_Nonnull ring);
/*
 * Submits what was filled, and takes completions: those that are there (wait 0), or wait of them, but no longer than
 * timeout_ns nanoseconds (negative: for ever). 0 or -errno: -ETIME, -EINTR, ...
 */
SHIM_NO_LOCKS int32_t shim_ring_enter(struct shim_ring *_Nonnull ring, uint32_t wait, int64_t timeout_ns);

/* Takes the oldest unread completion. False: there is none. Any thread, one at a time. */
SHIM_NO_LOCKS bool shim_ring_next_event(struct shim_ring *_Nonnull ring, struct shim_ring_event *_Nonnull event);
/* Unread completions. Any thread. */
SHIM_NO_LOCKS uint32_t shim_ring_unread(const struct shim_ring *_Nonnull ring);
/* Whether the kernel has completions that found no room. Any thread. */
SHIM_NO_LOCKS bool shim_ring_has_overflown(const struct shim_ring *_Nonnull ring);

/* How many completions the kernel has dropped, having neither room nor memory for them. Any thread. */
SHIM_NO_LOCKS uint32_t shim_ring_losses(const struct shim_ring *_Nonnull ring);
/*
 * Forgets what was filled and not submitted, and ends what is in flight. That has completed, when this returns 0, once
 * shim_ring_reap finds nothing more. -ETIME: the kernel is still at something when timeout_ns nanoseconds have passed.
 */
int32_t shim_ring_cancel_all(struct shim_ring *_Nonnull ring, int64_t timeout_ns);
/* Takes completions that are there, and submits nothing. 0 or -errno. */
int32_t shim_ring_reap(struct shim_ring *_Nonnull ring);
/* Whether shim_ring_reap would find more. Of use with SHIM_RING_TASKRUN_FLAG; else completions tell. */
bool shim_ring_has_work(const struct shim_ring *_Nonnull ring);

/* Has the kernel receive into buffers of a ring of count, a power of two, with the given number. */
int32_t shim_ring_add_buffers(struct shim_ring *_Nonnull ring, uint32_t count, uint16_t group);
/* Takes all buffers out of it, those too of which only completions knew that were lost. Nothing may be in flight. */
int32_t shim_ring_renew_buffers(struct shim_ring *_Nonnull ring, uint16_t group);
/* Puts a buffer into it. It is there after shim_ring_publish_buffers. */
SHIM_NO_LOCKS void shim_ring_provide_buffer(
    struct shim_ring *_Nonnull ring, void *_Nonnull bytes, uint32_t size, uint16_t number);
SHIM_NO_LOCKS void shim_ring_publish_buffers(struct shim_ring *_Nonnull ring);

/* Fill entries. What they point to has to stay as it is until the entry is submitted, the bytes until it completes. */
SHIM_NO_LOCKS void shim_entry_set_data(struct io_uring_sqe *_Nonnull entry, uint64_t data);
/* Does nothing and completes with 0. */
SHIM_NO_LOCKS void shim_entry_nop(struct io_uring_sqe *_Nonnull entry);
/* Tells of each change of readiness, edge-triggered; the events are those of epoll. */
SHIM_NO_LOCKS void shim_entry_poll(struct io_uring_sqe *_Nonnull entry, int32_t descriptor, uint32_t events);
/* Tells once that the descriptor is ready. */
SHIM_NO_LOCKS void shim_entry_poll_once(struct io_uring_sqe *_Nonnull entry, int32_t descriptor, uint32_t events);
/* Takes connections, non-blocking and closed on exec, one completion each. */
SHIM_NO_LOCKS void shim_entry_accept(struct io_uring_sqe *_Nonnull entry, int32_t listener);
/* Receives into buffers of a ring, one completion each. */
SHIM_NO_LOCKS void shim_entry_receive(struct io_uring_sqe *_Nonnull entry, int32_t descriptor, uint16_t group);
SHIM_NO_LOCKS void shim_entry_send(
    struct io_uring_sqe *_Nonnull entry, int32_t descriptor, const void *_Nonnull bytes, size_t count);
/* Sends the first pieces of a message. */
SHIM_NO_LOCKS void shim_entry_send_message(
    struct io_uring_sqe *_Nonnull entry, int32_t descriptor, struct shim_ring_message *_Nonnull message, size_t count);
SHIM_NO_LOCKS void shim_entry_read(
    struct io_uring_sqe *_Nonnull entry, int32_t descriptor, void *_Nonnull bytes, uint32_t count, uint64_t offset);
SHIM_NO_LOCKS void shim_entry_write(
    struct io_uring_sqe *_Nonnull entry, int32_t descriptor, const void *_Nonnull bytes, uint32_t count,
    uint64_t offset);
SHIM_NO_LOCKS void shim_entry_sync(struct io_uring_sqe *_Nonnull entry, int32_t descriptor, bool data_only);
/* Ends the operation that was submitted with this data. The cancellation itself completes only if it fails. */
SHIM_NO_LOCKS void shim_entry_cancel(struct io_uring_sqe *_Nonnull entry, uint64_t data);

/* An empty file in memory: its descriptor, or -errno. */
int32_t shim_memory_file(void);

#endif
