/* SPDX-License-Identifier: MIT
 *
 * From Win32 errors to HRESULTs, in one place. The CLR does not tell failures apart, but it throws
 * what LastError says after a failed Virtual* call, and people read both.
 */
#include "com/com_private.h"

/* All that Windows says when there is not enough of some kind of memory. */
bool is_out_of_memory(os_error error)
{
    switch (error) {
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_PAGEFILE_QUOTA:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_NOT_ENOUGH_QUOTA:
        return true;
    default:
        return false;
    }
}

void host_memory_manager_break(struct host_memory_manager *manager, const char *found)
{
    /* Counts that do not add up come first: what else was found may be their consequence. */
    const char *none = NULL, *counts = budget_broken(&manager->budget);
    const char *reason = counts != NULL ? counts : found;
    /* E_FAIL means that the host can do no more; whatever came next would make it worse. */
    atomic_store_explicit(&manager->unavailable, true, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&manager->broken, &none, reason)) {
        host_memory_events_post(
            manager, (HOSTMEM_EVENT){.Kind = HOSTMEM_EVENT_BROKEN, .Count = 1, .Reason = reason});
    }
}

/* The errors that are not Windows' own, and the nearest that Windows has for LastError. */
static const struct {
    os_error error;
    HRESULT hr;
    DWORD last_error;
} own_errors[] = {
    {HM_FOREIGN, HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS},
    {HM_OVER_COMMIT, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY},
    {HM_OVER_RESERVE, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY},
    {HM_INJECTED, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY},
    {HM_TIMED_OUT, HOST_E_TIMEOUT, ERROR_NOT_ENOUGH_MEMORY},
    {HM_ABANDONED, HOST_E_ABANDONED, ERROR_NOT_ENOUGH_MEMORY},
    {HM_NOT_OWNER, HOST_E_NOT_OWNER, ERROR_NOT_OWNER},
    {HM_BROKEN, E_FAIL, ERROR_INTERNAL_ERROR},
    {HM_NO_RESULT, E_POINTER, ERROR_INVALID_PARAMETER},
    {HM_NO_BUFFER, E_POINTER, ERROR_NOACCESS},
    {HM_UNAVAILABLE, HOST_E_CLRNOTAVAILABLE, ERROR_NOT_READY},
};

HRESULT hresult_of_failure(os_error error)
{
    for (size_t i = 0; i < ARRAYSIZE(own_errors); i++) {
        if (error == own_errors[i].error) {
            SetLastError(own_errors[i].last_error);
            return own_errors[i].hr;
        }
    }
    SetLastError(error);
    return is_out_of_memory(error) ? E_OUTOFMEMORY : HRESULT_FROM_WIN32(error);
}
