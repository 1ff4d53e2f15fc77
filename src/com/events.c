/* SPDX-License-Identifier: MIT
 *
 * See events.h.
 */
#include "com/events.h"

#include <olectl.h>
#include <stdlib.h>

/* ---- what there is to tell ---- */

_Static_assert(HOSTMEM_REFUSED_BY_SYSTEM * 2 == 8, "the bits of RefusedBy need more of the tally");

void events_post(struct events *events, const HOSTMEM_EVENT *event)
{
    struct untold *untold = &events->untold[event->Kind - 1];
    if (!events_wanted(events)) {
        return;
    }
    if (event->Kind == HOSTMEM_EVENT_FREED_BEHIND) {
        atomic_fetch_add_explicit(&untold->bytes, event->Bytes, memory_order_relaxed);
    } else {
        atomic_store_explicit(&untold->bytes, event->Bytes, memory_order_relaxed);
    }
    atomic_store_explicit(&untold->charged, event->ChargedBytes, memory_order_relaxed);
    atomic_store_explicit(&untold->limit, event->CommitLimit, memory_order_relaxed);
    atomic_store_explicit(&untold->level, event->Level, memory_order_relaxed);
    atomic_store_explicit(&untold->error, event->Error, memory_order_relaxed);
    atomic_store_explicit(&untold->available, event->Available, memory_order_relaxed);
    atomic_store_explicit(&untold->reason, event->Reason, memory_order_relaxed);
    UINT64 tally = atomic_load_explicit(&untold->tally, memory_order_relaxed);
    /* Release: pairs with the acquire in take(), which reads the fields after it. */
    while (!atomic_compare_exchange_weak_explicit(&untold->tally, &tally,
                                                  (tally + event->Count * 8) | event->RefusedBy,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    if (tally == 0) {
        SetEvent(events->news);
    }
}

/* Empty the record of a kind. False: it was. */
static bool take(struct events *events, UINT32 kind, HOSTMEM_EVENT *event)
{
    struct untold *untold = &events->untold[kind - 1];
    UINT64 tally = atomic_exchange_explicit(&untold->tally, 0, memory_order_acquire);
    if (tally == 0) {
        return false;
    }
    *event = (HOSTMEM_EVENT){
        .Size = sizeof(*event),
        .Kind = kind,
        .Count = tally / 8,
        .Bytes = kind == HOSTMEM_EVENT_FREED_BEHIND
                     ? atomic_exchange_explicit(&untold->bytes, 0, memory_order_relaxed)
                     : atomic_load_explicit(&untold->bytes, memory_order_relaxed),
        .Level = atomic_load_explicit(&untold->level, memory_order_relaxed),
        .Error = atomic_load_explicit(&untold->error, memory_order_relaxed),
        .RefusedBy = tally % 8,
        .Available = atomic_load_explicit(&untold->available, memory_order_relaxed),
        .ChargedBytes = atomic_load_explicit(&untold->charged, memory_order_relaxed),
        .CommitLimit = atomic_load_explicit(&untold->limit, memory_order_relaxed),
        .Reason = atomic_load_explicit(&untold->reason, memory_order_relaxed),
    };
    return true;
}

/* ---- the thread ---- */

static void release(struct events *events)
{
    if (InterlockedDecrement(&events->refs) == 0) {
        if (events->news != NULL) {
            CloseHandle(events->news);
        }
        free(events);
    }
}

/* The i-th sink, which stays until end_call; NULL: none, or one that came after `newest`. */
static IHostMemoryEventSink *begin_call(struct events *events, size_t i, DWORD newest)
{
    os_lock_acquire(&events->lock);
    IHostMemoryEventSink *sink = events->sinks[i].sink;
    if (sink != NULL && (LONG)(events->sinks[i].cookie - newest) > 0) {
        sink = NULL;
    }
    events->called = sink != NULL ? events->sinks[i].cookie : 0;
    os_lock_release(&events->lock);
    return sink;
}

static void end_call(struct events *events)
{
    os_lock_acquire(&events->lock);
    IHostMemoryEventSink *orphan = events->orphan;
    events->orphan = NULL;
    events->called = 0;
    os_lock_release(&events->lock);
    if (orphan != NULL) {
        IHostMemoryEventSink_Release(orphan);
    }
}

static void tell(struct events *events, const HOSTMEM_EVENT *event, DWORD newest)
{
    for (size_t i = 0; i < EVENTS_SINKS; i++) {
        IHostMemoryEventSink *sink = begin_call(events, i, newest);
        if (sink != NULL) {
            IHostMemoryEventSink_OnMemoryEvent(sink, event);
            end_call(events);
        }
    }
}

static DWORD newest_cookie(struct events *events)
{
    os_lock_acquire(&events->lock);
    DWORD newest = events->last_cookie;
    os_lock_release(&events->lock);
    return newest;
}

static DWORD WINAPI run(void *argument)
{
    struct events *events = argument;
    HOSTMEM_EVENT event;
    do {
        for (UINT32 kind = 1; kind <= EVENTS_KINDS; kind++) {
            DWORD newest = newest_cookie(events); /* who comes later is not told of it */
            if (take(events, kind, &event)) {
                tell(events, &event, newest);
            }
        }
        WaitForSingleObject(events->news, INFINITE);
    } while (!atomic_load_explicit(&events->closed, memory_order_acquire));
    release(events);
    return 0;
}

static bool start_thread_locked(struct events *events)
{
    if (!events->running) {
        InterlockedIncrement(&events->refs);
        HANDLE thread = CreateThread(NULL, 0, run, events, 0, NULL);
        events->running = thread != NULL;
        if (thread != NULL) {
            CloseHandle(thread);
        } else {
            InterlockedDecrement(&events->refs);
        }
    }
    return events->running;
}

/* ---- sinks ---- */

static HRESULT add_locked(struct events *events, IHostMemoryEventSink *sink, DWORD *cookie)
{
    size_t i = 0;
    while (i < EVENTS_SINKS && events->sinks[i].sink != NULL) {
        i++;
    }
    if (i == EVENTS_SINKS) {
        return CONNECT_E_ADVISELIMIT;
    }
    if (!start_thread_locked(events)) {
        return E_OUTOFMEMORY;
    }
    if (!events_wanted(events)) {
        /* What was left when the last one went is nobody's business. */
        for (size_t kind = 0; kind < EVENTS_KINDS; kind++) {
            atomic_store_explicit(&events->untold[kind].tally, 0, memory_order_relaxed);
            atomic_store_explicit(&events->untold[kind].bytes, 0, memory_order_relaxed);
        }
    }
    events->last_cookie += events->last_cookie == MAXDWORD ? 2 : 1; /* never 0 */
    events->sinks[i].sink = sink;
    events->sinks[i].cookie = *cookie = events->last_cookie;
    atomic_fetch_add_explicit(&events->count, 1, memory_order_relaxed);
    return S_OK;
}

HRESULT events_advise(struct events *events, IHostMemoryEventSink *sink, DWORD *cookie)
{
    IHostMemoryEventSink_AddRef(sink);
    os_lock_acquire(&events->lock);
    HRESULT hr = add_locked(events, sink, cookie);
    os_lock_release(&events->lock);
    if (hr != S_OK) {
        IHostMemoryEventSink_Release(sink);
    }
    return hr;
}

/* Take the i-th sink away. What the caller has to release, or NULL: the thread will. */
static IHostMemoryEventSink *remove_locked(struct events *events, size_t i)
{
    IHostMemoryEventSink *sink = events->sinks[i].sink;
    events->sinks[i].sink = NULL;
    atomic_fetch_sub_explicit(&events->count, 1, memory_order_relaxed);
    if (events->sinks[i].cookie == events->called) {
        events->orphan = sink;
        sink = NULL;
    }
    return sink;
}

HRESULT events_unadvise(struct events *events, DWORD cookie)
{
    IHostMemoryEventSink *sink = NULL;
    HRESULT hr = CONNECT_E_NOCONNECTION;
    os_lock_acquire(&events->lock);
    for (size_t i = 0; i < EVENTS_SINKS && hr != S_OK; i++) {
        if (events->sinks[i].sink != NULL && events->sinks[i].cookie == cookie) {
            sink = remove_locked(events, i);
            hr = S_OK;
        }
    }
    os_lock_release(&events->lock);
    if (sink != NULL) {
        IHostMemoryEventSink_Release(sink);
    }
    return hr;
}

/* ---- create and destroy ---- */

struct events *events_create(void)
{
    DWORD last_error = GetLastError(); /* CreateEvent sets it on success as well */
    struct events *events = calloc(1, sizeof(*events));
    if (events == NULL) {
        return NULL;
    }
    events->refs = 1;
    events->news = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (events->news == NULL) {
        release(events);
        return NULL;
    }
    SetLastError(last_error);
    return events;
}

void events_destroy(struct events *events)
{
    if (events == NULL) {
        return;
    }
    for (size_t i = 0; i < EVENTS_SINKS; i++) {
        os_lock_acquire(&events->lock);
        IHostMemoryEventSink *sink =
            events->sinks[i].sink != NULL ? remove_locked(events, i) : NULL;
        os_lock_release(&events->lock);
        if (sink != NULL) {
            IHostMemoryEventSink_Release(sink);
        }
    }
    /* Release: pairs with the acquire of the thread, which frees all of it after that. */
    atomic_store_explicit(&events->closed, true, memory_order_release);
    SetEvent(events->news);
    release(events);
}
