/* SPDX-License-Identifier: MIT
 *
 * Tells the runtime when memory is low, and when it no longer is, through the callback it registered,
 * and the host through events, whether there is a callback or not. pressure_watch.h says when that is.
 * A Low also makes the heaps give back what no block needs.
 *
 * A thread of our own makes the calls, from the first registration or event sink on until the manager
 * goes. What the memory methods do is a comparison, and one SetEvent when the mark is crossed or a
 * request was refused: they may do so under any lock of the caller. Memory that others have freed they
 * only count: while there are sinks the thread looks once a second whether the count has grown, so
 * that no method has to.
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

struct host_memory_manager;

/* Memory that others have freed. */
struct freed_behind {
    UINT64 regions; /* of heaps too */
    UINT64 bytes;   /* of address space */
};

struct pressure {
    struct host_memory_manager *manager; /* gone once `closed`, and so is its budget */
    const struct budget *budget;
    LONG refs; /* the manager's and the thread's; Interlocked only */

    _Atomic size_t mark;  /* charged bytes that wake the thread; SIZE_MAX: it looks by itself */
    _Atomic bool low_due; /* a refusal, or a Low of the host's: to be told even if it is over */
    _Atomic bool resend;  /* the runtime has started: what it was told before is lost */
    _Atomic int host;     /* the host's EMemoryAvailable */
    _Atomic UINT64 sent[eMemoryAvailableHigh + 1]; /* messages, by EMemoryAvailable */

    HANDLE crossed; /* auto reset, for a sleeping thread: the mark, a refusal */
    HANDLE changed; /* auto reset, for the thread at any time: all other news */
    HANDLE idle;    /* manual reset: the thread neither calls the callback nor uses the manager */

    struct os_lock lock;
    /* guarded by lock */
    HANDLE thread; /* NULL until somebody is to be told */
    DWORD thread_id;
    ICLRMemoryNotificationCallback *callback; /* owned, or NULL */
    bool looking;                             /* the thread uses the manager, and may call: */
    ICLRMemoryNotificationCallback *calling;  /* this, or NULL */
    ICLRMemoryNotificationCallback *orphan;   /* owned: replaced by its own call, to be released */
    UINT32 registration;                      /* counts those who were told nothing yet */
    struct freed_behind behind;               /* found up to the last event */
    bool closed;                              /* for good */
};

/* The manager must stay until pressure_destroy. NULL: no memory or no handle.
 * LastError is kept on success. */
struct pressure *pressure_create(struct host_memory_manager *manager);

/* NULL is ignored. Also from inside the callback. No call of it is under way afterwards, but perhaps the caller's. */
void pressure_destroy(struct pressure *pressure);

/* Tell `callback` from now on, or nobody for NULL. Holds a reference on it until it is replaced; what
 * it replaces gets no call any more and is released, both with no lock held. The module must be
 * pinned: the thread may outlive the manager by a moment. LastError is kept on success.
 * S_OK · E_OUTOFMEMORY: no thread, and nothing has changed · HOST_E_CLRNOTAVAILABLE: shut down */
HRESULT pressure_set_callback(struct pressure *pressure, ICLRMemoryNotificationCallback *callback);

/* Look as if there was a callback from now on, as long as there are event sinks: before the first is
 * added. The module must be pinned. False: no thread. */
bool pressure_watch_for_events(struct pressure *pressure);

/* Send nothing any more, no event either, and let go of the callback. */
void pressure_shutdown(struct pressure *pressure);

/* ---- news (pressure_watch.c); each returns at once, on any thread, and keeps LastError ---- */

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

/* After budget_set_limits, and when a sink has come. */
void pressure_look(struct pressure *pressure);

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
