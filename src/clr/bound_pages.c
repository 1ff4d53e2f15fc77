/* SPDX-License-Identifier: MIT
 *
 * VirtualAlloc and its kind. Pages of a view are no region of the manager's: bound_views.c.
 */
#include "bound_private.h"
#include "critical_level.h"

#include <corerror.h>

void *WINAPI bound_VirtualAlloc(void *address, SIZE_T size, DWORD type, DWORD protect)
{
    void *memory = NULL;
    if (bound_view_commit(address, size, type, protect, &memory)) {
        return memory;
    }
    HRESULT hr = IHostMemoryManager_VirtualAlloc(
        targets.manager, address, size, type, protect,
        critical_level_of_pages(address, size, type, protect), &memory);
    if (hr != S_OK) {
        return NULL;
    }
    if ((type & MEM_RESERVE) || !address) {
        bound_views_range_given(memory, size);
        critical_level_reserved(memory, size, type, protect);
    }
    return memory;
}

/* The node is a preference, and the interface cannot express it. */
void *WINAPI bound_VirtualAllocExNuma(HANDLE process, void *address, SIZE_T size, DWORD type,
                                      DWORD protect, DWORD node)
{
    if (!is_this_process(process)) {
        return original.VirtualAllocExNuma(process, address, size, type, protect, node);
    }
    return bound_VirtualAlloc(address, size, type, protect);
}

/* A placeholder is an address for a view to come and never committed, so no region; and the
 * interface cannot express what the parameters ask for. Of the runtimes tested, 2.0 and 3.1 do not
 * have the name, and 10.0.9 has it but did not ask for it under Wine: the list of functions would show it. */
#define PLACEHOLDER (0x4000 | 0x40000) /* MEM_REPLACE_PLACEHOLDER, MEM_RESERVE_PLACEHOLDER */

void *WINAPI bound_VirtualAlloc2(HANDLE process, void *address, SIZE_T size, ULONG type,
                                 ULONG protect, struct extended_parameter *parameters, ULONG count)
{
    if ((process && !is_this_process(process)) || count != 0 || (type & PLACEHOLDER)) {
        return original.VirtualAlloc2(process, address, size, type, protect, parameters, count);
    }
    return bound_VirtualAlloc(address, size, type, protect);
}

BOOL WINAPI bound_VirtualFree(void *address, SIZE_T size, DWORD type)
{
    DWORD error = GetLastError();
    SIZE_T segment = type == MEM_RELEASE && size == 0 ? critical_level_release(address) : 0;
    HRESULT hr = IHostMemoryManager_VirtualFree(targets.manager, address, size, type);
    BOOL freed = hr == S_OK;
    if (hr == HOST_E_INVALIDOPERATION) {
        SetLastError(error);
        freed = original.VirtualFree(address, size, type);
    }
    if (!freed && segment != 0) {
        critical_level_put_back(address, segment);
    }
    return freed;
}

SIZE_T WINAPI bound_VirtualQuery(const void *address, MEMORY_BASIC_INFORMATION *information,
                                 SIZE_T length)
{
    SIZE_T written = 0;
    HRESULT hr = IHostMemoryManager_VirtualQuery(targets.manager, (void *)(UINT_PTR)address,
                                                 information, length, &written);
    return SUCCEEDED(hr) ? written : 0;
}

BOOL WINAPI bound_VirtualProtect(void *address, SIZE_T size, DWORD protect, DWORD *old_protect)
{
    if (!old_protect) {
        return original.VirtualProtect(address, size, protect, old_protect);
    }
    DWORD old = 0;
    if (IHostMemoryManager_VirtualProtect(targets.manager, address, size, protect, &old) != S_OK) {
        return FALSE;
    }
    *old_protect = old;
    return TRUE;
}
