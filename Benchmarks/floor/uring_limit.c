/*
 * The floor under an HTTP/1.1 server on io_uring: see floor.h. One ring a thread, entered by its registered
 * descriptor; multishot accept into direct descriptors, multishot receive into provided buffers, and a completion of
 * a send only where it failed.
 *
 *   uring_limit PORT THREADS
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <liburing.h>

/* Newer than the headers of liburing 2.3; kernel 6.1. */
#if !defined(IORING_SETUP_DEFER_TASKRUN)
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

enum { SUBMISSIONS = 2048, COMPLETIONS = 16384, BUFFERS = 1024, BUFFER_SIZE = 4096, CONNECTIONS = 4096, GROUP = 1 };
enum operation { ACCEPT = 1, RECEIVE, SEND, CLOSE };

struct floor {
    struct io_uring ring;
    struct io_uring_buf_ring *free_buffers;
    char *buffers;
    char *responses;
};

static struct io_uring_sqe *next_submission(struct io_uring *ring) {
    struct io_uring_sqe *submission = io_uring_get_sqe(ring);
    if (submission == NULL) {
        io_uring_submit(ring);
        submission = io_uring_get_sqe(ring);
    }
    return submission;
}

static void tag(struct io_uring_sqe *submission, enum operation operation, int connection) {
    submission->user_data = (uint64_t)operation << 32 | (uint32_t)connection;
}

static void start_receiving(struct floor *floor, int connection) {
    struct io_uring_sqe *submission = next_submission(&floor->ring);
    io_uring_prep_recv(submission, connection, NULL, 0, 0);
    submission->ioprio |= IORING_RECV_MULTISHOT;
    submission->flags |= IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
    submission->buf_group = GROUP;
    tag(submission, RECEIVE, connection);
}

static void send_responses(struct floor *floor, int connection, int requests) {
    struct io_uring_sqe *submission = next_submission(&floor->ring);
    io_uring_prep_send(submission, connection, floor->responses, (size_t)requests * RESPONSE_SIZE, MSG_WAITALL);
    submission->flags |= IOSQE_CQE_SKIP_SUCCESS | IOSQE_FIXED_FILE;
    tag(submission, SEND, connection);
}

static void close_connection(struct floor *floor, int connection) {
    struct io_uring_sqe *submission = next_submission(&floor->ring);
    io_uring_prep_close_direct(submission, (unsigned)connection);
    submission->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(submission, CLOSE, connection);
}

static void return_buffer(struct floor *floor, unsigned number, int offset) {
    char *buffer = floor->buffers + (size_t)number * BUFFER_SIZE;
    io_uring_buf_ring_add(floor->free_buffers, buffer, BUFFER_SIZE, (unsigned short)number, BUFFERS - 1, offset);
}

/* Answers what was received; returns how many buffers were given back: 0 or 1. */
static int handle_received(struct floor *floor, int connection, const struct io_uring_cqe *completion, int returned) {
    int used = 0;
    if (completion->flags & IORING_CQE_F_BUFFER) {
        unsigned number = completion->flags >> IORING_CQE_BUFFER_SHIFT;
        if (completion->res > 0) {
            int requests = count_requests(floor->buffers + (size_t)number * BUFFER_SIZE, (size_t)completion->res);
            if (requests > 0) send_responses(floor, connection, requests);
        }
        return_buffer(floor, number, returned);
        used = 1;
    }
    if (completion->res == 0 || (completion->res < 0 && completion->res != -ENOBUFS)) {
        close_connection(floor, connection);
    } else if (!(completion->flags & IORING_CQE_F_MORE)) {
        start_receiving(floor, connection);
    }
    return used;
}

static void prepare(struct floor *floor) {
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    errno = -io_uring_queue_init_params(SUBMISSIONS, &floor->ring, &parameters);
    if (errno != 0) die("io_uring_setup");
    io_uring_register_ring_fd(&floor->ring);
    errno = -io_uring_register_files_sparse(&floor->ring, CONNECTIONS);
    if (errno != 0) die("io_uring_register_files");

    void *memory = NULL;
    errno = posix_memalign(&memory, 4096, BUFFERS * sizeof(struct io_uring_buf));
    floor->buffers = malloc((size_t)BUFFERS * BUFFER_SIZE);
    if (errno != 0 || floor->buffers == NULL) die("malloc");
    floor->free_buffers = memory;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = BUFFERS, .bgid = GROUP};
    errno = -io_uring_register_buf_ring(&floor->ring, &registration, 0);
    if (errno != 0) die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(floor->free_buffers);
    for (int i = 0; i < BUFFERS; i++) return_buffer(floor, (unsigned)i, i);
    io_uring_buf_ring_advance(floor->free_buffers, BUFFERS);
    floor->responses = make_responses();
}

static void *loop(void *argument) {
    struct floor *floor = calloc(1, sizeof *floor);
    if (floor == NULL) die("calloc");
    prepare(floor);
    struct io_uring_sqe *submission = next_submission(&floor->ring);
    io_uring_prep_multishot_accept_direct(submission, listen_on(*(uint16_t *)argument, 0), NULL, NULL, 0);
    tag(submission, ACCEPT, 0);
    for (;;) {
        io_uring_submit_and_wait(&floor->ring, 1);
        struct io_uring_cqe *completion;
        unsigned head, completions = 0;
        int returned = 0;
        io_uring_for_each_cqe(&floor->ring, head, completion) {
            completions++;
            int connection = (int)(uint32_t)completion->user_data;
            if (completion->user_data >> 32 == ACCEPT && completion->res >= 0) {
                start_receiving(floor, completion->res);
            } else if (completion->user_data >> 32 == RECEIVE) {
                returned += handle_received(floor, connection, completion, returned);
            }
        }
        if (returned > 0) io_uring_buf_ring_advance(floor->free_buffers, returned);
        io_uring_cq_advance(&floor->ring, completions);
    }
    return NULL;
}

int main(int argc, char **argv) { return run_floor(argc, argv, loop); }
