/* SPDX-License-Identifier: MIT
 *
 * From Win32 errors to HRESULTs, in one place. The CLR does not tell failures apart, but it throws
 * what LastError says after a failed Virtual* call, and people read both.
 */
#include "com/com_private.h"

/* All that Windows says when there is not enough of some kind of memory. */
static bool is_out_of_memory(os_error error)
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

HRESULT hresult_from_error(os_error error)
{
    if (error == OS_OK) {
        return S_OK;
    }
    if (error == HM_FOREIGN) {
        SetLastError(
            ERROR_INVALID_ADDRESS); /* as VirtualFree of an address that is not allocated */
        return HOST_E_INVALIDOPERATION;
    }
    SetLastError(error);
    return is_out_of_memory(error) ? E_OUTOFMEMORY : HRESULT_FROM_WIN32(error);
}
