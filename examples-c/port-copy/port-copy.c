/*
 * port-copy SOURCE TARGET [SOURCE TARGET]...: copies files, many pieces at a time.
 *
 * Each piece is an operation with a buffer: it reads at its offset, writes there, and moves on to the next offset that
 * nobody has taken. Threads of the port do the reading and writing; this program has one of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <mews/port.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_SIZE = 256 * 1024, PIECES_A_FILE = 4, PACKETS_AT_ONCE = 32 };

struct copy {
    const char *source_name, *target_name;
    mews_handle source, target;
    uint64_t next_offset, size;
    int pieces; /* under way */
    int has_failed;
};

struct piece {
    mews_operation operation;
    struct copy *copy;
    uint64_t offset;
    uint64_t length; /* read, and to be written */
    enum { READING, WRITING, SYNCING } state;
    char buffer[PIECE_SIZE];
};

static mews_port *port;
static int failures;
static int copies_under_way;

static void report(struct copy *copy, const char *name, mews_result result, int error) {
    fprintf(stderr, "port-copy: %s: %s\n", name, result == MEWS_E_SYSTEM ? strerror(error) : mews_result_text(result));
    if (!copy->has_failed) failures++;
    copy->has_failed = 1;
}

/* The last piece that has nothing to do any more makes the copy durable, and closes the files. */
static void retire(struct piece *piece) {
    struct copy *copy = piece->copy;
    if (--copy->pieces > 0) {
        free(piece);
        return;
    }
    if (piece->state != SYNCING && !copy->has_failed) {
        copy->pieces = 1;
        piece->state = SYNCING;
        mews_result result = mews_port_sync(port, copy->target, &piece->operation);
        if (result >= 0) return;
        report(copy, copy->target_name, result, errno);
        copy->pieces = 0;
    }
    mews_handle_close(port, copy->source);
    mews_handle_close(port, copy->target);
    copies_under_way--;
    free(piece);
}

static void read_next(struct piece *piece) {
    struct copy *copy = piece->copy;
    if (copy->next_offset >= copy->size || copy->has_failed) {
        retire(piece);
        return;
    }
    piece->state = READING;
    piece->offset = copy->next_offset;
    copy->next_offset += PIECE_SIZE;
    mews_result result =
        mews_port_read(port, copy->source, &piece->operation, piece->buffer, PIECE_SIZE, piece->offset);
    if (result >= 0) return; /* a packet comes, also for what was done at once */
    report(copy, copy->source_name, result, errno);
    retire(piece);
}

static void handle(const mews_packet *packet) {
    struct piece *piece = (struct piece *)packet->operation;
    struct copy *copy = piece->copy;
    if (packet->status != MEWS_OK) {
        report(copy, piece->state == READING ? copy->source_name : copy->target_name, packet->status,
               packet->system_error);
        retire(piece);
        return;
    }
    switch (piece->state) {
    case READING:
        if (packet->bytes == 0) { /* the file has become shorter */
            retire(piece);
            return;
        }
        piece->state = WRITING;
        piece->length = packet->bytes;
        mews_result result =
            mews_port_write(port, copy->target, &piece->operation, piece->buffer, piece->length, piece->offset);
        if (result >= 0) return;
        report(copy, copy->target_name, result, errno);
        retire(piece);
        return;
    case WRITING:
        read_next(piece);
        return;
    case SYNCING:
        retire(piece);
        return;
    }
}

static mews_result open_file(const char *name, int flags, mews_handle *handle, uint64_t *size) {
    struct stat status;
    int descriptor = open(name, flags | O_CLOEXEC, 0666);
    if (descriptor < 0) return MEWS_E_SYSTEM;
    mews_result result = fstat(descriptor, &status) < 0 ? MEWS_E_SYSTEM : MEWS_OK;
    if (result == MEWS_OK) {
        *size = (uint64_t)status.st_size;
        result = mews_port_associate(port, descriptor, 0, 0, handle);
    }
    if (result != MEWS_OK) close(descriptor);
    return result;
}

static void start(struct copy *copy) {
    uint64_t ignored;
    mews_result result = open_file(copy->source_name, O_RDONLY, &copy->source, &copy->size);
    if (result != MEWS_OK) {
        report(copy, copy->source_name, result, errno);
        return;
    }
    result = open_file(copy->target_name, O_WRONLY | O_CREAT | O_TRUNC, &copy->target, &ignored);
    if (result != MEWS_OK) {
        report(copy, copy->target_name, result, errno);
        mews_handle_close(port, copy->source);
        return;
    }
    copies_under_way++;
    /* All pieces count from the start, so that none that ends early closes the files. */
    struct piece *pieces[PIECES_A_FILE];
    for (int i = 0; i < PIECES_A_FILE; i++) {
        pieces[i] = calloc(1, sizeof *pieces[i]);
        if (pieces[i] == NULL) abort();
        pieces[i]->copy = copy;
    }
    copy->pieces = PIECES_A_FILE;
    for (int i = 0; i < PIECES_A_FILE; i++) read_next(pieces[i]);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: port-copy SOURCE TARGET [SOURCE TARGET]...\n");
        return 2;
    }
    mews_result result = mews_port_create(1, &port);
    if (result != MEWS_OK) {
        fprintf(stderr, "port-copy: %s\n", mews_result_text(result));
        return 1;
    }
    size_t copy_count = (size_t)(argc - 1) / 2;
    struct copy *copies = calloc(copy_count, sizeof *copies);
    if (copies == NULL) abort();
    for (size_t i = 0; i < copy_count; i++) {
        copies[i].source_name = argv[1 + 2 * i];
        copies[i].target_name = argv[2 + 2 * i];
        start(&copies[i]);
    }
    while (copies_under_way > 0) {
        mews_packet packets[PACKETS_AT_ONCE];
        size_t count;
        if (mews_port_get_many(port, -1, packets, PACKETS_AT_ONCE, &count) != MEWS_OK) break;
        for (size_t i = 0; i < count; i++) handle(&packets[i]);
    }
    mews_port_close(port);
    free(copies);
    return failures == 0 ? 0 : 1;
}
