#include "CMewsShims.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

extern char **environ;

uint64_t *shim_process_mark_;

uint64_t *shim_fork_mark_create(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t *mark = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark == MAP_FAILED) return NULL;
    madvise(mark, size, MADV_WIPEONFORK);
    *mark = 1;
    return mark;
}

void shim_fork_mark_destroy(uint64_t *mark) { munmap(mark, (size_t)sysconf(_SC_PAGESIZE)); }

bool shim_process_mark(void) {
    if (__atomic_load_n(&shim_process_mark_, __ATOMIC_ACQUIRE) != NULL) return true;
    uint64_t *mark = shim_fork_mark_create(), *none = NULL;
    if (mark == NULL) return false;
    bool is_first =
        __atomic_compare_exchange_n(&shim_process_mark_, &none, mark, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (!is_first) shim_fork_mark_destroy(mark);
    return true;
}

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};

int32_t shim_signals_watch(void) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) sigaddset(&set, watched[i]);
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (error != 0) return -error;
    signal(SIGPIPE, SIG_IGN);
    int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int32_t shim_signal_next(int32_t descriptor) {
    struct signalfd_siginfo info;
    ssize_t count;
    do {
        count = read(descriptor, &info, sizeof info);
    } while (count < 0 && errno == EINTR);
    return count == (ssize_t)sizeof info ? (int32_t)info.ssi_signo : 0;
}

static int prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions, const int32_t *descriptors,
                   int32_t count) {
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) sigaddset(&defaults, watched[i]);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &defaults);
    posix_spawnattr_setpgroup(attributes, 0);
    /* Onto itself: posix_spawn takes that as "leave it open", and clears close-on-exec (glibc 2.29). */
    for (int32_t i = 0; i < count; i++) {
        int error = posix_spawn_file_actions_adddup2(actions, descriptors[i], descriptors[i]);
        if (error != 0) return error;
    }
    return posix_spawnattr_setflags(attributes,
                                    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

int32_t shim_spawn_self(char *const *argv, const int32_t *descriptors, int32_t count) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    pid_t process = 0;
    int error = posix_spawnattr_init(&attributes);
    if (error != 0) return -error;
    error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = prepare(&attributes, &actions, descriptors, count);
        if (error == 0) error = posix_spawn(&process, "/proc/self/exe", &actions, &attributes, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? process : -error;
}

int32_t shim_reap(int32_t process, int32_t *status) {
    for (;;) {
        int wait_status = 0;
        pid_t result = waitpid(process, &wait_status, WNOHANG);
        if (result >= 0) {
            *status = wait_status;
            return result;
        }
        if (errno != EINTR) return -errno;
    }
}

void shim_occupy_standard_streams(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0) continue;
        /* The lowest free descriptor is this one. Opened the wrong way round. */
        if (open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) < 0) return;
    }
}
