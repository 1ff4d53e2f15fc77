/* SPDX-License-Identifier: MIT
 *
 * See events.h.
 */
#include "com/events.h"

#include <olectl.h>

HRESULT events_advise(struct events *events, IHostMemoryEventSink *sink, DWORD *cookie)
{
    HRESULT hr = CONNECT_E_ADVISELIMIT;
    IHostMemoryEventSink_AddRef(sink);
    os_lock_acquire(&events->lock);
    for (size_t i = 0; i < EVENTS_SINKS && hr != S_OK; i++) {
        if (events->sinks[i].sink == NULL) {
            events->last_cookie += events->last_cookie == MAXDWORD ? 2 : 1; /* never 0 */
            events->sinks[i].sink = sink;
            events->sinks[i].cookie = *cookie = events->last_cookie;
            hr = S_OK;
        }
    }
    os_lock_release(&events->lock);
    if (hr != S_OK) {
        IHostMemoryEventSink_Release(sink);
    }
    return hr;
}

HRESULT events_unadvise(struct events *events, DWORD cookie)
{
    IHostMemoryEventSink *sink = NULL;
    os_lock_acquire(&events->lock);
    for (size_t i = 0; i < EVENTS_SINKS; i++) {
        if (events->sinks[i].sink != NULL && events->sinks[i].cookie == cookie) {
            sink = events->sinks[i].sink;
            events->sinks[i].sink = NULL;
        }
    }
    os_lock_release(&events->lock);
    if (sink == NULL) {
        return CONNECT_E_NOCONNECTION;
    }
    IHostMemoryEventSink_Release(sink);
    return S_OK;
}

void events_destroy(struct events *events)
{
    for (size_t i = 0; i < EVENTS_SINKS; i++) {
        if (events->sinks[i].sink != NULL) {
            IHostMemoryEventSink_Release(events->sinks[i].sink);
        }
    }
}
