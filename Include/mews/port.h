/*
 * mews/port.h: the completion port: input and output that is started now and reported later, by any number of threads
 * that may block.
 *
 *   mews_port *port;
 *   mews_port_create(0, &port);
 *   mews_handle socket;
 *   mews_port_associate(port, descriptor, key, 0, &socket);
 *   mews_port_receive(port, socket, &operation, buffer, sizeof buffer);
 *   ...
 *   mews_packet packet;
 *   while (mews_port_get(port, -1, &packet) == MEWS_OK) handle(&packet);
 *
 * Start an operation on a handle; it answers at once. When it is done, one thread that waits in mews_port_get receives
 * a packet that says so. Packets are handed out first come first served; of the threads that wait, the one that came
 * last is released first; and at most as many run at once as the port was created for. A thread that blocks gives its
 * place to another if it says so (mews_blocking_begin).
 *
 * Results of the functions that start an operation
 * ------------------------------------------------
 *   MEWS_PENDING    it was started. Exactly one packet will come, whatever happens.
 *   MEWS_OK         it is done already. A packet comes as well, unless the handle was associated with
 *                   MEWS_HANDLE_SKIP_ON_SUCCESS; then none does, and mews_operation_bytes says how much was done.
 *   an error        it was not started, and no packet comes. For MEWS_E_SYSTEM, errno is the system's error.
 *
 * Memory
 * ------
 * An operation's struct and its buffers belong to the port from a successful start until its packet is received (or
 * until the start answered MEWS_OK with skip-on-success): not until a cancellation was asked for. Arrays of buffers and
 * addresses are copied before the function returns.
 *
 * Errors are those of base.h. In a child after fork, every function answers MEWS_E_UNSUPPORTED.
 */
#ifndef MEWS_PORT_H
#define MEWS_PORT_H

#include "base.h"

MEWS_BEGIN_DECLARATIONS

typedef struct mews_port mews_port;

/*
 * A descriptor associated with a port: 64 bits, slot and generation. 0 is never a handle. A closed one never comes
 * back.
 */
typedef uint64_t mews_handle;

/*
 * One operation in flight: the caller's memory, as OVERLAPPED is on Windows. Embed it first in a struct of your own to
 * find that again from the packet. Clear it before its first use (MEWS_OPERATION_INIT); use it again once its packet
 * has come.
 */
typedef struct mews_operation {
    uint64_t reserved_[32];
} mews_operation;

MEWS_STATIC_ASSERT(sizeof(mews_operation) == 256, "layout of mews_operation");

#define MEWS_OPERATION_INIT {{0}}

/* What mews_port_get hands out. */
typedef struct mews_packet {
    uint64_t key;                             /* the handle's key, or the posted one */
    uint64_t bytes;                           /* bytes transferred, or the posted number */
    mews_operation *MEWS_NULLABLE operation;  /* the operation, or the posted pointer, which may be NULL */
    mews_result status;                       /* MEWS_OK, MEWS_E_CANCELED or MEWS_E_SYSTEM */
    int32_t system_error;                     /* the errno behind MEWS_E_SYSTEM, else 0 */
} mews_packet;

MEWS_STATIC_ASSERT(sizeof(mews_packet) == 24 + sizeof(void *), "layout of mews_packet");

/* ---- Port ------------------------------------------------------------------------------------------------------- */

/*
 * Makes a port.
 *
 * concurrency  how many threads may be busy with packets at once; 0 for one a processor that this process may use.
 * port         receives the port. MEWS_HANDED_OVER: close it with mews_port_close. NULL after an error.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT above 65,535; MEWS_E_NO_MEMORY; MEWS_E_SYSTEM.
 */
MEWS_ANY_THREAD MEWS_MUST_CHECK mews_result mews_port_create(
    uint32_t concurrency, mews_port *MEWS_NULLABLE *MEWS_REQUIRED port);

/* What more can be said of a port. Start from MEWS_PORT_OPTIONS_INIT; a 0 stands for the default. */
typedef struct mews_port_options {
    uint32_t struct_size;
    uint32_t concurrency;        /* as for mews_port_create */
    /*
     * MEWS_IO_AUTO   sockets and pipes by epoll, driven by the threads that wait: no other thread is involved. Files
     *                by one thread of the port with an io_uring where the machine has that, else by threads that
     *                block. The environment variable MEWS_IO can ask for one of the others: "epoll" or "io_uring".
     * MEWS_IO_EPOLL  sockets and pipes by epoll, files by threads that block.
     * MEWS_IO_URING  all of it by one thread of the port with an io_uring; only timers are left to those that wait. It
     *                goes on with operations that are in flight while all of them are busy.
     */
    mews_io_backend io_backend;
    uint32_t reserved;
} mews_port_options;

MEWS_STATIC_ASSERT(sizeof(mews_port_options) == 16, "layout of mews_port_options");

#define MEWS_PORT_OPTIONS_INIT {(uint32_t)sizeof(mews_port_options), 0, MEWS_IO_AUTO, 0}

/*
 * As mews_port_create, with options.
 *
 * options  may be NULL for the defaults. MEWS_COPIED.
 * Returns what mews_port_create does, and MEWS_E_UNSUPPORTED when io_uring is asked for and the machine has none that
 *         will do; `mews doctor` says why.
 */
MEWS_ANY_THREAD MEWS_MUST_CHECK mews_result mews_port_create_with(
    const mews_port_options *MEWS_NULLABLE options, mews_port *MEWS_NULLABLE *MEWS_REQUIRED port);

/* What moves the port's sockets and pipes: MEWS_IO_EPOLL or MEWS_IO_URING. MEWS_IO_AUTO for NULL. */
MEWS_ANY_THREAD mews_io_backend mews_port_io_backend(mews_port *MEWS_REQUIRED port);

/*
 * Waits for a packet. While it waits, the calling thread drives the port's input and output itself; when it leaves with
 * a packet, another waiting thread takes over. The thread is associated with the port from its first call until it
 * waits on another port or ends.
 *
 * timeout_ms  how long to wait; 0 takes only what is there; negative waits for ever.
 * packet      receives the packet, when the result is MEWS_OK; also for operations that failed (see its status).
 * Returns MEWS_OK; MEWS_E_TIMEOUT, also when packets are there but as many threads are busy as may be; MEWS_E_ABANDONED
 *         when the port was shut down during the wait; MEWS_E_GONE when it had been before; MEWS_E_INVALID_ARGUMENT.
 */
MEWS_ANY_THREAD mews_result mews_port_get(
    mews_port *MEWS_REQUIRED port, int64_t timeout_ms, mews_packet *MEWS_REQUIRED packet);

/*
 * As mews_port_get, and takes as many packets as are there and fit. It never waits to fill the array. However many it
 * holds, the thread counts as one busy thread: packets that it has not reached yet are out of others' reach while it
 * blocks.
 *
 * packets   receives the packets, oldest first.
 * capacity  how many fit, 1 to 2^63 - 1.
 * count     receives how many came: 0 unless the result is MEWS_OK.
 */
MEWS_ANY_THREAD mews_result mews_port_get_many(
    mews_port *MEWS_REQUIRED port, int64_t timeout_ms, mews_packet *MEWS_REQUIRED packets, size_t capacity,
    size_t *MEWS_REQUIRED count);

/*
 * Queues a packet of one's own: bytes, key and operation arrive as they are given, whatever they are. Any thread, also
 * one that never waits; no handle need be associated.
 *
 * Returns MEWS_OK; MEWS_E_NO_MEMORY; MEWS_E_GONE after a shutdown; MEWS_E_INVALID_ARGUMENT.
 */
MEWS_ANY_THREAD mews_result mews_port_post(
    mews_port *MEWS_REQUIRED port, uint64_t key, uint64_t bytes, mews_operation *MEWS_NULLABLE operation);

/* How many packets nobody has received yet. 0 for NULL. */
MEWS_ANY_THREAD size_t mews_port_depth(mews_port *MEWS_REQUIRED port);

/*
 * A descriptor to wait for with poll or epoll in another event loop: readable when a call of mews_port_get with a
 * timeout of 0 may have something to do; not for packets that nobody may take while as many threads are busy as may be.
 * Being readable consumes nothing. It belongs to the port; do not read, write or
 * close it.
 * Returns the descriptor, or an error.
 */
MEWS_ANY_THREAD int32_t mews_port_descriptor(mews_port *MEWS_REQUIRED port);

/*
 * Receives packets that nobody will get any more. The descriptor that an accept has taken is for it to close. It may
 * call the functions of the port; a mews_port_close in it takes effect behind it.
 */
typedef void (*mews_packet_sink)(void *MEWS_NULLABLE context, const mews_packet *MEWS_NONNULL packet);

/*
 * The first phase of the end: waiting threads return MEWS_E_ABANDONED, every operation in flight is cancelled, handles
 * are closed, and every packet that is left, each exactly once, goes to the sink. When it returns, no operation is in
 * flight and the kernel writes to no buffer. The second call does nothing.
 *
 * sink  called on the calling thread; may be NULL.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT.
 */
MEWS_ANY_THREAD mews_result mews_port_shutdown(
    mews_port *MEWS_REQUIRED port, mews_packet_sink MEWS_NULLABLE sink, void *MEWS_NULLABLE context);

/*
 * The second phase: frees the port, after mews_port_shutdown or in its stead. No other thread may call a function for
 * the port from here on; threads that are associated with it may still be busy. NULL is ignored.
 */
MEWS_ANY_THREAD void mews_port_close(mews_port *MEWS_NULLABLE port);

/*
 * Says that the calling thread is about to block (begin) and that it goes on (end): in between, another thread may be
 * released in its place. For threads that are associated with a port and for handlers; elsewhere they do nothing. A
 * handler that runs on an I/O thread is a worker's from the first begin on: another thread goes on with the I/O
 * thread's connections. Pairs may be nested.
 */
MEWS_ANY_THREAD void mews_blocking_begin(void);
MEWS_ANY_THREAD void mews_blocking_end(void);

/* ---- Handles ---------------------------------------------------------------------------------------------------- */

typedef uint32_t mews_handle_flags;

enum {
    /*
     * An operation that is done at once queues no packet (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS). For the handle's life.
     */
    MEWS_HANDLE_SKIP_ON_SUCCESS = 1
};

/*
 * Associates a descriptor with a port: once and for its life. Sockets, pipes and the like become non-blocking; files
 * are served by threads of the port, or by its ring.
 *
 * descriptor  MEWS_HANDED_OVER on success: close it with mews_handle_close. After an error it stays the caller's.
 * key         comes back in every packet of the handle.
 * handle      receives the handle.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT for a bad descriptor or flags; MEWS_E_CONFLICT when it is associated
 *         already; MEWS_E_NO_MEMORY; MEWS_E_LIMIT; MEWS_E_SYSTEM; MEWS_E_GONE after a shutdown.
 */
MEWS_ANY_THREAD MEWS_MUST_CHECK mews_result mews_port_associate(
    mews_port *MEWS_REQUIRED port, int32_t descriptor, uint64_t key, mews_handle_flags flags,
    mews_handle *MEWS_REQUIRED handle);

/* The descriptor of a handle, for setsockopt and the like, not to be closed; MEWS_E_GONE when it is closed. */
MEWS_ANY_THREAD int32_t mews_handle_descriptor(mews_port *MEWS_REQUIRED port, mews_handle handle);

/*
 * Closes a handle: each of its operations in flight completes with one packet (MEWS_E_CANCELED, or what it came to),
 * then the descriptor is closed: at once by epoll, behind the last of them by io_uring and for files. A later
 * descriptor of the same number has nothing to do with it.
 * Returns MEWS_OK; MEWS_E_GONE.
 */
MEWS_ANY_THREAD mews_result mews_handle_close(mews_port *MEWS_REQUIRED port, mews_handle handle);

/*
 * Asks for the end of one operation, or with NULL of all operations of the handle, whichever threads started them.
 * Their packets still come, each exactly once: with MEWS_E_CANCELED, or with what they had come to first. Data that was
 * received is never thrown away.
 *
 * Returns MEWS_OK when there was something to cancel; MEWS_E_NOT_FOUND; MEWS_E_GONE.
 */
MEWS_ANY_THREAD mews_result mews_handle_cancel(
    mews_port *MEWS_REQUIRED port, mews_handle handle, mews_operation *MEWS_NULLABLE operation);

/* ---- Operations ------------------------------------------------------------------------------------------------- */

/*
 * All of these: operation is required and MEWS_HANDED_OVER until its packet; results are stated above, and the errors
 * of starting are MEWS_E_INVALID_ARGUMENT, MEWS_E_BUSY (the operation is in flight already), MEWS_E_GONE (the handle is
 * closed or the port shut down), MEWS_E_NO_MEMORY, MEWS_E_UNSUPPORTED (the descriptor cannot do it) and MEWS_E_SYSTEM.
 * Lengths are at most 2^63 - 1.
 */

/* Memory to read into or write from. */
typedef struct mews_buffer {
    void *MEWS_NULLABLE data;
    size_t length;
} mews_buffer;

MEWS_STATIC_ASSERT(sizeof(mews_buffer) == 2 * sizeof(void *), "mews_buffer is a pointer and a length");

/* The most buffers of one operation. */
#define MEWS_BUFFER_LIMIT 8

/*
 * Takes a connection from a listening socket. mews_operation_descriptor then gives its descriptor, which is the
 * caller's to associate or close; non-blocking, closed on exec.
 */
MEWS_ANY_THREAD mews_result mews_port_accept(
    mews_port *MEWS_REQUIRED port, mews_handle listener, mews_operation *MEWS_REQUIRED operation);

/* Connects a socket. address is address_length bytes of a sockaddr. MEWS_COPIED. */
MEWS_ANY_THREAD mews_result mews_port_connect(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    const void *MEWS_REQUIRED address, uint32_t address_length);

/*
 * Receives what is there, at most length bytes. 0 bytes: the peer will send no more. With length 0 the operation waits
 * until there is something to receive, or the end, and takes nothing.
 */
MEWS_ANY_THREAD mews_result mews_port_receive(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    void *MEWS_NULLABLE buffer, size_t length);

/* The same into several buffers, at most MEWS_BUFFER_LIMIT. The array is MEWS_COPIED. */
MEWS_ANY_THREAD mews_result mews_port_receive_buffers(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    const mews_buffer *MEWS_REQUIRED buffers, uint32_t count);

/*
 * Sends all of a buffer: the packet comes when the kernel has taken the last byte, or with an error and how far it
 * came.
 */
MEWS_ANY_THREAD mews_result mews_port_send(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    const void *MEWS_NULLABLE buffer, size_t length);

/* The same from several buffers, at most MEWS_BUFFER_LIMIT. The array is MEWS_COPIED. */
MEWS_ANY_THREAD mews_result mews_port_send_buffers(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    const mews_buffer *MEWS_REQUIRED buffers, uint32_t count);

/* Receives one datagram; mews_operation_address then gives where it came from. What does not fit is lost. */
MEWS_ANY_THREAD mews_result mews_port_receive_from(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    void *MEWS_NULLABLE buffer, size_t length);

/* Sends one datagram. address is address_length bytes of a sockaddr. MEWS_COPIED. */
MEWS_ANY_THREAD mews_result mews_port_send_to(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation,
    const void *MEWS_NULLABLE buffer, size_t length, const void *MEWS_REQUIRED address, uint32_t address_length);

/*
 * Sends length bytes of a file from an offset, without a copy through the program.
 *
 * file  a descriptor that stays open until the packet. MEWS_BORROWED.
 */
MEWS_ANY_THREAD mews_result mews_port_send_file(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation, int32_t file,
    uint64_t offset, uint64_t length);

/* Ends the sending side of a connected socket once what was started is sent (shutdown, SHUT_WR). */
MEWS_ANY_THREAD mews_result mews_port_disconnect(
    mews_port *MEWS_REQUIRED port, mews_handle socket, mews_operation *MEWS_REQUIRED operation);

/*
 * Reads from a file at an offset, at most length bytes; 0 bytes at its end. What the page cache holds is copied by the
 * call itself, which takes as long as that takes.
 */
MEWS_ANY_THREAD mews_result mews_port_read(
    mews_port *MEWS_REQUIRED port, mews_handle file, mews_operation *MEWS_REQUIRED operation,
    void *MEWS_NULLABLE buffer, size_t length, uint64_t offset);

/* Writes all of a buffer to a file at an offset; to the end of a file that is open with O_APPEND, as pwrite(2) does. */
MEWS_ANY_THREAD mews_result mews_port_write(
    mews_port *MEWS_REQUIRED port, mews_handle file, mews_operation *MEWS_REQUIRED operation,
    const void *MEWS_NULLABLE buffer, size_t length, uint64_t offset);

/* Makes what was written to a file durable (fsync). */
MEWS_ANY_THREAD mews_result mews_port_sync(
    mews_port *MEWS_REQUIRED port, mews_handle file, mews_operation *MEWS_REQUIRED operation);

/* Completes after at least delay_ms milliseconds, at most 2^31, with the key given. */
MEWS_ANY_THREAD mews_result mews_port_timer(
    mews_port *MEWS_REQUIRED port, mews_operation *MEWS_REQUIRED operation, uint64_t delay_ms, uint64_t key);

/*
 * Cancels a timer. MEWS_OK: its packet comes with MEWS_E_CANCELED. MEWS_E_NOT_FOUND: it is due already, or was never
 * one.
 */
MEWS_ANY_THREAD mews_result mews_port_timer_cancel(
    mews_port *MEWS_REQUIRED port, mews_operation *MEWS_REQUIRED operation);

/* ---- What an operation came to ---------------------------------------------------------------------------------- */

/* The bytes that a finished operation transferred: what its packet says, for those without one. */
MEWS_ANY_THREAD uint64_t mews_operation_bytes(const mews_operation *MEWS_REQUIRED operation);

/* The descriptor that a finished mews_port_accept took; -1 when there is none. */
MEWS_ANY_THREAD int32_t mews_operation_descriptor(const mews_operation *MEWS_REQUIRED operation);

/*
 * The address that a finished mews_port_receive_from received from: bytes of a sockaddr, valid until the operation is
 * used again. length receives their number; NULL and 0 when there is none.
 */
MEWS_ANY_THREAD const void *MEWS_NULLABLE mews_operation_address(
    const mews_operation *MEWS_REQUIRED operation, uint32_t *MEWS_REQUIRED length);

MEWS_END_DECLARATIONS

#endif
