#include "CMewsShims.h"

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

int32_t shim_accept(int32_t listener) {
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) return descriptor;
        /* Errors of the connection and not of the listener (accept(2)): on to the next. */
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) return -errno;
    }
}
