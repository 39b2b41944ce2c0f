/*
 * What Swift cannot say for itself: thread-locals, macros and variadic system calls. Static inline where it can be, so
 * that it costs nothing. Nothing here starts with mews_: that prefix belongs to the public header.
 */
#ifndef CMEWS_SHIMS_H
#define CMEWS_SHIMS_H

#include <stdint.h>
#include <stddef.h>

#define SHIM_NO_LOCKS __attribute__((swift_attr("@_noLocks")))

#include "shims_atomic.h"
#include "shims_epoll.h"
#include "shims_intrusive.h"
#include "shims_library.h"
#include "shims_local.h"
#include "shims_machine.h"
#include "shims_port.h"
#include "shims_process.h"
#include "shims_ring.h"
#include "shims_run_watch.h"
#include "shims_schedule.h"
#include "shims_simd.h"
#include "shims_socket.h"
#include "shims_operation.h"
#include "shims_ring_port.h"
#include "shims_thread.h"
#include "shims_watch.h"

#endif
