#include "CMewsShims.h"

#include <liburing.h>

void shim_entry_accept_one(struct io_uring_sqe *entry, int32_t listener) {
    io_uring_prep_accept(entry, listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* An entry counts its bytes in 32 bits, and the kernel moves less than 2 GiB at a time. */
static size_t piece(size_t length) { return length < (1U << 30) ? length : 1U << 30; }

/* The kernel reads the message when the entry is submitted, and writes to it when the operation completes. */
static struct msghdr *message_of(struct shim_ring_lane *lane, struct shim_operation *operation, socklen_t name_length) {
    lane->message = (struct msghdr){
        .msg_iov = operation->vectors + operation->first_vector,
        .msg_iovlen = (size_t)(operation->vector_count - operation->first_vector),
        .msg_name = name_length > 0 ? &operation->address : NULL,
        .msg_namelen = name_length,
    };
    return &lane->message;
}

void shim_entry_receive_into(struct io_uring_sqe *entry, struct shim_ring_lane *lane, struct shim_operation *operation,
                             bool wants_address) {
    const struct iovec *vector = operation->vectors;
    if (operation->vector_count == 1 && !wants_address) {
        io_uring_prep_recv(entry, lane->descriptor, vector->iov_base, piece(vector->iov_len), 0);
    } else {
        socklen_t name_length = wants_address ? sizeof operation->address : 0;
        io_uring_prep_recvmsg(entry, lane->descriptor, message_of(lane, operation, name_length), MSG_CMSG_CLOEXEC);
    }
}

void shim_entry_send_from(
    struct io_uring_sqe *entry, struct shim_ring_lane *lane, struct shim_operation *operation, bool has_address) {
    const struct iovec *vector = &operation->vectors[operation->first_vector];
    if (operation->vector_count - operation->first_vector == 1 && !has_address) {
        io_uring_prep_send(entry, lane->descriptor, vector->iov_base, piece(vector->iov_len), MSG_NOSIGNAL);
    } else {
        socklen_t name_length = has_address ? operation->address_length : 0;
        io_uring_prep_sendmsg(entry, lane->descriptor, message_of(lane, operation, name_length), MSG_NOSIGNAL);
    }
}
