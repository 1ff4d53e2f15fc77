/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryEvents: whom the manager tells of refusals, pressure and what it finds wrong (events.h).
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryEvents, host_memory_events)

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
    return events_advise(&impl_from_IHostMemoryEvents(iface)->events, sink, cookie);
}

static HRESULT STDMETHODCALLTYPE host_memory_events_Unadvise(IHostMemoryEvents *iface, DWORD cookie)
{
    return events_unadvise(&impl_from_IHostMemoryEvents(iface)->events, cookie);
}

const IHostMemoryEventsVtbl host_memory_events_vtbl = {
    MANAGER_IUNKNOWN(host_memory_events),
    .Advise = host_memory_events_Advise,
    .Unadvise = host_memory_events_Unadvise,
};

_Static_assert(sizeof(IHostMemoryEventsVtbl) == 5 * sizeof(void *), "a slot is missing");
