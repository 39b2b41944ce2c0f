/*
 * Counts what a hot path must not do: calls of the allocator, locks, futex calls, and the Swift runtime's retains,
 * releases and objects. Preloaded (LD_PRELOAD) into the mews command; the counts are in the file that the environment
 * variable MEWS_HOT_PATH_COUNTERS names, for Tests/HotPath/run to read while the server runs.
 *
 * The library stands before the C library in the search for symbols, so it sees the calls of the server and of its
 * plugins. The Swift runtime is part of libmews and of Swift plugins, and nothing of it is exported. But the symbol
 * tables of those files name its functions, and the runtime has variables through which tools can replace them
 * (_swift_retain and its siblings). So: read the table from the file, add the address the file was loaded at, and set
 * the variables.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { ALLOCATE, FREE, MAP, LOCK, FUTEX, RETAIN, RELEASE, OBJECT, KINDS };

enum role { OTHER, IO, WORKER, WATCHER, ROLES };

/* The layout of the file; the reader knows it, too. */
struct counters {
    char kinds[KINDS][16];
    char roles[ROLES][16];
    uint64_t counts[ROLES][KINDS];
};

static const struct counters names = {
    .kinds = {"allocate", "free", "map", "lock", "futex", "retain", "release", "object"},
    .roles = {"other", "io", "worker", "watcher"},
};
static struct counters before_start;
static struct counters *counters = &before_start;

/* In the first block of thread-locals, which is there before the allocator is. */
static __thread enum role role __attribute__((tls_model("initial-exec")));

static void count(enum kind kind) { __atomic_fetch_add(&counters->counts[role][kind], 1, __ATOMIC_RELAXED); }

/*
 * ---- The C library ------------------------------------------------------------------------------------------------
 */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

void *malloc(size_t size) {
    count(ALLOCATE);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(ALLOCATE);
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    count(ALLOCATE);
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    count(ALLOCATE);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(ALLOCATE);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    count(ALLOCATE);
    void *found = __libc_memalign(alignment, size);
    if (found == NULL) return ENOMEM;
    *memory = found;
    return 0;
}

void free(void *memory) {
    if (memory != NULL) count(FREE);
    __libc_free(memory);
}

/* The system call itself: the C library's syscall() is what this library stands before. */
static long system_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}

long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex) count(FUTEX);
    return system_call(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

static void *map(size_t size, int protection, int flags, int file) {
    return (void *)system_call(SYS_mmap, 0, (long)size, protection, flags, file, 0);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    count(MAP);
    return (void *)system_call(SYS_mmap, (long)address, (long)size, protection, flags, file, offset);
}

/* The lock functions have nothing to be replaced but the counting: each calls the next of its name. */
#define COUNTED_LOCK(name, type)                                           \
    int name(type *lock) {                                                 \
        static int (*next)(type *);                                        \
        if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name);       \
        count(LOCK);                                                       \
        return next(lock);                                                 \
    }
COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_spin_lock, pthread_spinlock_t)

/*
 * ---- The Swift runtime --------------------------------------------------------------------------------------------
 */

/* One image with a Swift runtime in it: libmews, and each Swift plugin. */
struct runtime {
    void *(*retain)(void *object);
    void *(*retain_n)(void *object, uint32_t n);
    void (*release)(void *object);
    void (*release_n)(void *object, uint32_t n);
    void *(*allocate)(const void *metadata, size_t size, size_t alignment_mask);
};

enum { RUNTIMES = 4 };
static struct runtime originals[RUNTIMES];
static int runtime_count;

/*
 * The compiler hands swift_retain whatever a string or an array holds: a negative word is a value without an object,
 * and the topmost and lowest bits of others are flags. The runtime's own way to _swift_retain takes the flags off
 * first, and then cannot tell the two apart; so what is replaced for retains is that way, _swift_retain_adapter.
 */
static bool is_counted(const void *object) { return (intptr_t)object > 0; }
static void *address_of(void *object) { return (void *)((uintptr_t)object & 0x00fffffffffffff8); }

/*
 * What stands in for the functions of one runtime; a function has no room for the number of its runtime but its name.
 */
#define REPLACEMENTS(number)                                                                     \
    static void *retain_##number(void *object) {                                                 \
        count(RETAIN);                                                                           \
        if (is_counted(object)) originals[number].retain(address_of(object));                    \
        return object;                                                                           \
    }                                                                                            \
    static void *retain_n_##number(void *object, uint32_t n) {                                   \
        count(RETAIN);                                                                           \
        return originals[number].retain_n(object, n);                                            \
    }                                                                                            \
    static void release_##number(void *object) {                                                 \
        count(RELEASE);                                                                          \
        originals[number].release(object);                                                       \
    }                                                                                            \
    static void release_n_##number(void *object, uint32_t n) {                                   \
        count(RELEASE);                                                                          \
        originals[number].release_n(object, n);                                                  \
    }                                                                                            \
    static void *allocate_##number(const void *metadata, size_t size, size_t alignment_mask) {   \
        count(OBJECT);                                                                           \
        return originals[number].allocate(metadata, size, alignment_mask);                       \
    }
REPLACEMENTS(0)
REPLACEMENTS(1)
REPLACEMENTS(2)
REPLACEMENTS(3)
#define REPLACEMENT_TABLE(number) \
    {retain_##number, retain_n_##number, release_##number, release_n_##number, allocate_##number}
static const struct runtime replacements[RUNTIMES] = {
    REPLACEMENT_TABLE(0), REPLACEMENT_TABLE(1), REPLACEMENT_TABLE(2), REPLACEMENT_TABLE(3)};

/* What is looked for in a symbol table, and where it was found. */
enum symbol {
    ENABLE,
    RETAIN_ADAPTER,
    RETAIN_VARIABLE,
    RETAIN_N_VARIABLE,
    RELEASE_VARIABLE,
    RELEASE_N_VARIABLE,
    ALLOCATE_VARIABLE,
    RETAIN_FUNCTION,
    RELEASE_FUNCTION,
    SYMBOLS
};
static const char *const symbol_names[SYMBOLS] = {
    [ENABLE] = "_swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly",
    [RETAIN_ADAPTER] = "_ZL21_swift_retain_adapter", /* static in C++, hence mangled */
    [RETAIN_VARIABLE] = "_swift_retain",
    [RETAIN_N_VARIABLE] = "_swift_retain_n",
    [RELEASE_VARIABLE] = "_swift_release",
    [RELEASE_N_VARIABLE] = "_swift_release_n",
    [ALLOCATE_VARIABLE] = "_swift_allocObject",
    [RETAIN_FUNCTION] = "swift_retain",
    [RELEASE_FUNCTION] = "swift_release",
};

/* libmews's own, for the planted ones. */
static void *(*planted_retain)(void *object);
static void (*planted_release)(void *object);

static bool find_in_table(const char *file, size_t size, uintptr_t base, char **found) {
    const ElfW(Ehdr) *header = (const void *)file;
    if (size < sizeof *header || memcmp(file, ELFMAG, SELFMAG) != 0) return false;
    if (header->e_shoff > size || (size - header->e_shoff) / sizeof(ElfW(Shdr)) < header->e_shnum) return false;
    const ElfW(Shdr) *sections = (const void *)(file + header->e_shoff);
    int missing = SYMBOLS;
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const ElfW(Sym) *symbols = (const void *)(file + sections[i].sh_offset);
        const char *texts = file + sections[sections[i].sh_link].sh_offset;
        for (size_t j = 0; j < sections[i].sh_size / sizeof *symbols; j++) {
            for (int k = 0; k < SYMBOLS; k++) {
                if (symbols[j].st_value == 0 || strcmp(texts + symbols[j].st_name, symbol_names[k]) != 0) continue;
                if (found[k] == NULL) missing--;
                found[k] = (char *)(base + symbols[j].st_value);
            }
        }
    }
    return missing == 0;
}

/* Finds the symbols of a loaded file. False: it has no Swift runtime in it, or no symbol table. */
static bool find_symbols(const char *path, uintptr_t base, char **found) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return false;
    struct stat status;
    char *file = MAP_FAILED;
    if (fstat(descriptor, &status) == 0) file = map((size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor);
    close(descriptor);
    if (file == MAP_FAILED) return false;
    bool complete = find_in_table(file, (size_t)status.st_size, base, found);
    munmap(file, (size_t)status.st_size);
    return complete;
}

static int replace_in_image(struct dl_phdr_info *image, size_t size, void *unused) {
    (void)size;
    (void)unused;
    char *found[SYMBOLS] = {NULL};
    if (runtime_count == RUNTIMES || !find_symbols(image->dlpi_name, image->dlpi_addr, found)) return 0;
    if (*(bool *)found[ENABLE]) return 0; /* done before */
    struct runtime *original = &originals[runtime_count];
    const struct runtime *replacement = &replacements[runtime_count];
    runtime_count++;
#define REPLACE(variable, field)                                                  \
    memcpy(&original->field, found[variable], sizeof original->field);            \
    memcpy(found[variable], &replacement->field, sizeof replacement->field)
    memcpy(&original->retain, found[RETAIN_VARIABLE], sizeof original->retain);
    memcpy(found[RETAIN_ADAPTER], &replacement->retain, sizeof replacement->retain);
    REPLACE(RETAIN_N_VARIABLE, retain_n);
    REPLACE(RELEASE_VARIABLE, release);
    REPLACE(RELEASE_N_VARIABLE, release_n);
    REPLACE(ALLOCATE_VARIABLE, allocate);
    if (strstr(image->dlpi_name, "/libmews.so") != NULL) {
        *(void **)&planted_retain = found[RETAIN_FUNCTION];
        *(void **)&planted_release = found[RELEASE_FUNCTION];
    }
    *(bool *)found[ENABLE] = true;
    return 0;
}

/* For the planted route: a retain and a release, by libmews's runtime, of no object. False: there is none to call. */
bool hot_path_retain_and_release(void) {
    if (planted_retain == NULL || planted_release == NULL) return false;
    planted_retain(NULL);
    planted_release(NULL);
    return true;
}

/*
 * ---- Start --------------------------------------------------------------------------------------------------------
 */

/*
 * A thread of the server says what it is by its name. When the first one does, every plugin has been loaded: the time
 * to find their runtimes.
 */
int prctl(int option, ...) {
    unsigned long arguments[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++) arguments[i] = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_NAME) {
        const char *name = (const char *)arguments[0];
        dl_iterate_phdr(replace_in_image, NULL);
        role = OTHER;
        if (strncmp(name, "mews-io", 7) == 0 || strncmp(name, "mews-standby", 12) == 0) role = IO;
        if (strncmp(name, "mews-worker", 11) == 0) role = WORKER;
        if (strcmp(name, "mews-takeover") == 0) role = WATCHER;
    }
    return (int)system_call(
        SYS_prctl, option, (long)arguments[0], (long)arguments[1], (long)arguments[2], (long)arguments[3], 0);
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("MEWS_HOT_PATH_COUNTERS");
    if (path == NULL) return;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return;
    if (ftruncate(descriptor, sizeof names) == 0) {
        void *shared = map(sizeof names, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor);
        if (shared != MAP_FAILED) counters = memcpy(shared, &names, sizeof names);
    }
    close(descriptor);
}
