/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryCharge: commit that somebody else makes, sections for instance, and that counts against
 * the limit all the same.
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryCharge, host_memory_charge)

static HRESULT STDMETHODCALLTYPE host_memory_charge_ChargeCommit(IHostMemoryCharge *iface,
                                                                 UINT64 bytes,
                                                                 EMemoryCriticalLevel level)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryCharge(iface);
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

static HRESULT STDMETHODCALLTYPE host_memory_charge_RefundCommit(IHostMemoryCharge *iface,
                                                                 UINT64 bytes)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryCharge(iface);
    /* In one step: of two threads that refund the same bytes one is refused. */
    if (bytes > SIZE_MAX || !usage_subtract(&manager->foreign_commit, (size_t)bytes)) {
        return E_INVALIDARG;
    }
    budget_give_back(&manager->memory.budget, 0, (size_t)bytes);
    request_room_was_made(manager);
    return S_OK;
}

const IHostMemoryChargeVtbl host_memory_charge_vtbl = {
    MANAGER_IUNKNOWN(host_memory_charge),
    .ChargeCommit = host_memory_charge_ChargeCommit,
    .RefundCommit = host_memory_charge_RefundCommit,
};

_Static_assert(sizeof(IHostMemoryChargeVtbl) == 5 * sizeof(void *), "a slot is missing");
