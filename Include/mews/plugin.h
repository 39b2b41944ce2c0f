/*
 * mews/plugin.h: all a handler in a shared object needs.
 *
 *   static mews_result hello(mews_exchange *exchange, void *state) {
 *       mews_text name = mews_path_parameter(exchange, "name");
 *       return mews_respond_format(exchange, 200, "text/plain", "Hello, %.*s!\n", MEWS_TEXT_ARG(name));
 *   }
 *
 *   static mews_result start(mews_plugin *self, void **state) {
 *       return mews_route(self, "GET", "/hello/{name}", hello);
 *   }
 *
 *   MEWS_PLUGIN("hello", "1.0.0", start)
 *
 *   cc -shared -fPIC -Wl,-z,defs hello.c -o plugins/hello.so $(pkg-config --cflags --libs mews)
 */
#ifndef MEWS_PLUGIN_H
#define MEWS_PLUGIN_H

#include "base.h"
#include "exchange.h"

MEWS_BEGIN_DECLARATIONS

/* ---- Identity --------------------------------------------------------------------------------------------------- */

/*
 * Called once after loading, before any request: registers routes and makes the plugin's state.
 *
 * state  where to store what the handlers get as their state; holds NULL at first.
 * Returns MEWS_OK. Anything else refuses the plugin; mews_fail says why in a sentence.
 */
typedef mews_result (*mews_plugin_start)(mews_plugin *MEWS_NONNULL self, void *MEWS_NULLABLE *MEWS_NONNULL state);

/*
 * Called once after the last handler, timer and work callback has returned, when the host stops. Not called when start
 * failed.
 */
typedef void (*mews_plugin_stop)(mews_plugin *MEWS_NONNULL self, void *MEWS_NULLABLE state);

/*
 * What a plugin's entry function fills in. The host sets struct_size to what it knows; fields beyond are not written.
 */
typedef struct mews_plugin_hooks {
    uint32_t struct_size;
    uint32_t reserved;
    mews_plugin_start MEWS_NULLABLE start; /* required */
    mews_plugin_stop MEWS_NULLABLE stop;   /* may be NULL */
} mews_plugin_hooks;

MEWS_STATIC_ASSERT(sizeof(mews_plugin_hooks) == 8 + 2 * sizeof(void *), "layout of mews_plugin_hooks");

/*
 * Who a file is, in an ELF note (section .note.mews, owner "Mews", type 1), so that it can be read without running any
 * of its code.
 */
typedef struct mews_plugin_note {
    uint32_t name_size;        /* of owner: 5 */
    uint32_t descriptor_size;  /* of all that follows owner: 104 */
    uint32_t type;             /* MEWS_PLUGIN_NOTE_TYPE */
    char owner[8];             /* "Mews" and NULs */
    uint32_t abi_major;        /* MEWS_ABI_MAJOR of the header the plugin was compiled with */
    uint32_t abi_minor;        /* MEWS_ABI_MINOR of it */
    char name[64];             /* the plugin's name, ended by NUL: letters, digits, "-", "_", "." */
    char version[32];          /* the plugin's version, ended by NUL */
} mews_plugin_note;

MEWS_STATIC_ASSERT(sizeof(mews_plugin_note) == 124, "layout of mews_plugin_note");

#define MEWS_PLUGIN_NOTE_TYPE 1

#define MEWS_PLUGIN_WITH_STOP(plugin_name, plugin_version, start_function, stop_function)                              \
    MEWS_BEGIN_DECLARATIONS_LINKAGE_                                                                                   \
    __attribute__((section(".note.mews"), used, aligned(4))) static const mews_plugin_note mews_plugin_note_ = {       \
        5, 104, MEWS_PLUGIN_NOTE_TYPE, "Mews", MEWS_ABI_MAJOR, MEWS_ABI_MINOR, plugin_name, plugin_version};           \
    MEWS_STATIC_ASSERT(sizeof(plugin_name) <= 64 && sizeof(plugin_name) > 1, "a plugin's name has 1 to 63 bytes");     \
    MEWS_STATIC_ASSERT(sizeof(plugin_version) <= 32, "a plugin's version has at most 31 bytes");                       \
    MEWS_EXPORT void mews_plugin_entry(mews_plugin_hooks *hooks);                                                      \
    MEWS_EXPORT void mews_plugin_entry(mews_plugin_hooks *hooks) {                                                     \
        hooks->start = (start_function);                                                                               \
        hooks->stop = (stop_function);                                                                                 \
    }                                                                                                                  \
    MEWS_END_DECLARATIONS_LINKAGE_

/*
 * Makes a shared object a plugin: once, in one source file, at file scope, without a semicolon behind it.
 *
 * plugin_name     a string literal of 1 to 63 bytes: letters, digits, "-", "_", ".". One plugin of a name can be
 *                 loaded.
 * plugin_version  a string literal of at most 31 bytes.
 * start_function  a mews_plugin_start.
 */
#define MEWS_PLUGIN(plugin_name, plugin_version, start_function) \
    MEWS_PLUGIN_WITH_STOP(plugin_name, plugin_version, start_function, NULL)

/* ---- Routes ----------------------------------------------------------------------------------------------------- */

/*
 * Registers a handler for a method and a pattern.
 *
 * method   a token such as "GET", case counts, or "*" for every method. GET also answers HEAD. MEWS_COPIED.
 * pattern  starts with "/". A segment is literal, or "{name}" for one non-empty segment, or, as the last, "{name...}"
 *          for the rest of the path, which may be empty. A literal wins over a parameter, a parameter over a rest.
 *          MEWS_COPIED.
 * handler  called with the state that start stored.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT for a bad method or pattern; MEWS_E_CONFLICT when the route is taken (the
 *         log names both plugins); MEWS_E_WRONG_STATE outside start; MEWS_E_NO_MEMORY.
 */
MEWS_IN_START mews_result mews_route(
    mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler);

/*
 * A handler timeout is how long a request may be with its handler, in milliseconds: from when it is whole until the
 * handler has returned with a response or a pending response was completed, the wait for a worker included. A route has
 * a timeout of its own, or the host's (--handler-timeout; handler_timeout_ms of mews_server_options), which is none
 * unless it is set.
 *
 * When the time is over, the client gets 504 Gateway Timeout, and the connection is closed after it. A handler that has
 * not been called by then never is. One that runs goes on undisturbed: what it calls works as before, what it reads
 * stays where it is, and its response, its error or its completion is dropped. mews_token_status and the functions that
 * complete answer MEWS_E_GONE; a handler that takes long can ask, and end early.
 */

/* For handler_timeout_ms: none, whatever the host is set up for. */
#define MEWS_HANDLER_TIMEOUT_NONE UINT32_MAX

/* What more can be said of a route. Start from MEWS_ROUTE_OPTIONS_INIT. */
typedef struct mews_route_options {
    uint32_t struct_size;
    mews_execution execution;
    void *MEWS_NULLABLE state; /* given to the handler instead of the plugin's state, when use_state is not 0 */
    uint32_t use_state;
    uint32_t handler_timeout_ms; /* 0: the host's */
} mews_route_options;

MEWS_STATIC_ASSERT(sizeof(mews_route_options) == 16 + sizeof(void *), "layout of mews_route_options");

#define MEWS_ROUTE_OPTIONS_INIT {(uint32_t)sizeof(mews_route_options), MEWS_EXECUTION_DEFAULT, NULL, 0, 0}

/* As mews_route, with options. options may be NULL for none. MEWS_COPIED. */
MEWS_IN_START mews_result mews_route_with(
    mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler, const mews_route_options *MEWS_NULLABLE options);

/* As mews_route, for a handler that is short and never waits: it runs on the I/O thread. */
MEWS_IN_START mews_result mews_route_inline(
    mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler);

/*
 * As mews_route, for a handler that spends its time waiting: for a database, a lock, another server. It runs on a
 * worker as well, but does not count among those that run at once: as many of its calls wait side by side as there may
 * be worker threads (--workers-max, workers_max).
 */
MEWS_IN_START mews_result mews_route_blocking(
    mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler);

/* ---- Services --------------------------------------------------------------------------------------------------- */

/*
 * Says in a sentence why start fails, by printf's rules; the host shows it with the file's name.
 * Returns MEWS_E_FAILED, always, so that start can end with: return mews_fail(self, "no database at %s", path);
 */
MEWS_IN_START mews_result mews_fail(
    mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED format, ...) MEWS_PRINTF_(2, 3);

typedef uint32_t mews_level;

enum {
    MEWS_LEVEL_DEBUG = 0,
    MEWS_LEVEL_INFO = 1,
    MEWS_LEVEL_WARNING = 2,
    MEWS_LEVEL_ERROR = 3
};

/* Writes a line to the host's log, under the plugin's name, by printf's rules. Line breaks in it are escaped. */
MEWS_ANY_THREAD void mews_log(
    mews_plugin *MEWS_REQUIRED self, mews_level level, const char *MEWS_REQUIRED format, ...) MEWS_PRINTF_(3, 4);

/*
 * A setting of this plugin, given to the host as --set PLUGIN.KEY=VALUE. Absent when it was not given. Ends in NUL;
 * valid as long as the plugin.
 */
MEWS_ANY_THREAD mews_text mews_setting(const mews_plugin *MEWS_REQUIRED self, const char *MEWS_REQUIRED key);

/* The plugin's name and version, as its identity states them. End in NUL; valid as long as the plugin. */
MEWS_ANY_THREAD mews_text mews_plugin_name(const mews_plugin *MEWS_REQUIRED self);
MEWS_ANY_THREAD mews_text mews_plugin_version(const mews_plugin *MEWS_REQUIRED self);

/* The number of this worker process, from 0. */
MEWS_ANY_THREAD uint32_t mews_process_index(const mews_plugin *MEWS_REQUIRED self);

/*
 * How many threads of this process may run handlers at most, I/O threads and those that stand by for them included: the
 * indexes below are smaller. There are fewer until they are needed.
 */
MEWS_ANY_THREAD uint32_t mews_worker_count(const mews_plugin *MEWS_REQUIRED self);

/*
 * The calling thread's index among them, or UINT32_MAX on a thread that is not the host's. A worker that is started
 * later may have the index of one that has ended.
 */
MEWS_ANY_THREAD uint32_t mews_worker_index(const mews_plugin *MEWS_REQUIRED self);

/*
 * A place for one pointer that belongs to this plugin and the calling thread: what thread-local variables would be,
 * without their limits. NULL at first; what a thread that has ended left there, the next one with its index finds.
 * Other threads never touch it, so no lock is needed. NULL is returned on a thread that is not the host's, or when
 * memory is exhausted. Valid as long as the plugin.
 */
MEWS_ANY_THREAD void *MEWS_NULLABLE *MEWS_NULLABLE mews_worker_slot(const mews_plugin *MEWS_REQUIRED self);

/* Nanoseconds of a clock that never goes back (CLOCK_MONOTONIC). */
MEWS_ANY_THREAD uint64_t mews_clock_monotonic_ns(void);

/* Nanoseconds since 1970-01-01 00:00 UTC (CLOCK_REALTIME). */
MEWS_ANY_THREAD int64_t mews_clock_wall_ns(void);

/* ---- Timers ----------------------------------------------------------------------------------------------------- */

/* 64 bits, slot and generation. 0 is never a timer. */
typedef uint64_t mews_timer;

/* Called once on a worker when a timer is due. */
typedef void (*mews_timer_callback)(mews_plugin *MEWS_NONNULL self, void *MEWS_NULLABLE context);

/*
 * Starts a one-shot timer. Started in start, it runs from the moment the server serves.
 *
 * delay_ms  at least this many milliseconds; up to 10 ms late when the host is idle, later under load. At most 2^31.
 * context   given to the callback. The callback is not called for a timer that was cancelled or when the host stops
 *           first.
 * timer     receives the handle; may be NULL.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_LIMIT at 65,536 timers; MEWS_E_NO_MEMORY; MEWS_E_GONE when the host
 *         stops.
 */
MEWS_ANY_THREAD mews_result mews_timer_start(
    mews_plugin *MEWS_REQUIRED self, uint64_t delay_ms, mews_timer_callback MEWS_REQUIRED callback,
    void *MEWS_NULLABLE context, mews_timer *MEWS_NULLABLE timer);

/*
 * Cancels a timer. MEWS_OK: the callback will not be called. MEWS_E_GONE: it was called, is being called, or was
 * cancelled.
 */
MEWS_ANY_THREAD mews_result mews_timer_cancel(mews_plugin *MEWS_REQUIRED self, mews_timer timer);

/* ---- Work ------------------------------------------------------------------------------------------------------- */

/* Called once on a worker with what mews_work was given. It may block, as a handler may. */
typedef void (*mews_work_callback)(mews_plugin *MEWS_NONNULL self, void *MEWS_NULLABLE context);

/*
 * Runs a callback on a worker: it queues behind the requests that wait for one. Called in start, the callback runs when
 * the server serves; it does not run when the start fails.
 *
 * callback  called exactly once after MEWS_OK, before the plugin's stop; never after an error.
 * context   given to the callback. MEWS_BORROWED until the callback has returned.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_NO_MEMORY; MEWS_E_GONE when the host has stopped: a stop that waits
 *         for requests in flight still takes work, since they may need it.
 */
MEWS_ANY_THREAD mews_result mews_work(
    mews_plugin *MEWS_REQUIRED self, mews_work_callback MEWS_REQUIRED callback, void *MEWS_NULLABLE context);

MEWS_END_DECLARATIONS

#endif
