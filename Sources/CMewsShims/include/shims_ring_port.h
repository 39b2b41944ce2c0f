/* The completion port's operations on a ring: what the thread of the ring keeps for them, and their entries. */
#ifndef CMEWS_SHIMS_RING_PORT_H
#define CMEWS_SHIMS_RING_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "shims_operation.h"
#include "shims_ring.h"

/*
 * One direction of a handle. Of the operations that wait in it, the first is in the ring, and no other: two would
 * complete in any order.
 */
struct shim_ring_lane {
    struct shim_ring_operation node;
    struct shim_packet request;               /* asks the ring's thread to look at the lane */
    void *_Nonnull slot;                      /* of the handle */
    bool is_requested;                        /* guarded by the slot's lock: the request is on its way */
    bool is_read;
    /* The rest is the ring's thread's. */
    bool is_poll;                             /* the entry only waits for readiness */
    bool has_refused;                         /* the ring did not wait for the operation: it is to poll */
    int32_t descriptor;
    struct shim_operation *_Nullable armed;
    struct msghdr message;
};

/* An operation on a file that is in the ring; several of one handle may be. */
struct shim_ring_file {
    struct shim_ring_operation node;
    struct shim_operation *_Nullable operation;
    void *_Nonnull thread;
    int32_t descriptor;
    struct shim_ring_file *_Nullable next_free;
};

/* What wakes the ring's thread. */
struct shim_ring_waker {
    struct shim_ring_operation node;
    void *_Nonnull thread;
    int32_t descriptor;
};

SHIM_NO_LOCKS static inline struct shim_ring_operation *_Nonnull shim_ring_lane_node(
    struct shim_ring_lane *_Nonnull lane) {
    return &lane->node;
}
SHIM_NO_LOCKS static inline struct shim_packet *_Nonnull shim_ring_lane_request(struct shim_ring_lane *_Nonnull lane) {
    return &lane->request;
}
SHIM_NO_LOCKS static inline struct shim_ring_operation *_Nonnull shim_ring_file_node(
    struct shim_ring_file *_Nonnull file) {
    return &file->node;
}
SHIM_NO_LOCKS static inline struct shim_ring_operation *_Nonnull shim_ring_waker_node(
    struct shim_ring_waker *_Nonnull waker) {
    return &waker->node;
}
SHIM_NO_LOCKS static inline struct shim_ring_lane *_Nonnull shim_ring_lane_of(
    struct shim_ring_operation *_Nonnull node) {
    return (struct shim_ring_lane *)node;
}
SHIM_NO_LOCKS static inline struct shim_ring_lane *_Nonnull shim_ring_lane_of_request(
    struct shim_packet *_Nonnull request) {
    return (struct shim_ring_lane *)((uint8_t *)request - offsetof(struct shim_ring_lane, request));
}
SHIM_NO_LOCKS static inline struct shim_ring_file *_Nonnull shim_ring_file_of(
    struct shim_ring_operation *_Nonnull node) {
    return (struct shim_ring_file *)node;
}
SHIM_NO_LOCKS static inline struct shim_ring_waker *_Nonnull shim_ring_waker_of(
    struct shim_ring_operation *_Nonnull node) {
    return (struct shim_ring_waker *)node;
}

/* Takes one connection, non-blocking and closed on exec. */
SHIM_NO_LOCKS void shim_entry_accept_one(struct io_uring_sqe *_Nonnull entry, int32_t listener);
/* Receives once, with the sender's address if that is wanted: it is in the lane's message, then. */
SHIM_NO_LOCKS void shim_entry_receive_into(
    struct io_uring_sqe *_Nonnull entry, struct shim_ring_lane *_Nonnull lane,
    struct shim_operation *_Nonnull operation, bool wants_address);
/* Sends what is left of an operation, or a part of it; to its address, if it has one. */
SHIM_NO_LOCKS void shim_entry_send_from(
    struct io_uring_sqe *_Nonnull entry, struct shim_ring_lane *_Nonnull lane,
    struct shim_operation *_Nonnull operation, bool has_address);

#endif
