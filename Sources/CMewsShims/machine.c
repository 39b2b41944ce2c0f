#include "CMewsShims.h"

#include <linux/membarrier.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static struct shim_limit limit_of(int resource) {
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    getrlimit(resource, &limit);
    return (struct shim_limit){
        .soft = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur,
        .hard = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max,
    };
}

struct shim_limit shim_descriptor_limit(void) { return limit_of(RLIMIT_NOFILE); }
struct shim_limit shim_locked_memory_limit(void) { return limit_of(RLIMIT_MEMLOCK); }

static const struct utsname *names(void) {
    static struct utsname names;
    uname(&names);
    return &names;
}

const char *shim_kernel_release(void) { return names()->release; }
const char *shim_machine_name(void) { return names()->machine; }

bool shim_has_membarrier(void) {
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    return commands >= 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
}

/* Closes what a call has opened. Answers 0, or the errno of a call that answered it negated. */
static int32_t tried(int32_t descriptor) {
    if (descriptor < 0) return -descriptor;
    close(descriptor);
    return 0;
}

int32_t shim_try_epoll(void) { return tried(shim_epoll_create()); }
int32_t shim_try_eventfd(void) { return tried(shim_eventfd_create()); }
int32_t shim_try_timerfd(void) { return tried(shim_timerfd_create()); }

int32_t shim_try_listen(void) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int error = 0;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0 || listen(descriptor, 1) < 0) error = errno;
    close(descriptor);
    return error;
}

/* A thread that sleeps until it is told to end. */
struct sleeper {
    uint32_t word;
    int32_t thread;
    int32_t clock;
};

static void *sleep_until_told(void *context) {
    struct sleeper *sleeper = context;
    sleeper->clock = shim_thread_clock();
    __atomic_store_n(&sleeper->thread, shim_thread_id(), __ATOMIC_RELEASE);
    while (__atomic_load_n(&sleeper->word, __ATOMIC_ACQUIRE) == 0) shim_futex_wait(&sleeper->word, 0, -1);
    return NULL;
}

static int32_t watch(const struct sleeper *sleeper) {
    int32_t thread;
    while ((thread = __atomic_load_n(&sleeper->thread, __ATOMIC_ACQUIRE)) == 0) usleep(100);
    int32_t descriptor = shim_thread_state_open(thread);
    if (descriptor < 0) return -descriptor;
    int32_t error = ENOTSUP;
    for (int tries = 0; tries < 1000 && error != 0; tries++) {
        if (shim_thread_sleeps(descriptor) == 1 && shim_clock_nanoseconds(sleeper->clock) >= 0) error = 0;
        else usleep(200);
    }
    /* The other way round, too: this thread runs. */
    int32_t own = error == 0 ? shim_thread_state_open(shim_thread_id()) : -1;
    if (own >= 0) {
        if (shim_thread_sleeps(own) != 0) error = ENOTSUP;
        close(own);
    }
    close(descriptor);
    return error;
}

int32_t shim_try_thread_watch(void) {
    struct sleeper sleeper = {0};
    pthread_t thread;
    int32_t error = shim_thread_create(&thread, 64 << 10, sleep_until_told, &sleeper);
    if (error != 0) return error;
    error = watch(&sleeper);
    __atomic_store_n(&sleeper.word, 1, __ATOMIC_RELEASE);
    shim_futex_wake(&sleeper.word, 1);
    pthread_join(thread, NULL);
    return error;
}
