/* SPDX-License-Identifier: MIT
 *
 * See pressure.h. The structure has two owners, the manager and the thread, because neither waits for
 * the other's end. What belongs to the manager, the budget and the callback, the thread touches only
 * between begin() and end(); whoever takes it away waits for `idle` if the thread is in there.
 */
#include "com/pressure.h"

#include "com/com_private.h"
#include "com/pressure_watch.h"

#include <stdlib.h>

#define STACK_BYTES (256 * 1024) /* of address space; the default is 1 MiB */
#define BEHIND_MS 1000           /* from one look at what others have freed to the next */

/* ---- the thread ---- */

/* One look, and who wants to know. */
struct round {
    ICLRMemoryNotificationCallback *callback; /* or NULL */
    bool events;                              /* there are sinks */
    UINT32 registration;                      /* for whom the watch has begun */
    struct freed_behind behind;               /* found since the last round */
};

static bool is_active(const struct round *round)
{
    return round->callback != NULL || round->events;
}

/* What others have freed since it was last asked. */
static struct freed_behind take_freed_behind_locked(struct pressure *pressure)
{
    struct freed_behind now = freed_behind_of(pressure->manager);
    struct freed_behind since = {.regions = now.regions - pressure->behind.regions,
                                 .bytes = now.bytes - pressure->behind.bytes};
    pressure->behind = now;
    return since;
}

static void release(struct pressure *pressure)
{
    if (InterlockedDecrement(&pressure->refs) > 0) {
        return;
    }
    const HANDLE handles[] = {pressure->crossed, pressure->changed, pressure->idle,
                              pressure->thread};
    for (size_t i = 0; i < ARRAYSIZE(handles); i++) {
        if (handles[i] != NULL) {
            CloseHandle(handles[i]);
        }
    }
    free(pressure);
}

/* Start a round. False: it is over for good. */
static bool begin(struct pressure *pressure, struct pressure_watch *watch, struct round *round)
{
    os_lock_acquire(&pressure->lock);
    bool closed = pressure->closed;
    round->callback = closed ? NULL : pressure->callback;
    round->events = !closed && events_wanted(pressure->manager->events);
    if (round->registration != pressure->registration) {
        round->registration = pressure->registration;
        pressure_watch_start_over(watch);
    }
    round->behind = round->events ? take_freed_behind_locked(pressure) : (struct freed_behind){0};
    if (is_active(round)) {
        pressure->looking = true;
        pressure->calling = round->callback;
        ResetEvent(pressure->idle);
    }
    os_lock_release(&pressure->lock);
    return !closed;
}

static void end(struct pressure *pressure)
{
    os_lock_acquire(&pressure->lock);
    ICLRMemoryNotificationCallback *orphan = pressure->orphan;
    pressure->orphan = NULL;
    pressure->calling = NULL;
    pressure->looking = false;
    SetEvent(pressure->idle);
    os_lock_release(&pressure->lock);
    if (orphan != NULL) {
        ICLRMemoryNotificationCallback_Release(orphan);
    }
}

static void post_freed_behind(struct host_memory_manager *manager, const struct freed_behind *found)
{
    if (found->regions != 0) {
        host_memory_events_post(manager, (HOSTMEM_EVENT){.Kind = HOSTMEM_EVENT_FREED_BEHIND,
                                                         .Count = found->regions,
                                                         .Bytes = found->bytes});
    }
}

/* Tell everybody. The manager is there until the callback is called, which may release it. */
static void tell(struct pressure *pressure, ICLRMemoryNotificationCallback *callback,
                 EMemoryAvailable message)
{
    struct host_memory_manager *manager = pressure->manager;
    host_memory_events_post(
        manager, (HOSTMEM_EVENT){.Kind = HOSTMEM_EVENT_PRESSURE, .Count = 1, .Available = message});
    if (message == eMemoryAvailableLow && heaps_trim(&manager->heaps) != 0) {
        request_room_was_made(manager);
    }
    if (callback != NULL) {
        atomic_fetch_add_explicit(&pressure->sent[message], 1, memory_order_relaxed);
        ICLRMemoryNotificationCallback_OnMemoryNotification(callback, message);
    }
}

static DWORD WINAPI run(void *argument)
{
    struct pressure *pressure = argument;
    struct pressure_watch watch;
    struct round round = {0};
    pressure_watch_open(&watch, pressure);
    while (begin(pressure, &watch, &round)) {
        if (is_active(&round)) {
            EMemoryAvailable message = (EMemoryAvailable)pressure_watch_look(&watch);
            post_freed_behind(pressure->manager, &round.behind);
            if (message != 0) {
                tell(pressure, round.callback, message);
                pressure_watch_told(&watch, message);
            }
            end(pressure);
        }
        pressure_watch_wait(&watch, is_active(&round), round.events ? BEHIND_MS : INFINITE);
    }
    pressure_watch_close(&watch);
    release(pressure);
    return 0;
}

/* ---- create and destroy ---- */

struct pressure *pressure_create(struct host_memory_manager *manager)
{
    DWORD last_error = GetLastError(); /* CreateEvent sets it on success as well */
    struct pressure *pressure = calloc(1, sizeof(*pressure));
    if (pressure == NULL) {
        return NULL;
    }
    pressure->manager = manager;
    pressure->budget = &manager->budget;
    pressure->refs = 1;
    pressure->mark = SIZE_MAX;
    pressure->host = eMemoryAvailableNeutral;
    pressure->crossed = CreateEventW(NULL, FALSE, FALSE, NULL);
    pressure->changed = CreateEventW(NULL, FALSE, FALSE, NULL);
    pressure->idle = CreateEventW(NULL, TRUE, TRUE, NULL);
    if (pressure->crossed == NULL || pressure->changed == NULL || pressure->idle == NULL) {
        release(pressure);
        return NULL;
    }
    SetLastError(last_error);
    return pressure;
}

static bool start_thread_locked(struct pressure *pressure)
{
    if (pressure->thread == NULL) {
        InterlockedIncrement(&pressure->refs);
        pressure->thread = CreateThread(NULL, STACK_BYTES, run, pressure,
                                        STACK_SIZE_PARAM_IS_A_RESERVATION, &pressure->thread_id);
        if (pressure->thread == NULL) {
            InterlockedDecrement(&pressure->refs);
        }
    }
    return pressure->thread != NULL;
}

/* ---- registration ---- */

static bool is_own_thread(const struct pressure *pressure)
{
    return pressure->thread_id == GetCurrentThreadId();
}

/* From now on for somebody who was told nothing yet. */
static void start_over_locked(struct pressure *pressure)
{
    pressure->registration++;
    atomic_store_explicit(&pressure->low_due, false, memory_order_relaxed);
}

/* Put `callback` in place of the one there is. *previous is what the caller has to release. */
static HRESULT replace_locked(struct pressure *pressure, ICLRMemoryNotificationCallback *callback,
                              ICLRMemoryNotificationCallback **previous)
{
    *previous = callback; /* when it is refused */
    if (callback != NULL && pressure->closed) {
        return HOST_E_CLRNOTAVAILABLE;
    }
    if (callback != NULL && !start_thread_locked(pressure)) {
        return E_OUTOFMEMORY;
    }
    *previous = pressure->callback;
    pressure->callback = callback;
    start_over_locked(pressure);
    if (is_own_thread(pressure) && *previous == pressure->calling && pressure->orphan == NULL) {
        pressure->orphan = *previous; /* it is being called: the thread needs it a little longer */
        *previous = NULL;
    }
    return S_OK;
}

/* The same from any thread, and let go of the previous one. */
static HRESULT replace(struct pressure *pressure, ICLRMemoryNotificationCallback *callback,
                       bool close)
{
    ICLRMemoryNotificationCallback *previous;
    os_lock_acquire(&pressure->lock);
    HRESULT hr = replace_locked(pressure, callback, &previous);
    bool busy = hr == S_OK && pressure->looking && !is_own_thread(pressure);
    pressure->closed |= close;
    os_lock_release(&pressure->lock);

    SetEvent(pressure->changed);
    if (busy) {
        const HANDLE handles[] = {pressure->idle, pressure->thread};
        WaitForMultipleObjects(ARRAYSIZE(handles), handles, FALSE, INFINITE);
    }
    if (previous != NULL) {
        ICLRMemoryNotificationCallback_Release(previous);
    }
    return hr;
}

HRESULT pressure_set_callback(struct pressure *pressure, ICLRMemoryNotificationCallback *callback)
{
    DWORD last_error = GetLastError();
    if (callback != NULL) {
        ICLRMemoryNotificationCallback_AddRef(callback);
    }
    HRESULT hr = replace(pressure, callback, false);
    SetLastError(hr == E_OUTOFMEMORY ? ERROR_NOT_ENOUGH_MEMORY : last_error);
    return hr;
}

bool pressure_watch_for_events(struct pressure *pressure)
{
    os_lock_acquire(&pressure->lock);
    bool started = pressure->closed || start_thread_locked(pressure);
    if (started && !pressure->closed && !events_wanted(pressure->manager->events)) {
        pressure->behind = freed_behind_of(pressure->manager);
        if (pressure->callback == NULL) {
            start_over_locked(pressure);
        }
    }
    os_lock_release(&pressure->lock);
    return started;
}

void pressure_shutdown(struct pressure *pressure)
{
    replace(pressure, NULL, true);
}

void pressure_destroy(struct pressure *pressure)
{
    if (pressure != NULL) {
        pressure_shutdown(pressure);
        release(pressure);
    }
}
