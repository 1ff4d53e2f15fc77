/* SPDX-License-Identifier: MIT
 *
 * What a manager tells its host (IHostMemoryEvents): who is told, and what there is to tell.
 *
 * A thread of its own calls the sinks, from the first Advise on. It is not the one of pressure.c: a
 * sink may take its time, or never return, and the runtime still has to hear that memory is low. Nobody
 * waits for the thread, neither Unadvise nor the manager's end nor that of the process.
 *
 * Nothing is queued. What happens is added to one record of its kind, until the thread takes it:
 *
 *     events_post      any thread, also in a memory method that has just refused: some stores, and one
 *     (no lock)        locked addition; SetEvent only if the record was empty
 *     the thread       takes each record, empties it, and calls sink after sink with no lock held
 *
 * so a million refusals while a sink is busy are one event. The fields of a record are written one by
 * one, as those of struct last_refusal: of two requests refused at one moment, some of each. How many
 * there were and by what is one word, and exact.
 *
 * The structure has two owners, the manager and the thread. A sink that is taken away while it is being
 * called is released by the thread when the call has returned.
 */
#ifndef HOSTMEM_COM_EVENTS_H
#define HOSTMEM_COM_EVENTS_H

#include <hostmem/hostmem.h>

#include <stdatomic.h>
#include <stdbool.h>

#include "os/os_lock.h"

#define EVENTS_SINKS 16
#define EVENTS_KINDS HOSTMEM_EVENT_BROKEN

/* What has happened of one kind and was not told yet. */
struct untold {
    _Atomic UINT64 tally; /* count * 8, and the bits of RefusedBy; 0: nothing */
    _Atomic UINT64 bytes;
    _Atomic UINT64 charged;
    _Atomic UINT64 limit;
    _Atomic UINT32 level;
    _Atomic UINT32 error;
    _Atomic UINT32 available;
    _Atomic(const char *) reason;
};

struct events {
    LONG refs;            /* the manager's and the thread's; Interlocked only */
    HANDLE news;          /* auto reset */
    _Atomic UINT32 count; /* of sinks; written under lock */
    _Atomic bool closed;  /* the manager has gone */
    struct untold untold[EVENTS_KINDS];
    struct os_lock lock;
    /* guarded by lock */
    bool running; /* the thread was started */
    DWORD last_cookie;
    DWORD called;                 /* the cookie of the sink that is being called, or 0 */
    IHostMemoryEventSink *orphan; /* owned: that sink, when it was taken away meanwhile */
    struct {
        IHostMemoryEventSink *sink; /* owned, or NULL */
        DWORD cookie; /* the number of the Advise call: none comes twice in 4 billion */
    } sinks[EVENTS_SINKS];
};

/* NULL: no memory or no handle. LastError is kept on success. */
struct events *events_create(void);

/* Let go of all sinks. NULL is ignored. Also from inside a sink. */
void events_destroy(struct events *events);

/* IHostMemoryEvents::Advise and Unadvise; no pointer is NULL. The module must be pinned: the thread may
 * outlive the manager. E_OUTOFMEMORY: no thread. */
HRESULT events_advise(struct events *events, IHostMemoryEventSink *sink, DWORD *cookie);
HRESULT events_unadvise(struct events *events, DWORD cookie);

/* Whether anybody is told. */
static inline bool events_wanted(const struct events *events)
{
    return atomic_load_explicit(&events->count, memory_order_relaxed) != 0;
}

/* Tell all sinks soon, or add it to what is about to be told. Nothing if there are none. On any thread;
 * returns at once and keeps LastError. Size is ignored. */
void events_post(struct events *events, const HOSTMEM_EVENT *event);

#endif
