/* SPDX-License-Identifier: MIT
 *
 * See pressure_watch.h.
 */
#include "com/pressure_watch.h"

#define REPEAT_MS 8200 /* from the return of one Low to the next; the CLR ignores less than 8,192 */
#define STANDS_MS 1000
#define LOOK_MS 100

void pressure_watch_open(struct pressure_watch *watch, struct pressure *pressure)
{
    *watch = (struct pressure_watch){
        .pressure = pressure,
        .system_low = CreateMemoryResourceNotification(LowMemoryResourceNotification),
        .system_high = CreateMemoryResourceNotification(HighMemoryResourceNotification),
    };
}

void pressure_watch_close(struct pressure_watch *watch)
{
    if (watch->system_low != NULL) {
        CloseHandle(watch->system_low);
    }
    if (watch->system_high != NULL) {
        CloseHandle(watch->system_high);
    }
}

void pressure_watch_start_over(struct pressure_watch *watch)
{
    watch->low = false;
    watch->standing = false;
    watch->over = false;
    watch->low_until = 0;
}

static bool is_signalled(HANDLE notification)
{
    return notification != NULL && WaitForSingleObject(notification, 0) == WAIT_OBJECT_0;
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

static bool is_low(struct pressure_watch *watch)
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
static EMemoryAvailable after_low(const struct pressure_watch *watch)
{
    const struct pressure *pressure = watch->pressure;
    bool plenty =
        is_signalled(watch->system_high) ||
        atomic_load_explicit(&pressure->host, memory_order_relaxed) == eMemoryAvailableHigh;
    return plenty && budget_in_use(pressure->budget) < ceiling_of(pressure) / 2
               ? eMemoryAvailableHigh
               : eMemoryAvailableNeutral;
}

int pressure_watch_look(struct pressure_watch *watch)
{
    struct pressure *pressure = watch->pressure;
    bool resend = atomic_exchange_explicit(&pressure->resend, false, memory_order_relaxed);
    watch->low = is_low(watch);
    if (watch->low) {
        bool due = !watch->standing || resend || GetTickCount64() - watch->told >= REPEAT_MS;
        return due ? eMemoryAvailableLow : 0;
    }
    int message = watch->standing ? (int)after_low(watch) : 0;
    /* Sequentially consistent, so that the check below sees a charge that has not seen the mark. */
    atomic_store(&pressure->mark, part_of(ceiling_of(pressure), 10));
    pressure_check(pressure);
    return message;
}

void pressure_watch_told(struct pressure_watch *watch, EMemoryAvailable message)
{
    watch->standing = message == eMemoryAvailableLow;
    if (watch->standing) {
        watch->told = GetTickCount64();
        watch->low_until = watch->told + STANDS_MS;
    }
}

void pressure_watch_wait(const struct pressure_watch *watch, bool active, DWORD most)
{
    const HANDLE handles[] = {watch->pressure->changed, watch->pressure->crossed,
                              watch->system_low};
    DWORD all = watch->system_low != NULL ? 3 : 2;
    bool low = active && watch->low;
    WaitForMultipleObjects(active && !low ? all : 1, handles, FALSE, low ? LOOK_MS : most);
}

/* ---- news, from any thread ---- */

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

void pressure_look(struct pressure *pressure)
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
