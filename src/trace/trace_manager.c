/* SPDX-License-Identifier: MIT */
#include "trace/trace_manager.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "trace/trace_call.h"

struct trace_manager {
    IHostMemoryManager IHostMemoryManager_iface;
    LONG refs;                 /* Interlocked only */
    IHostMemoryManager *inner; /* owned */
    _Atomic UINT32 heaps;      /* made so far */
};

static const IHostMemoryManagerVtbl trace_manager_vtbl;

static inline struct trace_manager *impl_from_IHostMemoryManager(IHostMemoryManager *iface)
{
    assert(iface->lpVtbl == &trace_manager_vtbl);
    return CONTAINING_RECORD(iface, struct trace_manager, IHostMemoryManager_iface);
}

static IHostMemoryManager *inner_of(IHostMemoryManager *iface)
{
    return impl_from_IHostMemoryManager(iface)->inner;
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE trace_manager_QueryInterface(IHostMemoryManager *iface, REFIID iid,
                                                              void **object)
{
    if (object != NULL &&
        (IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMemoryManager))) {
        *object = iface;
        IHostMemoryManager_AddRef(iface);
        return S_OK;
    }
    return IHostMemoryManager_QueryInterface(inner_of(iface), iid, object);
}

static ULONG STDMETHODCALLTYPE trace_manager_AddRef(IHostMemoryManager *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMemoryManager(iface)->refs);
}

static ULONG STDMETHODCALLTYPE trace_manager_Release(IHostMemoryManager *iface)
{
    struct trace_manager *manager = impl_from_IHostMemoryManager(iface);
    LONG refs = InterlockedDecrement(&manager->refs);
    if (refs == 0) {
        IHostMemoryManager_Release(manager->inner);
        free(manager);
    }
    return (ULONG)refs;
}

/* ---- IHostMemoryManager ---- */

static HRESULT STDMETHODCALLTYPE trace_manager_CreateMalloc(IHostMemoryManager *iface, DWORD type,
                                                            IHostMalloc **malloc)
{
    struct trace_manager *manager = impl_from_IHostMemoryManager(iface);
    struct trace_record call = trace_call_begin(TRACE_CREATE_MALLOC);
    call.type = type;
    HRESULT hr = IHostMemoryManager_CreateMalloc(manager->inner, type, malloc);
    if (hr == S_OK) {
        UINT32 number = atomic_fetch_add_explicit(&manager->heaps, 1, memory_order_relaxed) + 1;
        call.result = number;
        hr = trace_malloc_create(*malloc, number, malloc);
    }
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_VirtualAlloc(IHostMemoryManager *iface,
                                                            void *address, SIZE_T size, DWORD type,
                                                            DWORD protect,
                                                            EMemoryCriticalLevel level,
                                                            void **memory)
{
    struct trace_record call = trace_call_begin(TRACE_VIRTUAL_ALLOC);
    call.address = (UINT_PTR)address;
    call.size = size;
    call.type = type;
    call.protect = protect;
    call.level = (uint8_t)level;
    HRESULT hr = IHostMemoryManager_VirtualAlloc(inner_of(iface), address, size, type, protect,
                                                 level, memory);
    call.result = hr == S_OK ? (UINT_PTR)*memory : 0;
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_VirtualFree(IHostMemoryManager *iface,
                                                           LPVOID address, SIZE_T size, DWORD type)
{
    struct trace_record call = trace_call_begin(TRACE_VIRTUAL_FREE);
    call.address = (UINT_PTR)address;
    call.size = size;
    call.type = type;
    HRESULT hr = IHostMemoryManager_VirtualFree(inner_of(iface), address, size, type);
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_VirtualQuery(IHostMemoryManager *iface,
                                                            void *address, void *buffer,
                                                            SIZE_T length, SIZE_T *result)
{
    struct trace_record call = trace_call_begin(TRACE_VIRTUAL_QUERY);
    call.address = (UINT_PTR)address;
    call.size = length;
    HRESULT hr = IHostMemoryManager_VirtualQuery(inner_of(iface), address, buffer, length, result);
    if (hr == S_OK) {
        call.result = *result;
        if (*result >= sizeof(MEMORY_BASIC_INFORMATION)) {
            const MEMORY_BASIC_INFORMATION *information = buffer;
            call.type = information->State | information->Type;
            call.protect = information->Protect;
        }
    }
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_VirtualProtect(IHostMemoryManager *iface,
                                                              void *address, SIZE_T size,
                                                              DWORD protect, DWORD *old_protect)
{
    struct trace_record call = trace_call_begin(TRACE_VIRTUAL_PROTECT);
    call.address = (UINT_PTR)address;
    call.size = size;
    call.protect = protect;
    HRESULT hr =
        IHostMemoryManager_VirtualProtect(inner_of(iface), address, size, protect, old_protect);
    call.result = hr == S_OK ? *old_protect : 0;
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_GetMemoryLoad(IHostMemoryManager *iface,
                                                             DWORD *load_percent, SIZE_T *available)
{
    struct trace_record call = trace_call_begin(TRACE_GET_MEMORY_LOAD);
    HRESULT hr = IHostMemoryManager_GetMemoryLoad(inner_of(iface), load_percent, available);
    if (hr == S_OK) {
        call.type = *load_percent;
        call.result = *available;
    }
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *iface, ICLRMemoryNotificationCallback *callback)
{
    struct trace_record call = trace_call_begin(TRACE_REGISTER_CALLBACK);
    call.address = (UINT_PTR)callback;
    HRESULT hr = IHostMemoryManager_RegisterMemoryNotificationCallback(inner_of(iface), callback);
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_manager_NeedsVirtualAddressSpace(IHostMemoryManager *iface,
                                                                        LPVOID address, SIZE_T size)
{
    struct trace_record call = trace_call_begin(TRACE_NEEDS_ADDRESS_SPACE);
    call.address = (UINT_PTR)address;
    call.size = size;
    HRESULT hr = IHostMemoryManager_NeedsVirtualAddressSpace(inner_of(iface), address, size);
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE
trace_manager_AcquiredVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    struct trace_record call = trace_call_begin(TRACE_ACQUIRED_ADDRESS_SPACE);
    call.address = (UINT_PTR)address;
    call.size = size;
    HRESULT hr = IHostMemoryManager_AcquiredVirtualAddressSpace(inner_of(iface), address, size);
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE
trace_manager_ReleasedVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address)
{
    struct trace_record call = trace_call_begin(TRACE_RELEASED_ADDRESS_SPACE);
    call.address = (UINT_PTR)address;
    HRESULT hr = IHostMemoryManager_ReleasedVirtualAddressSpace(inner_of(iface), address);
    trace_call_end(&call, hr);
    return hr;
}

static const IHostMemoryManagerVtbl trace_manager_vtbl = {
    /* IUnknown */
    .QueryInterface = trace_manager_QueryInterface,
    .AddRef = trace_manager_AddRef,
    .Release = trace_manager_Release,
    /* IHostMemoryManager */
    .CreateMalloc = trace_manager_CreateMalloc,
    .VirtualAlloc = trace_manager_VirtualAlloc,
    .VirtualFree = trace_manager_VirtualFree,
    .VirtualQuery = trace_manager_VirtualQuery,
    .VirtualProtect = trace_manager_VirtualProtect,
    .GetMemoryLoad = trace_manager_GetMemoryLoad,
    .RegisterMemoryNotificationCallback = trace_manager_RegisterMemoryNotificationCallback,
    .NeedsVirtualAddressSpace = trace_manager_NeedsVirtualAddressSpace,
    .AcquiredVirtualAddressSpace = trace_manager_AcquiredVirtualAddressSpace,
    .ReleasedVirtualAddressSpace = trace_manager_ReleasedVirtualAddressSpace,
};

_Static_assert(sizeof(IHostMemoryManagerVtbl) == 13 * sizeof(void *), "a slot is missing");

HRESULT trace_manager_create(IHostMemoryManager *inner, IHostMemoryManager **result)
{
    struct trace_manager *manager = calloc(1, sizeof(*manager));
    if (manager == NULL) {
        return E_OUTOFMEMORY;
    }
    manager->IHostMemoryManager_iface.lpVtbl = &trace_manager_vtbl;
    manager->refs = 1;
    manager->inner = inner;
    IHostMemoryManager_AddRef(inner);
    *result = &manager->IHostMemoryManager_iface;
    return S_OK;
}
