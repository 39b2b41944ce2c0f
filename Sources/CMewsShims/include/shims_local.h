/* Sockets between processes of one machine, by names that are no files (unix(7), "abstract"). */
#ifndef CMEWS_SHIMS_LOCAL_H
#define CMEWS_SHIMS_LOCAL_H

#include <stdint.h>

/* A name has so many bytes at most. */
enum { SHIM_LOCAL_NAME_LENGTH = 100 };

/* Listens under a name. Returns a descriptor, which is closed on exec, or a negative errno. */
int32_t shim_local_listen(const char *_Nonnull name);

/*
 * Waits for a connection. Returns its descriptor, closed on exec and with timeout_ms as the longest wait of each call,
 * or a negative errno. *user receives the effective user of the process that has connected.
 */
int32_t shim_local_accept(int32_t listener, int32_t timeout_ms, uint32_t *_Nonnull user);

/* Connects to a name. The same, with the user of the process that listens. */
int32_t shim_local_connect(const char *_Nonnull name, int32_t timeout_ms, uint32_t *_Nonnull user);

/* The process that holds the other end of a connection, or that has made the socket pair. 0 when it is not known. */
int32_t shim_local_peer(int32_t descriptor);

#endif
