/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryEvents: whom the manager tells of refusals, pressure and what it finds wrong (events.h).
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryEvents, host_memory_events)

void host_memory_events_post(struct host_memory_manager *manager, HOSTMEM_EVENT event)
{
    const struct budget *budget = &manager->budget;
    size_t limit = atomic_load_explicit(&budget->commit_limit, memory_order_relaxed);
    event.ChargedBytes = budget_in_use(budget);
    event.CommitLimit = limit == BUDGET_UNLIMITED ? 0 : limit;
    events_post(manager->events, &event);
}

/* Two threads: one finds out what there is to tell, the other tells it. */
static HRESULT advise(struct host_memory_manager *manager, IHostMemoryEventSink *sink,
                      DWORD *cookie)
{
    module_pin(); /* they may outlive the manager */
    if (!pressure_watch_for_events(manager->pressure)) {
        return E_OUTOFMEMORY;
    }
    HRESULT hr = events_advise(manager->events, sink, cookie);
    pressure_look(manager->pressure);
    return hr;
}

static HRESULT STDMETHODCALLTYPE host_memory_events_Advise(IHostMemoryEvents *iface,
                                                           IHostMemoryEventSink *sink,
                                                           DWORD *cookie)
{
    if (cookie == NULL) {
        return E_POINTER;
    }
    *cookie = 0;
    if (sink == NULL) {
        return E_POINTER;
    }
    DWORD last_error = GetLastError();
    HRESULT hr = advise(impl_from_IHostMemoryEvents(iface), sink, cookie);
    SetLastError(hr == E_OUTOFMEMORY ? ERROR_NOT_ENOUGH_MEMORY : last_error);
    return hr;
}

static HRESULT STDMETHODCALLTYPE host_memory_events_Unadvise(IHostMemoryEvents *iface, DWORD cookie)
{
    return events_unadvise(impl_from_IHostMemoryEvents(iface)->events, cookie);
}

const IHostMemoryEventsVtbl host_memory_events_vtbl = {
    MANAGER_IUNKNOWN(host_memory_events),
    .Advise = host_memory_events_Advise,
    .Unadvise = host_memory_events_Unadvise,
};

_Static_assert(sizeof(IHostMemoryEventsVtbl) == 5 * sizeof(void *), "a slot is missing");
