/*
 * The intrusive nodes of the runtime. They are C structs because a C function pointer in Swift cannot take a pointer to
 * a Swift struct; Swift knows them as Packet, Timer, EventSource and PassNode.
 */
#ifndef CMEWS_SHIMS_INTRUSIVE_H
#define CMEWS_SHIMS_INTRUSIVE_H

#include <stdint.h>

#include "shims_ring.h"

/* A completion packet: what a completion port or a mailbox queues. */
struct shim_packet {
    struct shim_packet *_Nullable next;   /* the queue's, while the packet is queued */
    uintptr_t key;
    uintptr_t bytes;
    void *_Nullable operation;
    int32_t status;
    uint16_t isPooled;                   /* the port's: memory comes from its free list */
    uint16_t isUncounted;                /* its receiver is not one of the active threads */
    void (*_Nullable action)(struct shim_packet *_Nonnull packet);
};

/* A timer of a timer wheel. */
struct shim_timer {
    struct shim_timer *_Nullable next;    /* the wheel's, while the timer runs */
    struct shim_timer *_Nullable previous;
    uint64_t deadline;                    /* milliseconds on the wheel's clock */
    uint32_t list;                        /* the wheel's: 1 + the index of its list; 0 while the timer does not run */
    void (*_Nullable action)(struct shim_timer *_Nonnull timer);
    void *_Nullable context;
};

/* Somebody who hears of a descriptor's readiness. */
struct shim_event_source {
    int32_t descriptor;                   /* negative while nobody listens */
    uint32_t interest;                    /* the events to hear of, as bits of epoll */
    void (*_Nullable onEvents)(struct shim_event_source *_Nonnull source, uint32_t events);
    struct shim_ring_operation poll;      /* what tells of them, on an I/O thread with a ring */
    void *_Nullable proactor;             /* which it is armed on */
};

/* Work that an I/O thread does at a set point of its pass. */
struct shim_pass_node {
    struct shim_pass_node *_Nullable next;
    void (*_Nullable action)(struct shim_pass_node *_Nonnull node);
    uint32_t isQueued;
};

#endif
