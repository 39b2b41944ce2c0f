/*
 * The completion port's operations: their memory, and the system calls that they try. Every call answers errors as
 * -errno, retries EINTR, never waits on a non-blocking descriptor and never raises SIGPIPE.
 */
#ifndef CMEWS_SHIMS_OPERATION_H
#define CMEWS_SHIMS_OPERATION_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* How many pieces of memory one operation has at most. */
#define SHIM_OPERATION_VECTORS 8

SHIM_NO_LOCKS static inline void shim_set_errno(int32_t error) { errno = error; }

/*
 * One operation in flight: the caller's memory, of the size of mews_operation. Zeroed memory is an operation that was
 * never started.
 */
struct shim_operation {
    struct shim_packet packet;               /* its completion; queued on the port or with the file threads */
    uint64_t state;                          /* atomic: whether it is in flight */
    struct shim_operation *_Nullable next;   /* the handle's or the timers' list, while it is in flight */
    struct shim_operation *_Nullable previous;
    uint64_t owner;                          /* atomic: the slot of its handle while file threads have it, or its timers
                                                while it is started on them, under their locks; else 0 */
    uint64_t transferred;
    int32_t system_error;
    int32_t descriptor;                      /* what an accept took, or the file of a send-file */
    uint8_t kind;
    uint8_t flags;
    uint8_t first_vector;                    /* the first piece that is not done yet */
    uint8_t vector_count;
    uint32_t address_length;
    union {
        struct iovec vectors[SHIM_OPERATION_VECTORS];
        struct {
            struct iovec datagram;
            struct sockaddr_storage address;
        };
        struct {
            struct iovec chunk;
            uint64_t offset;
            uint64_t remaining;
        };
        struct shim_timer timer;
    };
};

_Static_assert(sizeof(struct shim_operation) <= 256, "an operation fits into a mews_operation");

SHIM_NO_LOCKS static inline struct iovec *_Nonnull shim_operation_vectors(struct shim_operation *_Nonnull operation) {
    return operation->vectors;
}
SHIM_NO_LOCKS static inline void *_Nonnull shim_operation_address(struct shim_operation *_Nonnull operation) {
    return &operation->address;
}
SHIM_NO_LOCKS static inline struct shim_timer *_Nonnull shim_operation_timer(
    struct shim_operation *_Nonnull operation) {
    return &operation->timer;
}
SHIM_NO_LOCKS static inline struct shim_operation *_Nonnull shim_operation_of_timer(
    struct shim_timer *_Nonnull timer) {
    return (struct shim_operation *)((uint8_t *)timer - offsetof(struct shim_operation, timer));
}
SHIM_NO_LOCKS static inline struct shim_operation *_Nonnull shim_operation_of_packet(
    struct shim_packet *_Nonnull packet) {
    return (struct shim_operation *)packet;
}

/* What is handed out for a packet; the layout of mews_packet. */
struct shim_port_packet {
    uint64_t key;
    uint64_t bytes;
    void *_Nullable operation;
    int32_t status;
    int32_t system_error;
};

/* Packets chained through next. */
struct shim_packet_chain {
    struct shim_packet *_Nullable first;
    struct shim_packet *_Nullable last;
    intptr_t count;
};

/* What moves a completion port's input and output while a thread waits on it. */
struct shim_port_driver {
    void *_Nonnull context;
    /*
     * Waits until something was done, until interrupt, or until the monotonic clock shows deadline_ns (negative: for
     * ever), and appends what is complete. One thread at a time.
     */
    void (*_Nonnull wait)(void *_Nonnull context, int64_t deadline_ns, struct shim_packet_chain *_Nonnull completed);
    /* Ends the wait under way, or the next one. Any thread. */
    void (*_Nonnull interrupt)(void *_Nonnull context);
    /* Frees the context: nobody can call any more. */
    void (*_Nonnull release)(void *_Nonnull context);
};

/* What a descriptor is, as far as operations care. */
static const int32_t SHIM_DESCRIPTOR_STREAM = 0;   /* pipes, terminals and the like */
static const int32_t SHIM_DESCRIPTOR_FILE = 1;
static const int32_t SHIM_DESCRIPTOR_SOCKET = 2;   /* sockets that keep messages apart, and streams other than TCP */
static const int32_t SHIM_DESCRIPTOR_TCP = 3;

/* The kind, or -errno. */
int32_t shim_descriptor_kind(int32_t descriptor);

/* Whether a socket keeps messages apart. */
bool shim_socket_has_messages(int32_t descriptor);

int32_t shim_descriptor_set_nonblocking(int32_t descriptor);

/*
 * Notes that a descriptor is associated with a port of this process, or that it no longer is. Note answers false when
 * it was noted before. Numbers from 2^20 on are not noted.
 */
bool shim_descriptor_note(int32_t descriptor);
void shim_descriptor_forget(int32_t descriptor);

SHIM_NO_LOCKS intptr_t shim_read_vectors(
    int32_t descriptor, bool is_socket, struct iovec *_Nonnull vectors, int32_t count);
SHIM_NO_LOCKS intptr_t shim_write_vectors(
    int32_t descriptor, bool is_socket, struct iovec *_Nonnull vectors, int32_t count);
/* Whether there is something to read, an end or an error included. */
SHIM_NO_LOCKS bool shim_is_readable(int32_t descriptor);
SHIM_NO_LOCKS intptr_t shim_receive_from(
    int32_t descriptor, struct iovec *_Nonnull vector, void *_Nonnull address, uint32_t *_Nonnull length);
SHIM_NO_LOCKS intptr_t shim_send_to(
    int32_t descriptor, struct iovec *_Nonnull vector, const void *_Nonnull address, uint32_t length);
SHIM_NO_LOCKS intptr_t shim_connect(int32_t descriptor, const void *_Nonnull address, uint32_t length);
/* What became of a connect: 0, -EINPROGRESS while it is not decided, or its error. */
SHIM_NO_LOCKS intptr_t shim_connect_outcome(int32_t descriptor);
SHIM_NO_LOCKS intptr_t shim_send_file(int32_t socket, int32_t file, uint64_t *_Nonnull offset, uint64_t count);
SHIM_NO_LOCKS intptr_t shim_shutdown_sending(int32_t socket);
/* Reads what is in the page cache: -EAGAIN when nothing of it is, or when the file system cannot tell. */
SHIM_NO_LOCKS intptr_t shim_read_cached(int32_t file, void *_Nullable bytes, size_t count, uint64_t offset);
intptr_t shim_read_at(int32_t file, void *_Nullable bytes, size_t count, uint64_t offset);
intptr_t shim_write_at(int32_t file, const void *_Nullable bytes, size_t count, uint64_t offset);
intptr_t shim_sync(int32_t file);

/* A descriptor that turns readable when a time is reached on the monotonic clock, or -errno. */
int32_t shim_timerfd_create(void);
/* Negative: never. */
SHIM_NO_LOCKS void shim_timerfd_set(int32_t descriptor, int64_t deadline_ns);
/* Takes back every signal of an eventfd, so that it is not readable. */
SHIM_NO_LOCKS void shim_eventfd_clear(int32_t descriptor);

#endif
