/* SPDX-License-Identifier: MIT
 *
 * IHostRuntimeLifetime: the runtime has started, or is gone for good.
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostRuntimeLifetime, host_runtime_lifetime)

static HRESULT STDMETHODCALLTYPE host_runtime_lifetime_RuntimeStarted(IHostRuntimeLifetime *iface)
{
    pressure_runtime_started(impl_from_IHostRuntimeLifetime(iface)->pressure);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_runtime_lifetime_Shutdown(IHostRuntimeLifetime *iface)
{
    struct host_memory_manager *manager = impl_from_IHostRuntimeLifetime(iface);
    atomic_store_explicit(&manager->unavailable, true, memory_order_relaxed);
    if (manager->shut_down != NULL) {
        SetEvent(manager->shut_down);
    }
    pressure_shutdown(manager->pressure);
    return S_OK;
}

const IHostRuntimeLifetimeVtbl host_runtime_lifetime_vtbl = {
    MANAGER_IUNKNOWN(host_runtime_lifetime),
    .RuntimeStarted = host_runtime_lifetime_RuntimeStarted,
    .Shutdown = host_runtime_lifetime_Shutdown,
};

_Static_assert(sizeof(IHostRuntimeLifetimeVtbl) == 5 * sizeof(void *), "a slot is missing");
