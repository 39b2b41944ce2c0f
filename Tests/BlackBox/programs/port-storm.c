/*
 * port-storm SECONDS SEED: a storm of connects, resets, half-closes and cancellations over a completion port.
 *
 * In each round a port lives for a while and is shut down in two phases in the middle of it all. Threads wait for its
 * packets and start the next operations, plain sockets connect to it and misbehave, a thread cancels and closes at
 * random. Checks that each operation in flight has exactly one packet, with its own key and an outcome that may be;
 * that no byte of a stream is lost, doubled or changed, cancelled or not; and that after a round no operation,
 * descriptor, thread or memory is left. Says what it did in one line; a failed check ends it with status 1.
 */
#define _GNU_SOURCE
#include "port-storm.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

enum { WORKERS = 4, CLIENTS = 3, PACKETS_AT_ONCE = 16 };

/* ---- Threads that wait for packets ------------------------------------------------------------------------------ */

struct worker {
    pthread_t thread;
    bool is_patient; /* may wait for ever; then it stays for the whole round */
    atomic_bool is_to_leave;
    uint64_t seed;
};

static atomic_bool is_port_closed;
static atomic_int workers_at_work;

static int64_t random_timeout(struct worker *worker) {
    switch (random_below(&worker->seed, 4)) {
    case 0: return 0;
    case 1: return worker->is_patient ? -1 : 50;
    default: return 1 + random_below(&worker->seed, 20);
    }
}

/* Takes packets until the port is shut down, or until it is told to leave. */
static void *work(void *argument) {
    struct worker *worker = argument;
    mews_packet packets[PACKETS_AT_ONCE];
    while (!atomic_load(&worker->is_to_leave)) {
        size_t count = 1;
        int64_t timeout = random_timeout(worker);
        mews_result result =
            one_in(&worker->seed, 2)
                ? mews_port_get(port, timeout, packets)
                : mews_port_get_many(port, timeout, packets, 1 + random_below(&worker->seed, PACKETS_AT_ONCE), &count);
        if (result == MEWS_E_TIMEOUT) {
            if (timeout == 0) usleep(200);
            continue;
        }
        if (result == MEWS_E_ABANDONED || result == MEWS_E_GONE) break;
        CHECK(result == MEWS_OK, "a wait is answered %d", (int)result);
        for (size_t i = 0; i < count; i++) handle_packet(&packets[i], &worker->seed);
        if (one_in(&worker->seed, 64)) {
            mews_blocking_begin();
            usleep(random_below(&worker->seed, 1000));
            mews_blocking_end();
        }
    }
    atomic_fetch_sub(&workers_at_work, 1);
    /* Some are still associated with the port when it is closed, and free it when they end. */
    while (!atomic_load(&worker->is_to_leave) && !atomic_load(&is_port_closed)) usleep(500);
    return NULL;
}

/* The same from another event loop. */
static void *poll_port(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    struct pollfd wanted = {.fd = mews_port_descriptor(port), .events = POLLIN};
    CHECK(wanted.fd >= 0, "no descriptor: %d", wanted.fd);
    for (;;) {
        poll(&wanted, 1, 20);
        mews_packet packet;
        mews_result result = mews_port_get(port, 0, &packet);
        if (result == MEWS_OK) handle_packet(&packet, &seed);
        if (result == MEWS_E_ABANDONED || result == MEWS_E_GONE) return NULL;
    }
}

static void start_worker(struct worker *worker, uint64_t seed) {
    atomic_store(&worker->is_to_leave, false);
    atomic_fetch_add(&workers_at_work, 1);
    worker->seed = seed;
    CHECK(pthread_create(&worker->thread, NULL, work, worker) == 0, "no thread");
}

/* ---- Clients: plain sockets ------------------------------------------------------------------------------------- */

static atomic_bool clients_end;

static int connect_plainly(void) {
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client >= 0, "no socket: %s", strerror(errno));
    struct timeval limit = {.tv_usec = 50000};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(client, (struct sockaddr *)&listener_address, sizeof listener_address) == 0) {
        atomic_fetch_add(&tally.clients, 1);
        return client;
    }
    close(client);
    usleep(1000);
    return -1;
}

/* Sends the next bytes of its stream, as many as the port takes. */
static void send_plainly(int client, uint64_t *position, size_t count) {
    unsigned char bytes[BUFFER_SIZE];
    while (count > 0) {
        size_t length = count < sizeof bytes ? count : sizeof bytes;
        fill_pattern(bytes, *position, length);
        ssize_t sent = send(client, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) return;
        *position += (uint64_t)sent;
        count -= (size_t)sent;
    }
}

/* Reads and checks what comes, until there is nothing for a moment, the end, or an error. */
static void read_plainly(int client, uint64_t *position, size_t limit) {
    unsigned char bytes[BUFFER_SIZE];
    while (limit > 0) {
        ssize_t count = recv(client, bytes, limit < sizeof bytes ? limit : sizeof bytes, 0);
        if (count <= 0) return;
        check_pattern(bytes, *position, (size_t)count, "a client's stream");
        *position += (uint64_t)count;
        limit -= (size_t)count;
    }
}

static void *run_client(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    while (!atomic_load(&clients_end)) {
        int client = connect_plainly();
        if (client < 0) continue;
        uint64_t sent = 0, received = 0;
        switch (random_below(&seed, 6)) {
        case 0: reset_connection(client); continue;
        case 1:
            send_plainly(client, &sent, random_below(&seed, 5000));
            reset_connection(client);
            continue;
        case 2:
            send_plainly(client, &sent, random_below(&seed, 20000));
            shutdown(client, SHUT_WR);
            read_plainly(client, &received, SIZE_MAX);
            break;
        case 3: read_plainly(client, &received, 1 + random_below(&seed, 4000)); break;
        case 4:
            send_plainly(client, &sent, random_below(&seed, 3000));
            usleep(random_below(&seed, 2000));
            break;
        default:
            /* Reads nothing, and sends until the port does not read any more either. */
            send_plainly(client, &sent, 1 << 20);
            reset_connection(client);
            continue;
        }
        close(client);
    }
    return NULL;
}

/* ---- Trouble ---------------------------------------------------------------------------------------------------- */

static void check_trouble(mews_result result) {
    CHECK(result == MEWS_OK || result == MEWS_E_NOT_FOUND || result == MEWS_E_GONE, "trouble is answered %d",
        (int)result);
    if (result == MEWS_OK) atomic_fetch_add(&tally.cancels, 1);
}

/* A connection is told before what is about to happen to it, so that its outcomes can be judged. */
static void trouble_connection(uint64_t *seed) {
    struct connection *connection = &connections[random_below(seed, CONNECTIONS)];
    mews_handle handle = atomic_load(&connection->handle);
    if (handle == 0) return;
    atomic_store(&connection->is_troubled, true);
    struct task *task = one_in(seed, 2) ? connection->reader : connection->writer;
    switch (random_below(seed, 8)) {
    case 0: case 1: case 2: check_trouble(mews_handle_cancel(port, handle, NULL)); break;
    case 3: case 4: case 5: check_trouble(mews_handle_cancel(port, handle, &task->operation)); break;
    case 6: {
        /* Another's operation is not the handle's, unless it is by chance. */
        struct task *other = &tasks[random_below(seed, TASKS)];
        check_trouble(mews_handle_cancel(port, handle, &other->operation));
        break;
    }
    default: {
        mews_result result = mews_handle_close(port, handle);
        CHECK(result == MEWS_OK || result == MEWS_E_GONE, "a close is answered %d", (int)result);
        if (result == MEWS_OK) atomic_fetch_add(&tally.closes, 1);
    }
    }
}

static void *make_trouble(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    while (!atomic_load(&clients_end)) {
        usleep(random_below(&seed, 300));
        switch (random_below(&seed, 10)) {
        case 0:
            check_trouble(mews_port_timer_cancel(
                port, &tasks[FIRST_TIMER + random_below(&seed, TIMERS)].operation));
            break;
        case 1: {
            const mews_handle services[] = {listener, datagrams[0], datagrams[1], files[0], files[1]};
            check_trouble(mews_handle_cancel(port, services[random_below(&seed, 5)], NULL));
            break;
        }
        case 2: post_packet(&seed); break;
        default: trouble_connection(&seed); break;
        }
    }
    return NULL;
}

/* ---- A round: one port from its creation to its end ------------------------------------------------------------- */

static void sweep(void *context, const mews_packet *packet) {
    atomic_fetch_add(&tally.swept, 1);
    handle_packet(packet, context);
}

/* Has workers end and others take their place until the round is over. */
static void wait_for_end(struct worker *workers, uint64_t end, uint64_t *seed) {
    while (now_ms() < end) {
        usleep(20000);
        struct worker *worker = &workers[random_below(seed, WORKERS)];
        if (worker->is_patient) continue;
        atomic_store(&worker->is_to_leave, true);
        pthread_join(worker->thread, NULL);
        start_worker(worker, next_random(seed));
    }
}

/* Closes some of the services before the port, with what is in flight on them. */
static void close_services(uint64_t *seed) {
    const mews_handle services[] = {listener, datagrams[0], datagrams[1], files[0], files[1]};
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (one_in(seed, 3)) CHECK(mews_handle_close(port, services[i]) == MEWS_OK, "a service cannot be closed");
    }
}

static void run_round(uint64_t end, uint64_t *seed) {
    atomic_store(&clients_end, false);
    atomic_store(&is_port_closed, false);
    mews_result result = mews_port_create(random_below(seed, 4), &port);
    CHECK(result == MEWS_OK, "no port: %d", (int)result);
    open_services(seed);

    struct worker workers[WORKERS];
    pthread_t threads[CLIENTS], trouble, poller;
    for (int i = 0; i < WORKERS; i++) {
        workers[i].is_patient = i == 0;
        start_worker(&workers[i], next_random(seed));
    }
    start_tasks(seed);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_create(&threads[i], NULL, run_client, (void *)(uintptr_t)next_random(seed));
    }
    pthread_create(&trouble, NULL, make_trouble, (void *)(uintptr_t)next_random(seed));
    pthread_create(&poller, NULL, poll_port, (void *)(uintptr_t)next_random(seed));
    wait_for_end(workers, end, seed);
    if (one_in(seed, 2)) close_services(seed);

    /* Shut down in the middle of it all, and closed while threads are still associated. */
    atomic_store(&is_ending, true);
    CHECK(mews_port_shutdown(port, sweep, seed) == MEWS_OK, "no shutdown");
    CHECK(mews_port_post(port, 1, 1, NULL) == MEWS_E_GONE, "a port that is shut down takes a packet");
    atomic_store(&clients_end, true);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    pthread_join(trouble, NULL);
    pthread_join(poller, NULL);
    for (int i = 0; i < WORKERS; i += 2) {
        atomic_store(&workers[i].is_to_leave, true);
        pthread_join(workers[i].thread, NULL);
    }
    while (atomic_load(&workers_at_work) > 0) usleep(200);
    mews_port_close(port);
    atomic_store(&is_port_closed, true);
    for (int i = 1; i < WORKERS; i += 2) pthread_join(workers[i].thread, NULL);
    close_shared_file();
    check_tasks();
}

int main(int argc, char **argv) {
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t end = now_ms() + seconds * 1000;
    struct holdings holdings = count_holdings();
    unsigned round = 0;
    while (now_ms() < end) {
        run_round(now_ms() + 50 + random_below(&seed, 600), &seed);
        check_holdings(&holdings, ++round);
    }
    printf("%u ports: %lu operations started, %lu done at once, %lu packets, %lu of them cancelled, %lu failed and %lu "
        "swept; %lu connections, %lu by clients; %lu cancels, %lu closes, %lu posts; %.1f MB received; nothing left, "
        "%ld KiB resident (%+ld since the warm-up)\n",
        round, tally.started, tally.skipped, tally.finished, tally.cancelled, tally.failed, tally.swept, tally.opened,
        tally.clients, tally.cancels, tally.closes, tally.posted, (double)tally.received / 1e6, resident_kib(),
        holdings.resident == 0 ? 0 : resident_kib() - holdings.resident);
    CHECK(tally.cancelled > 0 && tally.swept > 0 && tally.skipped > 0 && tally.opened > 0 && tally.failed > 0,
        "a way was not taken");
    return 0;
}
