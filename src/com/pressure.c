/* SPDX-License-Identifier: MIT
 *
 * See pressure.h. The news are levels and flags, never a queue: the thread looks at all of them
 * whenever something wakes it, so a wake-up too many does no harm and two may fall together.
 *
 * The structure has two owners, the manager and the thread, because neither waits for the other's
 * end. What belongs to the manager, the budget and the callback, the thread touches only between
 * begin() and end(); whoever takes it away waits for `idle` if the thread is in there.
 */
#include "com/pressure.h"

#include "com/com_private.h"

#include <stdlib.h>

#define REPEAT_MS 8200 /* from the return of one Low to the next; the CLR ignores less than 8,192 */
#define STANDS_MS 1000
#define LOOK_MS 100
#define STACK_BYTES (256 * 1024) /* of address space; the default is 1 MiB */

/* ---- the thread ---- */

/* What the thread knows. */
struct watch {
    struct pressure *pressure;
    HANDLE system_low; /* NULL where the system has no such notification */
    HANDLE system_high;
    ICLRMemoryNotificationCallback *callback; /* of this round */
    UINT32 registration;                      /* whose callback that is */
    bool standing;                            /* it was told Low, and nothing since */
    bool over;                                /* the mark, not yet below the second one */
    ULONGLONG told;                           /* when the last Low returned */
    ULONGLONG low_until;                      /* at least */
};

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

static bool is_signalled(HANDLE notification)
{
    return notification != NULL && WaitForSingleObject(notification, 0) == WAIT_OBJECT_0;
}

/* Start a round: whose turn it is. False: it is over for good. */
static bool begin(struct watch *watch)
{
    struct pressure *pressure = watch->pressure;
    os_lock_acquire(&pressure->lock);
    bool closed = pressure->closed;
    watch->callback = closed ? NULL : pressure->callback;
    if (watch->registration != pressure->registration) {
        /* This one was not told yet, and what is over is not its business. */
        watch->registration = pressure->registration;
        watch->standing = false;
        watch->over = false;
        watch->low_until = 0;
    }
    if (watch->callback != NULL) {
        pressure->calling = watch->callback;
        ResetEvent(pressure->idle);
    }
    os_lock_release(&pressure->lock);
    return !closed;
}

static void end(struct watch *watch)
{
    struct pressure *pressure = watch->pressure;
    os_lock_acquire(&pressure->lock);
    ICLRMemoryNotificationCallback *orphan = pressure->orphan;
    pressure->orphan = NULL;
    pressure->calling = NULL;
    SetEvent(pressure->idle);
    os_lock_release(&pressure->lock);
    if (orphan != NULL) {
        ICLRMemoryNotificationCallback_Release(orphan);
    }
}

/* What a task-critical request may reach. */
static size_t ceiling_of(const struct pressure *pressure)
{
    return atomic_load_explicit(&pressure->budget->commit.ceiling[BUDGET_TASK],
                                memory_order_relaxed);
}

/* All but one `divisor`-th of it; nothing charged is never too much. */
static size_t part_of(size_t ceiling, size_t divisor)
{
    size_t part = ceiling - ceiling / divisor;
    return ceiling == BUDGET_UNLIMITED ? SIZE_MAX : part > 0 ? part : 1;
}

static bool is_low(struct watch *watch)
{
    struct pressure *pressure = watch->pressure;
    size_t ceiling = ceiling_of(pressure);
    ULONGLONG now = GetTickCount64();
    watch->over = budget_in_use(pressure->budget) >= part_of(ceiling, watch->over ? 5 : 10);
    if (atomic_exchange_explicit(&pressure->low_due, false, memory_order_relaxed)) {
        watch->low_until = now + STANDS_MS;
    }
    return watch->over || now < watch->low_until || is_signalled(watch->system_low) ||
           atomic_load_explicit(&pressure->host, memory_order_relaxed) == eMemoryAvailableLow;
}

/* What ends a Low. */
static EMemoryAvailable after_low(const struct watch *watch)
{
    const struct pressure *pressure = watch->pressure;
    bool plenty =
        is_signalled(watch->system_high) ||
        atomic_load_explicit(&pressure->host, memory_order_relaxed) == eMemoryAvailableHigh;
    return plenty && budget_in_use(pressure->budget) < ceiling_of(pressure) / 2
               ? eMemoryAvailableHigh
               : eMemoryAvailableNeutral;
}

/* Look at everything. What is to be sent now, or 0; *low for how to wait for the next round. */
static int decide(struct watch *watch, bool *low)
{
    struct pressure *pressure = watch->pressure;
    *low = is_low(watch);
    bool resend = atomic_exchange_explicit(&pressure->resend, false, memory_order_relaxed);
    if (*low) {
        bool due = !watch->standing || resend || GetTickCount64() - watch->told >= REPEAT_MS;
        return due ? eMemoryAvailableLow : 0;
    }
    int message = watch->standing ? (int)after_low(watch) : 0;
    /* Sequentially consistent, so that the check below sees a charge that has not seen the mark. */
    atomic_store(&pressure->mark, part_of(ceiling_of(pressure), 10));
    pressure_check(pressure);
    return message;
}

static void tell(struct watch *watch, EMemoryAvailable message)
{
    atomic_fetch_add_explicit(&watch->pressure->sent[message], 1, memory_order_relaxed);
    ICLRMemoryNotificationCallback_OnMemoryNotification(watch->callback, message);
    watch->standing = message == eMemoryAvailableLow;
    if (watch->standing) {
        watch->told = GetTickCount64();
        watch->low_until = watch->told + STANDS_MS;
    }
}

static void wait_for_news(const struct watch *watch, bool low)
{
    const HANDLE handles[] = {watch->pressure->changed, watch->pressure->crossed,
                              watch->system_low};
    DWORD all = watch->system_low != NULL ? 3 : 2;
    bool asleep = watch->callback != NULL && !low;
    WaitForMultipleObjects(asleep ? all : 1, handles, FALSE, low ? LOOK_MS : INFINITE);
}

static DWORD WINAPI run(void *argument)
{
    struct watch watch = {
        .pressure = argument,
        .system_low = CreateMemoryResourceNotification(LowMemoryResourceNotification),
        .system_high = CreateMemoryResourceNotification(HighMemoryResourceNotification),
    };
    while (begin(&watch)) {
        bool low = false;
        if (watch.callback != NULL) {
            int message = decide(&watch, &low);
            if (message != 0) {
                tell(&watch, (EMemoryAvailable)message);
            }
            end(&watch);
        }
        wait_for_news(&watch, low);
    }
    if (watch.system_low != NULL) {
        CloseHandle(watch.system_low);
    }
    if (watch.system_high != NULL) {
        CloseHandle(watch.system_high);
    }
    release(watch.pressure);
    return 0;
}

/* ---- create and destroy ---- */

struct pressure *pressure_create(const struct budget *budget)
{
    DWORD last_error = GetLastError(); /* CreateEvent sets it on success as well */
    struct pressure *pressure = calloc(1, sizeof(*pressure));
    if (pressure == NULL) {
        return NULL;
    }
    pressure->budget = budget;
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

/* Put `callback` in place of the one there is, and let go of that. */
static HRESULT exchange(struct pressure *pressure, ICLRMemoryNotificationCallback *callback,
                        bool close)
{
    ICLRMemoryNotificationCallback *previous = callback; /* ours to release when it is refused */
    HRESULT hr = S_OK;
    os_lock_acquire(&pressure->lock);
    if (callback != NULL && pressure->closed) {
        hr = HOST_E_CLRNOTAVAILABLE;
    } else if (callback != NULL && !start_thread_locked(pressure)) {
        hr = E_OUTOFMEMORY;
    } else {
        previous = pressure->callback;
        pressure->callback = callback;
        pressure->registration++;
        pressure->closed |= close;
        atomic_store_explicit(&pressure->low_due, false, memory_order_relaxed);
    }
    bool inside = pressure->thread_id == GetCurrentThreadId();
    bool busy = pressure->calling != NULL && !inside && hr == S_OK;
    if (inside && hr == S_OK && previous == pressure->calling && pressure->orphan == NULL) {
        pressure->orphan = previous; /* it is being called: the thread needs it a little longer */
        previous = NULL;
    }
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
    HRESULT hr = exchange(pressure, callback, false);
    SetLastError(hr == E_OUTOFMEMORY ? ERROR_NOT_ENOUGH_MEMORY : last_error);
    return hr;
}

void pressure_shutdown(struct pressure *pressure)
{
    exchange(pressure, NULL, true);
}

void pressure_destroy(struct pressure *pressure)
{
    if (pressure != NULL) {
        pressure_shutdown(pressure);
        release(pressure);
    }
}

/* ---- news ---- */

void pressure_crossed(struct pressure *pressure)
{
    if (atomic_exchange_explicit(&pressure->mark, SIZE_MAX, memory_order_relaxed) != SIZE_MAX) {
        SetEvent(pressure->crossed);
    }
}

void pressure_refused(struct pressure *pressure)
{
    if (!atomic_exchange_explicit(&pressure->low_due, true, memory_order_relaxed)) {
        SetEvent(pressure->crossed);
    }
}

void pressure_limits_changed(struct pressure *pressure)
{
    SetEvent(pressure->changed);
}

void pressure_notify(struct pressure *pressure, EMemoryAvailable available)
{
    atomic_store_explicit(&pressure->host, available, memory_order_relaxed);
    if (available == eMemoryAvailableLow) {
        atomic_store_explicit(&pressure->low_due, true, memory_order_relaxed);
    }
    SetEvent(pressure->changed);
}

void pressure_runtime_started(struct pressure *pressure)
{
    atomic_store_explicit(&pressure->resend, true, memory_order_relaxed);
    SetEvent(pressure->changed);
}
