/* SPDX-License-Identifier: MIT
 *
 * Tells the runtime when memory is low, and when it no longer is, through the callback it registered.
 * pressure_watch.h says when that is.
 *
 * A thread of our own makes the calls, from the first registration on until the manager goes. What the
 * memory methods do is a comparison, and one SetEvent when the mark is crossed or a request was
 * refused: they may do so under any lock of the caller.
 *
 * Nobody ever waits for the thread to start or to end, which the loader lock could prevent, but only
 * for a call of the callback that is under way; OnMemoryNotification never blocks. At process exit,
 * where Windows has ended the thread already, there is nothing to wait for.
 */
#ifndef HOSTMEM_COM_PRESSURE_H
#define HOSTMEM_COM_PRESSURE_H

#include <hostmem/hostmem.h>

#include <stdatomic.h>
#include <stdbool.h>

#include "core/limits/budget.h"
#include "os/os.h"
#include "os/os_lock.h"

struct pressure {
    const struct budget *budget; /* the manager's: gone once `closed` */
    LONG refs;                   /* the manager's and the thread's; Interlocked only */

    _Atomic size_t mark;  /* charged bytes that wake the thread; SIZE_MAX: it looks by itself */
    _Atomic bool low_due; /* a refusal, or a Low of the host's: to be told even if it is over */
    _Atomic bool resend;  /* the runtime has started: what it was told before is lost */
    _Atomic int host;     /* the host's EMemoryAvailable */
    _Atomic UINT64 sent[eMemoryAvailableHigh + 1]; /* messages, by EMemoryAvailable */

    HANDLE crossed; /* auto reset, for a sleeping thread: the mark, a refusal */
    HANDLE changed; /* auto reset, for the thread at any time: all other news */
    HANDLE idle;    /* manual reset: the thread neither calls the callback nor reads the budget */

    struct os_lock lock;
    /* guarded by lock */
    HANDLE thread; /* NULL until the first registration */
    DWORD thread_id;
    ICLRMemoryNotificationCallback *callback; /* owned, or NULL */
    ICLRMemoryNotificationCallback *calling;  /* what the thread is busy with, or NULL */
    ICLRMemoryNotificationCallback *orphan;   /* owned: replaced by its own call, to be released */
    UINT32 registration;                      /* counts them */
    bool closed;                              /* for good */
};

/* `budget` must stay until pressure_destroy. NULL: no memory or no handle.
 * LastError is kept on success. */
struct pressure *pressure_create(const struct budget *budget);

/* NULL is ignored. Also from inside the callback. No call of it is under way afterwards, but perhaps the caller's. */
void pressure_destroy(struct pressure *pressure);

/* Tell `callback` from now on, or nobody for NULL. Holds a reference on it until it is replaced; what
 * it replaces gets no call any more and is released, both with no lock held. The module must be
 * pinned: the thread may outlive the manager by a moment. LastError is kept on success.
 * S_OK · E_OUTOFMEMORY: no thread, and nothing has changed · HOST_E_CLRNOTAVAILABLE: shut down */
HRESULT pressure_set_callback(struct pressure *pressure, ICLRMemoryNotificationCallback *callback);

/* Send nothing any more and let go of the callback. */
void pressure_shutdown(struct pressure *pressure);

/* ---- news; each returns at once, on any thread, and keeps LastError ---- */

void pressure_crossed(struct pressure *pressure);

/* After every charge that was granted. */
static inline void pressure_check(struct pressure *pressure)
{
    /* Relaxed, and no order between charge and mark: where the processor does not make one, as x86
     * does, a crossing that is missed while the mark is being set is seen by the next request. */
    size_t mark = atomic_load_explicit(&pressure->mark, memory_order_relaxed);
    /* In this order: what is in use is never more than what is charged, and takes longer to find. */
    if (usage_current(&pressure->budget->commit.used) >= mark &&
        budget_in_use(pressure->budget) >= mark) {
        pressure_crossed(pressure);
    }
}

/* After every charge that was refused. */
void pressure_refused(struct pressure *pressure);

/* After budget_set_limits. */
void pressure_limits_changed(struct pressure *pressure);

/* IHostMemoryPressure::NotifyMemory and IHostRuntimeLifetime::RuntimeStarted. */
void pressure_notify(struct pressure *pressure, EMemoryAvailable available);
void pressure_runtime_started(struct pressure *pressure);

/* ---- */

/* How often `available` was sent. */
static inline UINT64 pressure_sent(const struct pressure *pressure, EMemoryAvailable available)
{
    return atomic_load_explicit(&pressure->sent[available], memory_order_relaxed);
}

#endif
