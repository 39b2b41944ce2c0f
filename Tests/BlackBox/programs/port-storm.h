/*
 * The operations of port-storm: tasks, which start one after the other, and what they belong to.
 */
#ifndef PORT_STORM_H
#define PORT_STORM_H

#include "storm.h"

#include <mews/port.h>

#include <netinet/in.h>
#include <stdatomic.h>

enum {
    BUFFER_SIZE = 2048,
    CONNECTIONS = 192, /* those that the port accepts and those it makes */
    ACCEPTS = 4,
    TIMERS = 12,
    RECEIVERS = 4,
    SENDERS = 4,
    FILE_TASKS = 6,
    FIRST_ACCEPT = 2 * CONNECTIONS,
    FIRST_TIMER = FIRST_ACCEPT + ACCEPTS,
    FIRST_RECEIVER = FIRST_TIMER + TIMERS,
    FIRST_SENDER = FIRST_RECEIVER + RECEIVERS,
    FIRST_FILE_TASK = FIRST_SENDER + SENDERS,
    TASKS = FIRST_FILE_TASK + FILE_TASKS
};

enum task_kind {
    ACCEPT, CONNECT, RECEIVE, AWAIT, SEND, SEND_FILE, DISCONNECT, RECEIVE_FROM, SEND_TO, READ, WRITE, SYNC, TIMER
};

struct connection;

/* One operation after the other. It is static: a packet that comes too late, or twice, finds it and is seen. */
struct task {
    mews_operation operation; /* first: a packet's operation is its task */
    atomic_bool is_started;   /* a packet is due */
    enum task_kind kind;
    mews_handle handle;
    uint64_t key;      /* what the packet has to bring */
    size_t length;     /* what it may bring at most */
    size_t guarded;    /* bytes of the buffer that nobody may have written to since the last packet */
    uint64_t due;      /* of a timer */
    uint64_t position; /* of a file task: where it writes and what */
    struct connection *connection;
    unsigned char buffer[BUFFER_SIZE];
};

/* A connected socket of the port: one task that receives, one that sends. */
struct connection {
    struct task *reader, *writer;
    struct connection *next_free;
    _Atomic mews_handle handle; /* 0: the place is free */
    atomic_bool is_troubled;    /* somebody cancelled something, or closed it */
    atomic_int tasks;
    bool skips;
    uint64_t key;
    uint64_t received, sent; /* how far the streams are */
    unsigned messages;       /* how many more it sends */
};

extern struct task tasks[TASKS];
extern struct connection connections[CONNECTIONS];
extern mews_port *port;
extern mews_handle listener, datagrams[2], files[2];
extern struct sockaddr_in listener_address;
/* The port is about to be shut down: outcomes need no other reason. */
extern atomic_bool is_ending;

extern struct tally {
    /* Operations. Started are those that owe a packet. */
    atomic_ulong started, finished, skipped, cancelled, failed, swept;
    atomic_ulong opened, clients, cancels, closes, posted, posts_received, received;
} tally;

/* The bytes of every stream and file, from a position on. */
void fill_pattern(unsigned char *bytes, uint64_t position, size_t count);
void check_pattern(const unsigned char *bytes, uint64_t position, size_t count, const char *what);

/* Makes the listening socket, the datagram sockets and the files of a port. */
void open_services(uint64_t *seed);
void start_tasks(uint64_t *seed);
void close_shared_file(void);

/* Posts a packet that can be told from all others. */
void post_packet(uint64_t *seed);

/* Checks a packet and goes on with what it belongs to. */
void handle_packet(const mews_packet *packet, uint64_t *seed);

/* Checks that nothing is started, open or under way. */
void check_tasks(void);

#endif
