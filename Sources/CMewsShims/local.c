#include "CMewsShims.h"

#include <string.h>
#include <sys/time.h>
#include <sys/un.h>

/* How many connections wait to be taken. */
enum { BACKLOG = 8 };

/* Returns the size of the address, or -ENAMETOOLONG. */
static int32_t set_address(struct sockaddr_un *address, const char *name) {
    size_t length = strlen(name);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length > SHIM_LOCAL_NAME_LENGTH) return -ENAMETOOLONG;
    memcpy(address->sun_path + 1, name, length);
    return (int32_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

/* Returns the descriptor, or, having closed it, a negative errno. */
static int32_t prepare(int32_t descriptor, int32_t timeout_ms, uint32_t *user) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        int32_t error = -errno;
        close(descriptor);
        return error;
    }
    *user = peer.uid;
    return descriptor;
}

int32_t shim_local_listen(const char *name) {
    struct sockaddr_un address;
    int32_t size = set_address(&address, name);
    if (size < 0) return size;
    int32_t descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    if (bind(descriptor, (struct sockaddr *)&address, (socklen_t)size) != 0 || listen(descriptor, BACKLOG) != 0) {
        int32_t error = -errno;
        close(descriptor);
        return error;
    }
    return descriptor;
}

int32_t shim_local_accept(int32_t listener, int32_t timeout_ms, uint32_t *user) {
    int32_t descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return descriptor < 0 ? -errno : prepare(descriptor, timeout_ms, user);
}

int32_t shim_local_connect(const char *name, int32_t timeout_ms, uint32_t *user) {
    struct sockaddr_un address;
    int32_t size = set_address(&address, name);
    if (size < 0) return size;
    int32_t descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    descriptor = prepare(descriptor, timeout_ms, user);
    if (descriptor < 0) return descriptor;
    if (connect(descriptor, (struct sockaddr *)&address, (socklen_t)size) != 0) {
        int32_t error = -errno;
        close(descriptor);
        return error;
    }
    return prepare(descriptor, timeout_ms, user);
}

int32_t shim_local_peer(int32_t descriptor) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? (int32_t)peer.pid : 0;
}
