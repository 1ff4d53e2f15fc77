/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryFaults: the rules by which requests are refused on purpose (fault_plan.h).
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryFaults, host_memory_faults)

/* The masks are those of the core. */
_Static_assert(HOSTMEM_FAULT_TASK == 1 << BUDGET_TASK &&
                   HOSTMEM_FAULT_APP_DOMAIN == 1 << BUDGET_APP_DOMAIN &&
                   HOSTMEM_FAULT_PROCESS == 1 << BUDGET_PROCESS,
               "a level has moved");
_Static_assert(HOSTMEM_FAULT_VIRTUAL_ALLOC == 1 << FAULT_PAGES &&
                   HOSTMEM_FAULT_ALLOC == 1 << FAULT_BLOCK,
               "a method has moved");

static HRESULT STDMETHODCALLTYPE host_memory_faults_SetFaults(IHostMemoryFaults *iface,
                                                              const HOSTMEM_FAULTS *faults)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryFaults(iface);
    HOSTMEM_FAULTS known;
    if (faults == NULL) {
        return E_POINTER;
    }
    if (!versioned_read(&known, sizeof(known), faults) || known.Reserved != 0) {
        return E_INVALIDARG;
    }
    const struct fault_rules rules = {
        .seed = known.Seed,
        .numerator = known.RateNumerator,
        .denominator = known.RateDenominator,
        .levels = known.Levels,
        .kinds = known.Methods,
        .minimum = known.MinimumBytes,
        .skip = known.Skip,
        .count = known.Count,
    };
    if (!fault_rules_valid(&rules)) {
        return E_INVALIDARG;
    }
    os_lock_acquire(&manager->limits_lock);
    fault_plan_set(&manager->faults, &rules);
    os_lock_release(&manager->limits_lock);
    return S_OK;
}

const IHostMemoryFaultsVtbl host_memory_faults_vtbl = {
    MANAGER_IUNKNOWN(host_memory_faults),
    .SetFaults = host_memory_faults_SetFaults,
};

_Static_assert(sizeof(IHostMemoryFaultsVtbl) == 4 * sizeof(void *), "a slot is missing");
