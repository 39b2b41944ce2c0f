#include "CMewsShims.h"

#include <linux/filter.h>

__thread void *shim_thread_context_;
__thread struct shim_port_thread_storage shim_port_thread_storage_;

static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static int exit_key_error;
static void (*exit_destructor)(void *value);

static void run_exit_destructor(void *value) { __atomic_load_n(&exit_destructor, __ATOMIC_RELAXED)(value); }

static void create_exit_key(void) { exit_key_error = pthread_key_create(&exit_key, run_exit_destructor); }

int32_t shim_at_thread_exit(void *value, void (*destructor)(void *value)) {
    /* Every call passes the same function, so it does not matter whose store a thread's exit sees. */
    __atomic_store_n(&exit_destructor, destructor, __ATOMIC_RELAXED);
    pthread_once(&exit_key_once, create_exit_key);
    return exit_key_error != 0 ? exit_key_error : pthread_setspecific(exit_key, value);
}

/*
 * Whether accept(2) says something of the connection that it took off the queue, and nothing of the listener: it was
 * aborted, a firewall forbids it, or the network reported an error for it that was pending.
 */
static int is_of_connection(int error) {
    switch (error) {
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT: return 1;
    default: return 0;
    }
}

bool shim_accept_failed_for_one(int32_t error) { return is_of_connection(error); }

int32_t shim_accept(int32_t listener) {
    for (int left = SHIM_ACCEPT_ATTEMPTS;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) return descriptor;
        int error = errno;
        if (error == EINTR) continue;
        if (!is_of_connection(error) || --left == 0) return -error;
    }
}

int32_t shim_listener_admit_no_more(int32_t listener) {
    /* The flags of the TCP header that the filter is shown: SYN without ACK opens a connection (RFC 9293, 3.1). */
    static const struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof *program, .filter = (struct sock_filter *)program};
    return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0 ? -errno : 0;
}
