/*
 * server-storm SECONDS SEED: a storm of clients that break off at any byte over a server in this process.
 *
 * In each round a server with inline, worker, blocking and pending handlers lives for a while and is stopped, or
 * destroyed, in the middle of it all. Its clients cut requests off, pipeline, reset, close one half, never read; other
 * threads complete and continue what is pending, and keep tokens beyond the end. Checks each response that a client
 * stays for, that each thing lent is given back once, and that after a round no connection, exchange, block, thread,
 * descriptor or memory is left: the server's last line in the log says what there is. The rounds take turns in how the
 * server watches its memory (MEWS_POOL). Says what it did in one line; a failed check ends it with status 1.
 */
#define _GNU_SOURCE
#include "server-storm.h"

#include <pthread.h>

atomic_bool is_stopping;
struct tally tally;

/* What the last server said when it was freed. */
static struct remains {
    bool is_told;
    unsigned long connections, exchanges, held, blocks;
} remains;

static unsigned long drains_cut_off, tokens_that_outlived;

static void take_log_line(void *context, mews_level level, mews_text source, mews_text text) {
    (void)context, (void)source;
    char line[256];
    snprintf(line, sizeof line, "%.*s", MEWS_TEXT_ARG(text));
    if (sscanf(line, "freed with %lu connections, %lu exchanges, %lu held by tokens, %lu blocks", &remains.connections,
            &remains.exchanges, &remains.held, &remains.blocks) == 4) {
        remains.is_told = true;
        return;
    }
    bool is_expected = strstr(line, "it is pending, and every token was released") != NULL ||
                       strstr(line, "returned MEWS_PENDING without a token") != NULL;
    CHECK(is_expected || level < MEWS_LEVEL_WARNING, "the log says: %s", line);
}

static mews_server *start_server(uint16_t *port, uint64_t *seed) {
    mews_server *server = NULL;
    mews_server_options options = MEWS_SERVER_OPTIONS_INIT;
    options.io_threads = 1 + random_below(seed, 2);
    options.workers = 1 + random_below(seed, 3);
    options.workers_max = options.workers + random_below(seed, 32);
    options.drain_timeout_ms = 20 + random_below(seed, 400);
    options.log = take_log_line;
    options.log_level = MEWS_LEVEL_DEBUG;
    CHECK(mews_server_create(&options, &server) == MEWS_OK, "no server");
    add_routes(server);
    CHECK(mews_server_listen(server, "http://127.0.0.1:0", port) == MEWS_OK, "%s", mews_server_error(server));
    CHECK(mews_server_start(server) == MEWS_OK, "%s", mews_server_error(server));
    return server;
}

/* Ends a server in one of the ways there are. */
static void end_server(mews_server *server, uint64_t *seed) {
    atomic_store(&is_stopping, true);
    uint32_t way = random_below(seed, 4);
    if (way == 0) {
        /* Destroyed as it runs. */
        mews_server_destroy(server);
        return;
    }
    if (way == 1) let_handler_stop(server);
    if (way == 1) usleep(5000);
    CHECK(mews_server_stop(server) == MEWS_OK, "no stop");
    let_handler_stop(NULL);
    mews_result result = mews_server_wait(server);
    CHECK(result == MEWS_OK || result == MEWS_E_LIMIT, "the server does not stop: %d", (int)result);
    if (result == MEWS_E_LIMIT) drains_cut_off++;
    if (way == 2) usleep(random_below(seed, 3000));
    mews_server_destroy(server);
}

static void run_round(uint64_t end, unsigned round, uint64_t *seed) {
    static const char *const ways_to_watch[] = {"", "poison", "malloc"};
    setenv("MEWS_POOL", ways_to_watch[round % 3], 1);
    uint16_t port = 0;
    remains = (struct remains){.is_told = false};
    atomic_store(&is_stopping, false);
    mews_server *server = start_server(&port, seed);
    start_completers(next_random(seed));
    start_clients(port, next_random(seed));
    while (now_ms() < end) usleep(5000);

    bool is_quiet = one_in(seed, 2);
    if (is_quiet) pause_completers();
    end_server(server, seed);
    CHECK(remains.is_told, "the server does not say what is left of it");
    CHECK(remains.connections == 0 && remains.exchanges == 0 && remains.blocks == 0,
        "%lu connections, %lu exchanges, %lu blocks are left", remains.connections, remains.exchanges, remains.blocks);
    /* Where no token was spent meanwhile, server and program count the same. */
    unsigned long held = count_held_requests();
    CHECK(!is_quiet || remains.held == held, "%lu exchanges are held, %lu by the server's count", held, remains.held);
    resume_completers();
    tokens_that_outlived += remains.held;
    end_clients();
    end_completers();
    CHECK(tally.lent == tally.returned, "%lu bodies lent, %lu given back", tally.lent, tally.returned);
    CHECK(tally.continued == tally.called, "%lu continuations accepted, %lu called", tally.continued, tally.called);
    CHECK(tally.taken == tally.spent, "%lu tokens taken, %lu spent", tally.taken, tally.spent);
}

int main(int argc, char **argv) {
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t end = now_ms() + seconds * 1000;
    struct holdings holdings = count_holdings();
    unsigned round = 0;
    while (now_ms() < end) {
        run_round(now_ms() + 50 + random_below(&seed, 600), round, &seed);
        check_holdings(&holdings, ++round);
    }
    printf("%u servers, %lu with requests cut off: %lu connections, %lu requests handled, %lu answers read, "
        "%lu clients that broke off and %lu that never read, %lu cut off by a stop; "
        "%lu tokens: %lu accepted, %lu gone, %lu refused, %lu released, %lu of them late, %lu beyond their server; "
        "%lu continuations, %lu bodies by reference; nothing left, %ld KiB resident (%+ld since the warm-up)\n",
        round, drains_cut_off, tally.connections, tally.handled, tally.answered, tally.broken, tally.unread, tally.cut,
        tally.taken, tally.accepted, tally.gone, tally.refused, tally.released, tally.late, tokens_that_outlived,
        tally.continued, tally.lent, resident_kib(), holdings.resident == 0 ? 0 : resident_kib() - holdings.resident);
    CHECK(tally.answered > 0 && tally.broken > 0 && tally.unread > 0 && tally.gone > 0 && tally.late > 0,
        "a way was not taken");
    return 0;
}
