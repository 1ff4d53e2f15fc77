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
            error = budget_take(&manager->budget, 0, (size_t)bytes, request.level);
        } while (request_again(&request, &error));
    }
    if (error == OS_OK) {
        budget_added(&manager->budget, BUDGET_FOREIGN, 0, (size_t)bytes);
    }
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_memory_charge_RefundCommit(IHostMemoryCharge *iface,
                                                                 UINT64 bytes)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryCharge(iface);
    if (bytes > SIZE_MAX || !budget_remove(&manager->budget, BUDGET_FOREIGN, (size_t)bytes)) {
        return E_INVALIDARG;
    }
    request_room_was_made(manager);
    return S_OK;
}

const IHostMemoryChargeVtbl host_memory_charge_vtbl = {
    MANAGER_IUNKNOWN(host_memory_charge),
    .ChargeCommit = host_memory_charge_ChargeCommit,
    .RefundCommit = host_memory_charge_RefundCommit,
};

_Static_assert(sizeof(IHostMemoryChargeVtbl) == 5 * sizeof(void *), "a slot is missing");
