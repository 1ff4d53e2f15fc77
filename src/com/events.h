/* SPDX-License-Identifier: MIT
 *
 * The sinks that a host has given for a manager's events (IHostMemoryEvents). A handful at most, so
 * they stand in the manager itself, and Advise needs no memory. A cookie is the number of the Advise
 * call, never used twice in 4 billion calls: a late second Unadvise hits nobody else's sink.
 *
 * Nothing of a sink, its Release included, is ever called with the lock held.
 */
#ifndef HOSTMEM_COM_EVENTS_H
#define HOSTMEM_COM_EVENTS_H

#include <hostmem/hostmem.h>

#include "os/os_lock.h"

#define EVENTS_SINKS 16

/* All zero is valid: nobody is told. */
struct events {
    struct os_lock lock;
    /* guarded by lock */
    DWORD last_cookie;
    struct {
        IHostMemoryEventSink *sink; /* owned, or NULL */
        DWORD cookie;
    } sinks[EVENTS_SINKS];
};

/* IHostMemoryEvents::Advise and Unadvise; no pointer is NULL. */
HRESULT events_advise(struct events *events, IHostMemoryEventSink *sink, DWORD *cookie);
HRESULT events_unadvise(struct events *events, DWORD cookie);

/* Let go of all sinks. Nobody else uses `events` any more. */
void events_destroy(struct events *events);

#endif
