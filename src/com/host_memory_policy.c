/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryPolicy: what the host decides while the runtime runs. The third interface of the
 * manager's object (host_memory_manager.c); identity and lifetime are the manager's.
 */
#include "com/com_private.h"

static inline struct host_memory_manager *impl_from_IHostMemoryPolicy(IHostMemoryPolicy *iface)
{
    assert(iface->lpVtbl == &host_memory_policy_vtbl);
    return CONTAINING_RECORD(iface, struct host_memory_manager, IHostMemoryPolicy_iface);
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE host_memory_policy_QueryInterface(IHostMemoryPolicy *iface,
                                                                   REFIID iid, void **object)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    return IHostMemoryManager_QueryInterface(&manager->IHostMemoryManager_iface, iid, object);
}

static ULONG STDMETHODCALLTYPE host_memory_policy_AddRef(IHostMemoryPolicy *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    return IHostMemoryManager_AddRef(&manager->IHostMemoryManager_iface);
}

static ULONG STDMETHODCALLTYPE host_memory_policy_Release(IHostMemoryPolicy *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    return IHostMemoryManager_Release(&manager->IHostMemoryManager_iface);
}

/* ---- limits ---- */

/* A limit as the core has it. On 32-bit systems one that the address space cannot reach is none. */
static size_t core_limit(UINT64 bytes)
{
    return bytes == 0 || bytes >= BUDGET_UNLIMITED ? BUDGET_UNLIMITED : (size_t)bytes;
}

HRESULT host_memory_policy_set_limits(struct host_memory_manager *manager,
                                      const HOSTMEM_LIMITS *limits)
{
    if (limits->Size != sizeof(*limits) || (limits->Flags & ~(UINT32)HOSTMEM_FLAG_OVERDRAFT) != 0 ||
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
    budget_set_limits(&manager->memory.budget, &core);
    os_lock_release(&manager->limits_lock);
    request_room_was_made(manager);
    pressure_limits_changed(manager->pressure);
    return S_OK;
}

/* ---- IHostMemoryPolicy ---- */

static HRESULT STDMETHODCALLTYPE host_memory_policy_SetLimits(IHostMemoryPolicy *iface,
                                                              const HOSTMEM_LIMITS *limits)
{
    if (limits == NULL) {
        return E_POINTER;
    }
    return host_memory_policy_set_limits(impl_from_IHostMemoryPolicy(iface), limits);
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_GetLimits(IHostMemoryPolicy *iface,
                                                              HOSTMEM_LIMITS *limits)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    if (limits == NULL) {
        return E_POINTER;
    }
    if (limits->Size != sizeof(*limits)) {
        return E_INVALIDARG;
    }
    os_lock_acquire(&manager->limits_lock);
    *limits = manager->limits;
    os_lock_release(&manager->limits_lock);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_NotifyMemory(IHostMemoryPolicy *iface,
                                                                 EMemoryAvailable available)
{
    if (available < eMemoryAvailableLow || available > eMemoryAvailableHigh) {
        return E_INVALIDARG;
    }
    pressure_notify(impl_from_IHostMemoryPolicy(iface)->pressure, available);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_RuntimeStarted(IHostMemoryPolicy *iface)
{
    pressure_runtime_started(impl_from_IHostMemoryPolicy(iface)->pressure);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_Shutdown(IHostMemoryPolicy *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    atomic_store_explicit(&manager->unavailable, true, memory_order_relaxed);
    if (manager->shut_down != NULL) {
        SetEvent(manager->shut_down);
    }
    pressure_shutdown(manager->pressure);
    return S_OK;
}

/* The masks are those of the core. */
_Static_assert(HOSTMEM_FAULT_TASK == 1 << BUDGET_TASK &&
                   HOSTMEM_FAULT_APP_DOMAIN == 1 << BUDGET_APP_DOMAIN &&
                   HOSTMEM_FAULT_PROCESS == 1 << BUDGET_PROCESS,
               "a level has moved");
_Static_assert(HOSTMEM_FAULT_VIRTUAL_ALLOC == 1 << FAULT_PAGES &&
                   HOSTMEM_FAULT_ALLOC == 1 << FAULT_BLOCK,
               "a method has moved");

static HRESULT STDMETHODCALLTYPE host_memory_policy_SetFaults(IHostMemoryPolicy *iface,
                                                              const HOSTMEM_FAULTS *faults)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    if (faults == NULL) {
        return E_POINTER;
    }
    if (faults->Size != sizeof(*faults) || faults->Reserved != 0) {
        return E_INVALIDARG;
    }
    const struct fault_rules rules = {
        .seed = faults->Seed,
        .numerator = faults->RateNumerator,
        .denominator = faults->RateDenominator,
        .levels = faults->Levels,
        .kinds = faults->Methods,
        .minimum = faults->MinimumBytes,
        .skip = faults->Skip,
        .count = faults->Count,
    };
    if (!fault_rules_valid(&rules)) {
        return E_INVALIDARG;
    }
    os_lock_acquire(&manager->limits_lock);
    fault_plan_set(&manager->faults, &rules);
    os_lock_release(&manager->limits_lock);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_TakeCommit(IHostMemoryPolicy *iface,
                                                               UINT64 bytes,
                                                               EMemoryCriticalLevel level)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    struct request request;
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    if (bytes > SIZE_MAX) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    os_error error = request_begin(&request, manager, level, FAULT_NOTHING, (size_t)bytes);
    if (error == OS_OK) {
        do {
            error = budget_take(&manager->memory.budget, 0, (size_t)bytes, request.level);
        } while (request_again(&request, &error));
    }
    if (error == OS_OK) {
        usage_add(&manager->foreign_commit, (size_t)bytes);
    }
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_memory_policy_GiveBackCommit(IHostMemoryPolicy *iface,
                                                                   UINT64 bytes)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryPolicy(iface);
    if (bytes > usage_current(&manager->foreign_commit)) {
        return E_INVALIDARG;
    }
    usage_subtract(&manager->foreign_commit, (size_t)bytes);
    budget_give_back(&manager->memory.budget, 0, (size_t)bytes);
    request_room_was_made(manager);
    return S_OK;
}

const IHostMemoryPolicyVtbl host_memory_policy_vtbl = {
    /* IUnknown */
    .QueryInterface = host_memory_policy_QueryInterface,
    .AddRef = host_memory_policy_AddRef,
    .Release = host_memory_policy_Release,
    /* IHostMemoryPolicy */
    .SetLimits = host_memory_policy_SetLimits,
    .GetLimits = host_memory_policy_GetLimits,
    .NotifyMemory = host_memory_policy_NotifyMemory,
    .RuntimeStarted = host_memory_policy_RuntimeStarted,
    .Shutdown = host_memory_policy_Shutdown,
    .SetFaults = host_memory_policy_SetFaults,
    .TakeCommit = host_memory_policy_TakeCommit,
    .GiveBackCommit = host_memory_policy_GiveBackCommit,
};

_Static_assert(sizeof(IHostMemoryPolicyVtbl) == 11 * sizeof(void *), "a slot is missing");
