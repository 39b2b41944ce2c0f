#include "CMewsShims.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

extern char **environ;

uint64_t *shim_process_mark_;

/* Memory that a child process finds zeroed; only kernels before 4.14 copy it. NULL when memory is out. */
static uint64_t *map_wiped_on_fork(size_t size, uint64_t first_word) {
    uint64_t *words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) return NULL;
    madvise(words, size, MADV_WIPEONFORK);
    if (first_word != 0) *words = first_word;
    return words;
}

uint64_t *shim_wiped_on_fork_once(uint64_t **place, size_t size, uint64_t first_word) {
    uint64_t *words = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (words != NULL) return words;
    uint64_t *made = map_wiped_on_fork(size, first_word);
    if (made == NULL) return NULL;
    if (__atomic_compare_exchange_n(place, &words, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return made;
    munmap(made, size);
    return words;
}

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

uint64_t *shim_fork_mark_create(void) { return map_wiped_on_fork(page_size(), 1); }

void shim_fork_mark_destroy(uint64_t *mark) { munmap(mark, page_size()); }

bool shim_process_mark(void) { return shim_wiped_on_fork_once(&shim_process_mark_, page_size(), 1) != NULL; }

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
