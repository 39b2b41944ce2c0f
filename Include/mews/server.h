/*
 * mews/server.h: the HTTP server inside a C program.
 *
 *   mews_server *server = NULL;
 *   mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
 *   if (mews_server_create(&options, &server) != MEWS_OK) return 1;
 *   mews_server_route(server, "GET", "/hello/{name}", hello, NULL);
 *   mews_server_listen(server, "http://127.0.0.1:8080", NULL);
 *   mews_server_run(server);      // until another thread, or a signal handler, calls mews_server_stop
 *   mews_server_destroy(server);
 *
 * The library installs no signal handler, writes to no standard stream and changes nothing of the process. What it has
 * to say goes to the log function of the options.
 *
 * In a child after fork, where a server's threads do not exist, the functions of this header, and those for tokens,
 * timers and work, answer MEWS_E_UNSUPPORTED; mews_server_destroy does nothing. What a child may do is exec.
 */
#ifndef MEWS_SERVER_H
#define MEWS_SERVER_H

#include "base.h"
#include "exchange.h"
#include "plugin.h"

MEWS_BEGIN_DECLARATIONS

typedef struct mews_server mews_server;

/*
 * How many sockets listen on an address. One that all I/O threads share spreads connections evenly, but many threads
 * contend for the lock of its queue, and some wake in vain. With one for each I/O thread (SO_REUSEPORT) they do not,
 * but the kernel chooses the socket by a hash of the addresses, so threads get unequal numbers of connections.
 */
typedef uint32_t mews_listen_sockets;

enum {
    MEWS_LISTEN_AUTO = 0,                       /* shared, and one for each from 8 I/O threads on */
    MEWS_LISTEN_SHARED = 1,
    MEWS_LISTEN_PER_THREAD = 2
};

/*
 * Receives the lines of the log, one a call, without a line break. Called from any thread of the server, one call at a
 * time.
 *
 * source  "mews", or the name of the plugin that speaks. MEWS_BORROWED for the call, like text.
 */
typedef void (*mews_log_function)(
    void *MEWS_NULLABLE context, mews_level level, mews_text source, mews_text text);

/* Start from MEWS_SERVER_OPTIONS_INIT; a 0 or NULL stands for the default. */
typedef struct mews_server_options {
    uint32_t struct_size;
    mews_io_backend io_backend;                 /* default: MEWS_IO_AUTO */
    uint32_t io_threads;                        /* default: one for two processors, at most 16 */
    uint32_t workers;                           /* how many handlers run at once on workers; default: one a processor */
    mews_log_function MEWS_NULLABLE log;        /* default: nothing is said */
    void *MEWS_NULLABLE log_context;
    mews_level log_level;                       /* lines below this level are not made; default: MEWS_LEVEL_DEBUG */
    uint32_t drain_timeout_ms;                  /* how long a stop waits for requests in flight; default: 30,000 */
    uint32_t workers_max;                       /* how many worker threads there may be, those included whose handlers
                                                   sleep, at least workers; default: 512, or twice workers */
    mews_listen_sockets listen_sockets;         /* default: MEWS_LISTEN_AUTO */
    uint32_t handler_timeout_ms;                /* of routes that have none of their own; default: none (plugin.h) */
    uint32_t reserved;
} mews_server_options;

MEWS_STATIC_ASSERT(sizeof(mews_server_options) == 40 + 2 * sizeof(void *), "layout of mews_server_options");

#define MEWS_SERVER_OPTIONS_INIT \
    {(uint32_t)sizeof(mews_server_options), MEWS_IO_AUTO, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0}

/*
 * Makes a server. Nothing runs yet.
 *
 * options  may be NULL for the defaults. MEWS_COPIED.
 * server   receives the server. MEWS_HANDED_OVER: destroy it with mews_server_destroy. NULL after an error.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT; MEWS_E_NO_MEMORY; MEWS_E_UNSUPPORTED when the backend asked for is not
 *         there; MEWS_E_LIMIT at 64 servers in one process.
 */
MEWS_ANY_THREAD MEWS_MUST_CHECK mews_result mews_server_create(
    const mews_server_options *MEWS_NULLABLE options, mews_server *MEWS_NULLABLE *MEWS_REQUIRED server);

/*
 * Registers a handler; method, pattern and results as for mews_route.
 *
 * state  given to the handler.
 */
MEWS_IN_SETUP mews_result mews_server_route(
    mews_server *MEWS_REQUIRED server, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler, void *MEWS_NULLABLE state);

/* As mews_server_route, with options; where they carry a state, it is the one that counts. */
MEWS_IN_SETUP mews_result mews_server_route_with(
    mews_server *MEWS_REQUIRED server, const char *MEWS_REQUIRED method, const char *MEWS_REQUIRED pattern,
    mews_handler MEWS_REQUIRED handler, void *MEWS_NULLABLE state, const mews_route_options *MEWS_NULLABLE options);

/*
 * The plugin handle of the program itself, for mews_log, timers and worker slots. Valid until the server is destroyed.
 */
MEWS_ANY_THREAD mews_plugin *MEWS_NULLABLE mews_server_plugin(mews_server *MEWS_REQUIRED server);

/*
 * Binds an address and listens on it. Connections are taken from the start on.
 *
 * url   "http://HOST:PORT" with a numeric IPv4 address, an IPv6 address in brackets, "localhost" (127.0.0.1 and, where
 *       the machine has it, ::1) or "*" (every address). Port 0 takes a free one. MEWS_COPIED.
 * port  receives the port that was bound; may be NULL.
 * Returns MEWS_OK; MEWS_E_INVALID_ARGUMENT for a bad URL; MEWS_E_CONFLICT when the address is in use, by whomever;
 *         MEWS_E_SYSTEM; MEWS_E_WRONG_STATE after the start. mews_server_error has the details.
 */
MEWS_IN_SETUP mews_result mews_server_listen(
    mews_server *MEWS_REQUIRED server, const char *MEWS_REQUIRED url, uint16_t *MEWS_NULLABLE port);

/*
 * Starts the threads and returns. MEWS_E_WRONG_STATE without an endpoint or a second time; MEWS_E_SYSTEM;
 * MEWS_E_NO_MEMORY.
 */
MEWS_ANY_THREAD mews_result mews_server_start(mews_server *MEWS_REQUIRED server);

/*
 * Asks the server to stop, and returns at once: it takes no more connections, finishes the requests in flight and
 * closes the rest. Safe in a signal handler. Asked before the start, the server stops as soon as it has started. Does
 * nothing the second time. Returns MEWS_OK.
 */
MEWS_ANY_THREAD mews_result mews_server_stop(mews_server *MEWS_REQUIRED server);

/*
 * Waits until the server has stopped. Returns MEWS_OK; MEWS_E_LIMIT when the drain timeout passed and requests were cut
 * off; MEWS_E_WRONG_STATE before the start, and MEWS_E_WRONG_THREAD from a thread of the server itself.
 */
MEWS_ANY_THREAD mews_result mews_server_wait(mews_server *MEWS_REQUIRED server);

/* Starts and waits: mews_server_start, then mews_server_wait. */
MEWS_ANY_THREAD mews_result mews_server_run(mews_server *MEWS_REQUIRED server);

/*
 * The details of the last error of this server, a sentence that ends in NUL; empty when there was none. Valid until the
 * next call for this server.
 */
MEWS_IN_SETUP const char *MEWS_NONNULL mews_server_error(const mews_server *MEWS_REQUIRED server);

/* Stops the server if it runs, waits, and frees it. NULL is ignored. Not from a handler or a callback of the server. */
MEWS_ANY_THREAD void mews_server_destroy(mews_server *MEWS_NULLABLE server);

/*
 * The mews command: what `mews ARGUMENTS` does, for a program that wants to be the host under its own name. Installs
 * signal handlers and writes to the standard streams, as a command does. Returns the exit status.
 *
 * argv  argc arguments, each ended by NUL. MEWS_BORROWED for the call.
 */
MEWS_ANY_THREAD int32_t mews_main(int32_t argc, char *MEWS_NONNULL const *MEWS_REQUIRED argv);

MEWS_END_DECLARATIONS

#endif
