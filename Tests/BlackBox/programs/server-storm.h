/*
 * The two sides of server-storm: what the server's handlers do, and what its clients send, read and break off.
 */
#ifndef SERVER_STORM_H
#define SERVER_STORM_H

#include "storm.h"

#include <mews/mews.h>

#include <stdatomic.h>

enum { LARGE_UNIT = 32 << 10, LARGE_UNITS = 8, ECHO_LIMIT = 20000 };

/* The server is about to stop: connections may end as they like. */
extern atomic_bool is_stopping;

extern struct tally {
    atomic_ulong handled, lent, returned;                               /* calls of handlers; bodies by reference */
    atomic_ulong taken, spent, accepted, gone, refused, released, late; /* tokens, and what they came to */
    atomic_ulong continued, called;                                     /* continuations accepted, and their calls */
    atomic_ulong connections, answered, broken, unread, cut;            /* as the clients see it */
} tally;

/* The bytes of a body that belongs to a number. */
static inline char body_byte(unsigned long number, size_t index) {
    return (char)(number * 31 + index * 7 + index / 251);
}

/* ---- Handlers --------------------------------------------------------------------------------------------------- */

/* Registers all of them. */
void add_routes(mews_server *server);

/* A handler will stop the server, the next that is called. NULL: none. */
void let_handler_stop(mews_server *server);

/* The threads that spend tokens, from here to end_completers, which leaves none unspent. */
void start_completers(uint64_t seed);
void end_completers(void);

/* Keeps the completers from spending tokens. */
void pause_completers(void);
void resume_completers(void);

/* Requests whose tokens were not all spent. */
unsigned long count_held_requests(void);

/* ---- Clients ---------------------------------------------------------------------------------------------------- */

void start_clients(uint16_t port, uint64_t seed);
void end_clients(void);

#endif
