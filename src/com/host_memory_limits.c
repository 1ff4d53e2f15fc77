/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryLimits: what the runtime may take, set by the host at any time.
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryLimits, host_memory_limits)

/* A limit as the core has it. On 32-bit systems one that the address space cannot reach is none. */
static size_t core_limit(UINT64 bytes)
{
    return bytes == 0 || bytes >= BUDGET_UNLIMITED ? BUDGET_UNLIMITED : (size_t)bytes;
}

HRESULT host_memory_limits_set(struct host_memory_manager *manager, const HOSTMEM_LIMITS *limits)
{
    if ((limits->Flags & ~(UINT32)HOSTMEM_FLAG_OVERDRAFT) != 0 ||
        limits->CommitLimit > MOST_BYTES || limits->ReserveLimit > MOST_BYTES ||
        limits->EmergencyCommit > limits->CommitLimit) {
        return E_INVALIDARG;
    }
    const struct budget_limits core = {
        .commit = core_limit(limits->CommitLimit),
        .emergency = (size_t)limits->EmergencyCommit,
        .reserve = core_limit(limits->ReserveLimit),
        .overdraft = (limits->Flags & HOSTMEM_FLAG_OVERDRAFT) != 0,
    };
    os_lock_acquire(&manager->limits_lock);
    manager->limits = *limits;
    budget_set_limits(&manager->budget, &core);
    os_lock_release(&manager->limits_lock);
    request_room_was_made(manager);
    pressure_look(manager->pressure);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_limits_SetLimits(IHostMemoryLimits *iface,
                                                              const HOSTMEM_LIMITS *limits)
{
    HOSTMEM_LIMITS known;
    if (limits == NULL) {
        return E_POINTER;
    }
    if (!versioned_read(&known, sizeof(known), limits)) {
        return E_INVALIDARG;
    }
    return host_memory_limits_set(impl_from_IHostMemoryLimits(iface), &known);
}

static HRESULT STDMETHODCALLTYPE host_memory_limits_GetLimits(IHostMemoryLimits *iface,
                                                              HOSTMEM_LIMITS *limits)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryLimits(iface);
    if (limits == NULL) {
        return E_POINTER;
    }
    os_lock_acquire(&manager->limits_lock);
    const HOSTMEM_LIMITS in_force = manager->limits;
    os_lock_release(&manager->limits_lock);
    return versioned_write(limits, sizeof(in_force), &in_force) ? S_OK : E_INVALIDARG;
}

const IHostMemoryLimitsVtbl host_memory_limits_vtbl = {
    MANAGER_IUNKNOWN(host_memory_limits),
    .SetLimits = host_memory_limits_SetLimits,
    .GetLimits = host_memory_limits_GetLimits,
};

_Static_assert(sizeof(IHostMemoryLimitsVtbl) == 5 * sizeof(void *), "a slot is missing");
