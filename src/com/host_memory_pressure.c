/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryPressure: the host knows of memory pressure that nobody else can see.
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryPressure, host_memory_pressure)

static HRESULT STDMETHODCALLTYPE host_memory_pressure_NotifyMemory(IHostMemoryPressure *iface,
                                                                   EMemoryAvailable available)
{
    if (available < eMemoryAvailableLow || available > eMemoryAvailableHigh) {
        return E_INVALIDARG;
    }
    pressure_notify(impl_from_IHostMemoryPressure(iface)->pressure, available);
    return S_OK;
}

const IHostMemoryPressureVtbl host_memory_pressure_vtbl = {
    MANAGER_IUNKNOWN(host_memory_pressure),
    .NotifyMemory = host_memory_pressure_NotifyMemory,
};

_Static_assert(sizeof(IHostMemoryPressureVtbl) == 4 * sizeof(void *), "a slot is missing");
