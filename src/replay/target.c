/* SPDX-License-Identifier: MIT */
#include "replay/target.h"

#include <wchar.h>

/* ---- What a runtime would be told ---- */

static HRESULT STDMETHODCALLTYPE callback_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID iid, void **object)
{
    bool known =
        IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_ICLRMemoryNotificationCallback);
    *object = known ? iface : NULL;
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE callback_AddRef(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1; /* it is static */
}

static HRESULT STDMETHODCALLTYPE
callback_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    (void)iface;
    (void)available;
    return S_OK;
}

static const ICLRMemoryNotificationCallbackVtbl callback_vtbl = {
    callback_QueryInterface, callback_AddRef, callback_AddRef, callback_OnMemoryNotification};
static ICLRMemoryNotificationCallback callback = {&callback_vtbl};

/* ---- The calls of a manager ---- */

static HRESULT make_call(IHostMemoryManager *manager, const struct call *call,
                         struct answer *answer)
{
    static char file[] = "trace";
    IHostMalloc *heap = call->heap;
    DWORD load, old = 0;
    SIZE_T size = 0;
    HRESULT hr;
    switch (call->method) {
    case TRACE_CREATE_MALLOC:
        return IHostMemoryManager_CreateMalloc(manager, call->type,
                                               (IHostMalloc **)&answer->memory);
    case TRACE_RELEASE_MALLOC:
        IHostMalloc_Release(heap);
        return S_OK;
    case TRACE_VIRTUAL_ALLOC:
        return IHostMemoryManager_VirtualAlloc(manager, call->address, call->size, call->type,
                                               call->protect, call->level, &answer->memory);
    case TRACE_VIRTUAL_FREE:
        return IHostMemoryManager_VirtualFree(manager, call->address, call->size, call->type);
    case TRACE_VIRTUAL_QUERY:
        hr = IHostMemoryManager_VirtualQuery(manager, call->address, &answer->information,
                                             call->size, &size);
        answer->value = size;
        return hr;
    case TRACE_VIRTUAL_PROTECT:
        hr = IHostMemoryManager_VirtualProtect(manager, call->address, call->size, call->protect,
                                               &old);
        answer->value = old;
        return hr;
    case TRACE_GET_MEMORY_LOAD:
        return IHostMemoryManager_GetMemoryLoad(manager, &load, &size);
    case TRACE_REGISTER_CALLBACK:
        return IHostMemoryManager_RegisterMemoryNotificationCallback(
            manager, call->address != NULL ? &callback : NULL);
    case TRACE_NEEDS_ADDRESS_SPACE:
        return IHostMemoryManager_NeedsVirtualAddressSpace(manager, call->address, call->size);
    case TRACE_ACQUIRED_ADDRESS_SPACE:
        return IHostMemoryManager_AcquiredVirtualAddressSpace(manager, call->address, call->size);
    case TRACE_RELEASED_ADDRESS_SPACE:
        return IHostMemoryManager_ReleasedVirtualAddressSpace(manager, call->address);
    case TRACE_ALLOC:
        return IHostMalloc_Alloc(heap, call->size, call->level, &answer->memory);
    case TRACE_DEBUG_ALLOC:
        return IHostMalloc_DebugAlloc(heap, call->size, call->level, file, (int)call->protect,
                                      &answer->memory);
    case TRACE_FREE:
        return IHostMalloc_Free(heap, call->address);
    default:
        return E_NOTIMPL;
    }
}

void target_call(struct target *target, const struct call *call, struct answer *answer)
{
    *answer = (struct answer){0};
    if (target->manager == NULL) {
        win32_call(call, answer);
        return;
    }
    UINT64 begin = __rdtsc();
    HRESULT hr = make_call(target->manager, call, answer);
    answer->ticks = __rdtsc() - begin;
    answer->hr = hr;
}

/* ---- create ---- */

static HRESULT create_table(const struct trace_header *header, IHostMemoryManager **manager)
{
    const HOSTMEM_OPTIONS options = {
        .Size = sizeof(options),
        .Flags = header->flags,
        .CommitLimit = header->commit_limit,
        .ReserveLimit = header->reserve_limit,
        .EmergencyCommit = header->emergency,
        .AddressSpaceCushion = header->cushion,
    };
    return HostMemCreateManager(&options, manager);
}

BOOL target_create(const WCHAR *name, const struct trace_header *header, struct target *target,
                   HRESULT *hr)
{
    *target = (struct target){0};
    *hr = S_OK;
    if (wcscmp(name, L"raw") == 0) {
        target->name = "raw";
    } else if (wcscmp(name, L"table") == 0) {
        target->name = "table";
        target->keeps_limits = header->commit_limit != 0 || header->reserve_limit != 0;
        target->knows_blocks = true;
        *hr = create_table(header, &target->manager);
    } else if (wcscmp(name, L"passthrough") == 0) {
        target->name = "passthrough";
        *hr = own_manager_create(false, &target->manager);
    } else if (wcscmp(name, L"list") == 0) {
        target->name = "list";
        target->knows_blocks = true;
        *hr = own_manager_create(true, &target->manager);
    }
    return target->name != NULL;
}

void target_destroy(struct target *target)
{
    if (target->manager != NULL) {
        IHostMemoryManager_Release(target->manager);
    }
}
