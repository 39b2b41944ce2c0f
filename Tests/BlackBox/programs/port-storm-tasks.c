/* The operations of port-storm: what a task starts, what may come of it, and what it does next. */
#define _GNU_SOURCE
#include "port-storm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

struct task tasks[TASKS];
struct connection connections[CONNECTIONS];
mews_port *port;
mews_handle listener, datagrams[2], files[2];
struct sockaddr_in listener_address;
atomic_bool is_ending;
struct tally tally;

/* Keys of the services; connections have larger ones, which never come back. */
enum { LISTENER_KEY = 1, DATAGRAM_KEY = 2, FILE_KEY = 4, TIMER_KEY = 6, FIRST_CONNECTION_KEY = 1000 };

enum { GUARD = 0xDB, FILE_AREA = BUFFER_SIZE, PATTERN_PERIOD = 256, SHARED_FILE_SIZE = 1 << 16 };

static struct sockaddr_in datagram_addresses[2];
static bool listener_skips, datagrams_skip, files_skip[2];
static int shared_file = -1; /* holds the pattern, for sends of files */

/* What a start came to: the task may be another thread's already when it is PENDING. */
enum start { STARTED, DONE, REFUSED };

struct outcome {
    mews_result status;
    uint64_t bytes;
    int error;
};

/* ---- The pattern ------------------------------------------------------------------------------------------------ */

static unsigned char pattern_at(uint64_t position) { return (unsigned char)(position * 7 + 3); }

void fill_pattern(unsigned char *bytes, uint64_t position, size_t count) {
    for (size_t i = 0; i < count; i++) bytes[i] = pattern_at(position + i);
}

void check_pattern(const unsigned char *bytes, uint64_t position, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++) {
        CHECK(bytes[i] == pattern_at(position + i), "%s: a wrong byte at %lu", what, (unsigned long)(position + i));
    }
}

/* ---- Starting --------------------------------------------------------------------------------------------------- */

static mews_result call(struct task *task, uint64_t *seed) {
    mews_operation *operation = &task->operation;
    size_t half = task->length / 2;
    mews_buffer halves[2] = {{task->buffer, half}, {task->buffer + half, task->length - half}};
    switch (task->kind) {
    case ACCEPT: return mews_port_accept(port, task->handle, operation);
    case CONNECT:
        return mews_port_connect(port, task->handle, operation, &listener_address, sizeof listener_address);
    case AWAIT: return mews_port_receive(port, task->handle, operation, NULL, 0);
    case RECEIVE:
        if (one_in(seed, 4)) return mews_port_receive_buffers(port, task->handle, operation, halves, 2);
        return mews_port_receive(port, task->handle, operation, task->buffer, task->length);
    case SEND:
        if (one_in(seed, 4)) return mews_port_send_buffers(port, task->handle, operation, halves, 2);
        return mews_port_send(port, task->handle, operation, task->buffer, task->length);
    case SEND_FILE:
        return mews_port_send_file(
            port, task->handle, operation, shared_file, task->connection->sent % PATTERN_PERIOD, task->length);
    case DISCONNECT: return mews_port_disconnect(port, task->handle, operation);
    case RECEIVE_FROM: return mews_port_receive_from(port, task->handle, operation, task->buffer, task->length);
    case SEND_TO:
        return mews_port_send_to(port, task->handle, operation, task->buffer, task->length, &datagram_addresses[0],
            sizeof datagram_addresses[0]);
    case READ: return mews_port_read(port, task->handle, operation, task->buffer, task->length, task->position);
    case WRITE: return mews_port_write(port, task->handle, operation, task->buffer, task->length, task->position);
    case SYNC: return mews_port_sync(port, task->handle, operation);
    case TIMER: {
        uint64_t now = now_ms();
        return mews_port_timer(port, operation, task->due > now ? task->due - now : 0, task->key);
    }
    }
    return MEWS_E_INVALID_ARGUMENT;
}

static bool skips(const struct task *task) {
    switch (task->kind) {
    case ACCEPT: return listener_skips;
    case RECEIVE_FROM: case SEND_TO: return datagrams_skip;
    case READ: case WRITE: case SYNC: return files_skip[task->handle == files[1]];
    case TIMER: return false;
    default: return task->connection->skips;
    }
}

static enum start start(struct task *task, struct outcome *outcome, uint64_t *seed) {
    for (size_t i = 0; i < task->guarded; i++) {
        CHECK(task->buffer[i] == GUARD, "a buffer was written to after its packet");
    }
    task->guarded = 0;
    if (task->kind == SEND) fill_pattern(task->buffer, task->connection->sent, task->length);
    if (task->kind == WRITE) fill_pattern(task->buffer, task->position, task->length);
    if (task->kind == SEND_TO) fill_pattern(task->buffer, task->position, task->length);
    bool has_no_packet = skips(task);
    CHECK(!atomic_exchange(&task->is_started, true), "a task is started twice");
    atomic_fetch_add(&tally.started, 1);
    mews_result result = call(task, seed);
    if (result == MEWS_PENDING || (result == MEWS_OK && !has_no_packet)) return STARTED;
    int error = errno;
    CHECK(atomic_exchange(&task->is_started, false), "a packet came although there is none due: %d", (int)result);
    atomic_fetch_sub(&tally.started, 1);
    *outcome = (struct outcome){.status = result, .error = result == MEWS_E_SYSTEM ? error : 0};
    if (result != MEWS_OK) return REFUSED;
    outcome->bytes = mews_operation_bytes(&task->operation);
    atomic_fetch_add(&tally.skipped, 1);
    return DONE;
}

/* Whatever may go wrong with the peers that there are. */
static bool is_peers_fault(int error) {
    return error == ECONNRESET || error == EPIPE || error == ENOTCONN || error == ECONNREFUSED ||
           error == ECONNABORTED || error == EADDRNOTAVAIL || error == ETIMEDOUT;
}

/* Whether it takes all bytes or fails. */
static bool is_whole(enum task_kind kind) {
    return kind == SEND || kind == SEND_FILE || kind == SEND_TO || kind == WRITE;
}

/* Checks what an operation came to, and sees to it that late writes into its buffer will be seen. */
static void check_outcome(struct task *task, const struct outcome *outcome) {
    bool may_cancel =
        atomic_load(&is_ending) || task->connection == NULL || atomic_load(&task->connection->is_troubled);
    CHECK(outcome->bytes <= task->length, "kind %d: %lu bytes of %zu", (int)task->kind, (unsigned long)outcome->bytes,
        task->length);
    switch (outcome->status) {
    case MEWS_OK:
        CHECK(outcome->error == 0, "a success with an error");
        CHECK(!is_whole(task->kind) || outcome->bytes == task->length, "kind %d ends early", (int)task->kind);
        CHECK(task->kind != TIMER || now_ms() >= task->due, "a timer is early");
        break;
    case MEWS_E_CANCELED:
        CHECK(may_cancel, "kind %d is cancelled by nobody", (int)task->kind);
        CHECK(outcome->bytes == 0 || task->kind != RECEIVE, "bytes that were received are thrown away");
        CHECK(outcome->error == 0, "a cancelled operation with an error");
        atomic_fetch_add(&tally.cancelled, 1);
        break;
    case MEWS_E_SYSTEM:
        CHECK(task->connection != NULL && is_peers_fault(outcome->error), "kind %d fails: %s", (int)task->kind,
            strerror(outcome->error));
        atomic_fetch_add(&tally.failed, 1);
        break;
    case MEWS_E_GONE: CHECK(may_cancel, "kind %d: its handle is gone", (int)task->kind); break;
    default: fail(__LINE__, "kind %d comes to %d", (int)task->kind, (int)outcome->status);
    }
}

static void guard_buffer(struct task *task) {
    memset(task->buffer, GUARD, task->length);
    task->guarded = task->length;
}

/* ---- Connections ------------------------------------------------------------------------------------------------ */

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *free_connections;
static int open_connections;
static atomic_ulong next_connection_key = FIRST_CONNECTION_KEY;

static void go_on(struct task *task, struct outcome outcome, uint64_t *seed);

static struct connection *take_connection(void) {
    pthread_mutex_lock(&free_lock);
    struct connection *connection = free_connections;
    if (connection != NULL) {
        free_connections = connection->next_free;
        open_connections++;
    }
    pthread_mutex_unlock(&free_lock);
    return connection;
}

static void give_connection_back(struct connection *connection) {
    pthread_mutex_lock(&free_lock);
    connection->next_free = free_connections;
    free_connections = connection;
    open_connections--;
    pthread_mutex_unlock(&free_lock);
}

/* One of the two tasks is at its end; with the second, the connection is. */
static void end_task(struct connection *connection) {
    if (atomic_fetch_sub(&connection->tasks, 1) != 1) return;
    mews_handle handle = atomic_exchange(&connection->handle, 0);
    mews_result result = mews_handle_close(port, handle);
    CHECK(result == MEWS_OK || (result == MEWS_E_GONE && (connection->is_troubled || is_ending)),
        "a connection is closed already: %d", (int)result);
    give_connection_back(connection);
}

/* Associates a socket, which it closes when that cannot be. NULL then. */
static struct connection *open_connection(int descriptor, uint64_t *seed) {
    struct connection *connection = take_connection();
    if (connection == NULL) {
        close(descriptor);
        return NULL;
    }
    if (one_in(seed, 3)) reset_on_close(descriptor);
    connection->skips = one_in(seed, 2);
    connection->key = atomic_fetch_add(&next_connection_key, 1);
    connection->received = connection->sent = 0;
    connection->messages = random_below(seed, 8);
    atomic_store(&connection->is_troubled, false);
    atomic_store(&connection->tasks, 2);
    mews_handle handle;
    mews_result result = mews_port_associate(
        port, descriptor, connection->key, connection->skips ? MEWS_HANDLE_SKIP_ON_SUCCESS : 0, &handle);
    if (result != MEWS_OK) {
        CHECK(result == MEWS_E_GONE && atomic_load(&is_ending), "no association: %d", (int)result);
        close(descriptor);
        give_connection_back(connection);
        return NULL;
    }
    connection->reader->handle = connection->writer->handle = handle;
    connection->reader->key = connection->writer->key = connection->key;
    atomic_store(&connection->handle, handle);
    atomic_fetch_add(&tally.opened, 1);
    return connection;
}

static void choose_read(struct task *task, bool may_wait, uint64_t *seed) {
    task->kind = may_wait && one_in(seed, 6) ? AWAIT : RECEIVE;
    task->length = task->kind == AWAIT ? 0 : 1 + random_below(seed, one_in(seed, 4) ? 32 : BUFFER_SIZE);
}

/* False: it has sent all it had, and leaves without a word. */
static bool choose_write(struct task *task, uint64_t *seed) {
    if (task->connection->messages == 0) {
        task->kind = DISCONNECT;
        task->length = 0;
        return !one_in(seed, 4);
    }
    task->connection->messages--;
    task->kind = one_in(seed, 4) ? SEND_FILE : SEND;
    task->length = task->kind == SEND_FILE ? 1 + random_below(seed, SHARED_FILE_SIZE - PATTERN_PERIOD)
                                           : 1 + random_below(seed, BUFFER_SIZE);
    return true;
}

/* Takes what a reader has received. False: it is at its end. */
static bool next_read(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    struct connection *connection = task->connection;
    if (outcome->status != MEWS_OK && outcome->status != MEWS_E_CANCELED) return false;
    bool has_waited = task->kind == AWAIT && outcome->status == MEWS_OK;
    if (task->kind == RECEIVE && outcome->status == MEWS_OK) {
        if (outcome->bytes == 0) return false;
        check_pattern(task->buffer, connection->received, outcome->bytes, "a stream of the port");
        connection->received += outcome->bytes;
        atomic_fetch_add(&tally.received, outcome->bytes);
    }
    guard_buffer(task);
    choose_read(task, !has_waited, seed);
    return true;
}

/* Goes on after a send, which may have been cancelled on its way. False: it is at its end. */
static bool next_write(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    task->connection->sent += outcome->bytes;
    if (outcome->status != MEWS_OK && outcome->status != MEWS_E_CANCELED) return false;
    if (task->kind == DISCONNECT && outcome->status == MEWS_OK) return false;
    if (task->kind == SEND) guard_buffer(task);
    return choose_write(task, seed);
}

/* A connect has ended: both tasks begin, or none does. */
static bool next_after_connect(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    struct connection *connection = task->connection;
    if (outcome->status != MEWS_OK) {
        end_task(connection);
        return false;
    }
    choose_read(connection->reader, true, seed);
    struct outcome begin;
    enum start started = start(connection->reader, &begin, seed);
    if (started != STARTED) go_on(connection->reader, begin, seed);
    return choose_write(task, seed);
}

static void begin_accepted(int descriptor, uint64_t *seed) {
    struct connection *connection = open_connection(descriptor, seed);
    if (connection == NULL) return;
    struct task *both[2] = {connection->reader, connection->writer};
    choose_read(both[0], true, seed);
    bool writes = choose_write(both[1], seed);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome;
        if (i == 1 && !writes) {
            end_task(connection);
        } else if (start(both[i], &outcome, seed) != STARTED) {
            go_on(both[i], outcome, seed);
        }
    }
}

static void begin_connecting(uint64_t *seed) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(descriptor >= 0, "no socket: %s", strerror(errno));
    struct connection *connection = open_connection(descriptor, seed);
    if (connection == NULL) return;
    struct task *task = connection->writer;
    task->kind = CONNECT;
    task->length = 0;
    struct outcome outcome;
    if (start(task, &outcome, seed) != STARTED) go_on(task, outcome, seed);
}

/* ---- Services --------------------------------------------------------------------------------------------------- */

/* False: its handle is gone. */
static bool next_accept(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    int descriptor = mews_operation_descriptor(&task->operation);
    CHECK((descriptor >= 0) == (outcome->status == MEWS_OK), "accept comes to %d with descriptor %d",
        (int)outcome->status, descriptor);
    if (outcome->status == MEWS_OK) begin_accepted(descriptor, seed);
    return outcome->status == MEWS_OK || outcome->status == MEWS_E_CANCELED;
}

static bool next_datagram(struct task *task, const struct outcome *outcome) {
    if (task->kind == SEND_TO) return false;
    if (outcome->status == MEWS_OK) {
        uint32_t length;
        const struct sockaddr_in *source = mews_operation_address(&task->operation, &length);
        CHECK(source != NULL && length == sizeof *source && source->sin_port == datagram_addresses[1].sin_port,
            "a datagram from somewhere else");
        /* It begins anywhere in the pattern, of which a byte tells the position. */
        uint64_t position = 0;
        while (outcome->bytes > 0 && pattern_at(position) != task->buffer[0]) position++;
        check_pattern(task->buffer, position, outcome->bytes, "a datagram");
    }
    guard_buffer(task);
    return outcome->status == MEWS_OK || outcome->status == MEWS_E_CANCELED;
}

/* Writes, now and then makes durable, reads back and checks; a tick begins again. */
static bool next_file_step(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    if (outcome->status != MEWS_OK) return false;
    switch (task->kind) {
    case WRITE: task->kind = one_in(seed, 16) ? SYNC : READ; break;
    case SYNC: task->kind = READ; break;
    default:
        CHECK(outcome->bytes == task->length, "a read of %lu bytes of %zu", (unsigned long)outcome->bytes,
            task->length);
        check_pattern(task->buffer, task->position, task->length, "a file");
        guard_buffer(task);
        return false;
    }
    if (task->kind == READ) guard_buffer(task);
    return true;
}

/* Starts one of the tasks that are idle in between. */
static void begin_idle_task(struct task *first, int count, atomic_bool *busy, uint64_t *seed) {
    int index = (int)random_below(seed, (uint32_t)count);
    struct task *task = &first[index];
    if (atomic_exchange(&busy[index], true)) return;
    if (task->kind == SEND_TO) {
        task->length = random_below(seed, BUFFER_SIZE / 2);
        task->position = random_below(seed, PATTERN_PERIOD);
    } else {
        task->kind = WRITE;
        task->length = 1 + random_below(seed, FILE_AREA);
        task->position = (uint64_t)index * FILE_AREA;
    }
    struct outcome outcome;
    if (start(task, &outcome, seed) != STARTED) go_on(task, outcome, seed);
}

static atomic_bool busy_senders[SENDERS], busy_file_tasks[FILE_TASKS];

/* A timer is over: something is begun, and the timer set again. */
static bool next_tick(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    if (outcome->status == MEWS_E_GONE) return false;
    switch (random_below(seed, 4)) {
    case 0: begin_connecting(seed); break;
    case 1: begin_idle_task(&tasks[FIRST_SENDER], SENDERS, busy_senders, seed); break;
    case 2: begin_idle_task(&tasks[FIRST_FILE_TASK], FILE_TASKS, busy_file_tasks, seed); break;
    default: post_packet(seed); break;
    }
    task->due = now_ms() + random_below(seed, 10);
    return true;
}

/* ---- From one operation to the next ----------------------------------------------------------------------------- */

/* Says that a task is at its end. */
static void rest(struct task *task) {
    ptrdiff_t index = task - tasks;
    if (task->connection != NULL) return end_task(task->connection);
    if (index >= FIRST_FILE_TASK) {
        atomic_store(&busy_file_tasks[index - FIRST_FILE_TASK], false);
    } else if (index >= FIRST_SENDER) {
        atomic_store(&busy_senders[index - FIRST_SENDER], false);
    }
}

static bool choose_next(struct task *task, const struct outcome *outcome, uint64_t *seed) {
    switch (task->kind) {
    case ACCEPT: return next_accept(task, outcome, seed);
    case CONNECT: return next_after_connect(task, outcome, seed);
    case RECEIVE: case AWAIT: return next_read(task, outcome, seed);
    case SEND: case SEND_FILE: case DISCONNECT: return next_write(task, outcome, seed);
    case RECEIVE_FROM: case SEND_TO: return next_datagram(task, outcome);
    case READ: case WRITE: case SYNC: return next_file_step(task, outcome, seed);
    case TIMER: return next_tick(task, outcome, seed);
    }
    return false;
}

/* Starts what comes next, until it has to wait or there is nothing. */
static void go_on(struct task *task, struct outcome outcome, uint64_t *seed) {
    for (;;) {
        check_outcome(task, &outcome);
        if (!choose_next(task, &outcome, seed)) return rest(task);
        if (start(task, &outcome, seed) == STARTED) return;
    }
}

/* What the operation of posted packets points to: no memory of an operation at all. */
static char marks[16];

void post_packet(uint64_t *seed) {
    uint64_t key = (uint64_t)next_random(seed) << 32 | next_random(seed);
    mews_operation *mark = one_in(seed, 4) ? NULL : (mews_operation *)(void *)&marks[key % sizeof marks];
    mews_result result = mews_port_post(port, key, ~key, mark);
    if (result == MEWS_OK) {
        atomic_fetch_add(&tally.posted, 1);
    } else {
        CHECK(result == MEWS_E_GONE && atomic_load(&is_ending), "a post is answered %d", (int)result);
    }
}

void handle_packet(const mews_packet *packet, uint64_t *seed) {
    uintptr_t address = (uintptr_t)packet->operation;
    if (address - (uintptr_t)marks < sizeof marks || packet->operation == NULL) {
        bool is_whole = packet->bytes == ~packet->key && packet->status == MEWS_OK && packet->system_error == 0 &&
                        (packet->operation == NULL || address == (uintptr_t)&marks[packet->key % sizeof marks]);
        CHECK(is_whole, "a posted packet has changed on its way");
        atomic_fetch_add(&tally.posts_received, 1);
        return;
    }
    size_t offset = address - (uintptr_t)tasks;
    CHECK(offset < sizeof tasks && offset % sizeof tasks[0] == 0, "a packet of an operation that was never started");
    struct task *task = (struct task *)packet->operation;
    CHECK(atomic_exchange(&task->is_started, false), "a packet of kind %d that is not due", (int)task->kind);
    CHECK(packet->key == task->key, "kind %d: key %lu instead of %lu", (int)task->kind, (unsigned long)packet->key,
        (unsigned long)task->key);
    CHECK((packet->status == MEWS_E_SYSTEM) == (packet->system_error != 0), "status %d with error %d", packet->status,
        packet->system_error);
    CHECK(mews_operation_bytes(&task->operation) == packet->bytes, "packet and operation differ");
    atomic_fetch_add(&tally.finished, 1);
    go_on(task, (struct outcome){packet->status, packet->bytes, packet->system_error}, seed);
}

/* ---- Begin and end of a round ----------------------------------------------------------------------------------- */

static int bind_socket(int type, struct sockaddr_in *address) {
    int descriptor = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(descriptor >= 0 && bind(descriptor, (struct sockaddr *)address, length) == 0 &&
              getsockname(descriptor, (struct sockaddr *)address, &length) == 0,
        "no socket: %s", strerror(errno));
    return descriptor;
}

static int open_temporary_file(void) {
    int descriptor = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(descriptor >= 0, "no temporary file: %s", strerror(errno));
    return descriptor;
}

static void associate(int descriptor, uint64_t key, bool skips, mews_handle *handle) {
    mews_result result = mews_port_associate(port, descriptor, key, skips ? MEWS_HANDLE_SKIP_ON_SUCCESS : 0, handle);
    CHECK(result == MEWS_OK, "no association: %d", (int)result);
}

void open_services(uint64_t *seed) {
    atomic_store(&is_ending, false);
    shared_file = open_temporary_file();
    unsigned char bytes[SHARED_FILE_SIZE];
    fill_pattern(bytes, 0, sizeof bytes);
    CHECK(write(shared_file, bytes, sizeof bytes) == (ssize_t)sizeof bytes, "the shared file cannot be written");

    int descriptor = bind_socket(SOCK_STREAM, &listener_address);
    CHECK(listen(descriptor, 128) == 0, "no listening socket: %s", strerror(errno));
    listener_skips = one_in(seed, 2);
    datagrams_skip = one_in(seed, 2);
    associate(descriptor, LISTENER_KEY, listener_skips, &listener);
    for (int i = 0; i < 2; i++) {
        descriptor = bind_socket(SOCK_DGRAM, &datagram_addresses[i]);
        associate(descriptor, DATAGRAM_KEY + (uint64_t)i, datagrams_skip, &datagrams[i]);
        files_skip[i] = one_in(seed, 2);
        associate(open_temporary_file(), FILE_KEY + (uint64_t)i, files_skip[i], &files[i]);
    }
}

void close_shared_file(void) { close(shared_file); }

static void prepare(int first, int count, enum task_kind kind, mews_handle handle, uint64_t key) {
    for (int i = first; i < first + count; i++) {
        tasks[i].kind = kind;
        tasks[i].handle = handle;
        tasks[i].key = key;
        tasks[i].length = kind == RECEIVE_FROM ? BUFFER_SIZE : 0;
        tasks[i].guarded = 0;
    }
}

void start_tasks(uint64_t *seed) {
    free_connections = NULL;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        connection->reader = &tasks[2 * i];
        connection->writer = &tasks[2 * i + 1];
        connection->reader->connection = connection->writer->connection = connection;
        connection->next_free = free_connections;
        free_connections = connection;
    }
    prepare(FIRST_ACCEPT, ACCEPTS, ACCEPT, listener, LISTENER_KEY);
    prepare(FIRST_TIMER, TIMERS, TIMER, 0, TIMER_KEY);
    prepare(FIRST_RECEIVER, RECEIVERS, RECEIVE_FROM, datagrams[0], DATAGRAM_KEY);
    prepare(FIRST_SENDER, SENDERS, SEND_TO, datagrams[1], DATAGRAM_KEY + 1);
    for (int i = 0; i < FILE_TASKS; i++) {
        prepare(FIRST_FILE_TASK + i, 1, WRITE, files[i % 2], FILE_KEY + (uint64_t)(i % 2));
    }
    for (int i = FIRST_ACCEPT; i < FIRST_SENDER; i++) {
        struct outcome outcome;
        tasks[i].due = now_ms();
        if (start(&tasks[i], &outcome, seed) != STARTED) go_on(&tasks[i], outcome, seed);
    }
}

void check_tasks(void) {
    for (int i = 0; i < TASKS; i++) CHECK(!tasks[i].is_started, "an operation of kind %d is left", (int)tasks[i].kind);
    CHECK(tally.started == tally.finished, "%lu operations owed a packet, %lu packets came", tally.started,
        tally.finished);
    CHECK(tally.posted == tally.posts_received, "%lu packets were posted, %lu came", tally.posted,
        tally.posts_received);
    CHECK(open_connections == 0, "%d connections are left", open_connections);
}
