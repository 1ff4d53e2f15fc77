/* SPDX-License-Identifier: MIT
 *
 * See wrong_manager.h: the heap, the callback that stands before the CLR's, and the host control.
 */
#include "framework/wrong_private.h"

/* ---- IHostMalloc ---- */

#define HALF (MEMORY_ALLOCATION_ALIGNMENT / 2)

static struct wrong_manager *impl_from_IHostMalloc(IHostMalloc *iface)
{
    return CONTAINING_RECORD(iface, struct wrong_manager, IHostMalloc_iface);
}

static HRESULT STDMETHODCALLTYPE wrong_malloc_QueryInterface(IHostMalloc *iface, REFIID iid,
                                                             void **object)
{
    return IHostMalloc_QueryInterface(impl_from_IHostMalloc(iface)->real_heap, iid, object);
}

static ULONG STDMETHODCALLTYPE wrong_malloc_AddRef(IHostMalloc *iface)
{
    return IHostMalloc_AddRef(impl_from_IHostMalloc(iface)->real_heap);
}

static ULONG STDMETHODCALLTYPE wrong_malloc_Release(IHostMalloc *iface)
{
    return IHostMalloc_Release(impl_from_IHostMalloc(iface)->real_heap);
}

static HRESULT STDMETHODCALLTYPE wrong_malloc_Alloc(IHostMalloc *iface, SIZE_T size,
                                                    EMemoryCriticalLevel level, void **result)
{
    struct wrong_manager *manager = impl_from_IHostMalloc(iface);
    void *block = NULL;
    if (manager->fault == SERVES_ONE_THREAD && manager->heap_owner != GetCurrentThreadId()) {
        *result = NULL;
        SetLastError(ERROR_NOT_OWNER);
        return HOST_E_NOT_OWNER;
    }
    if (manager->fault == REFUSES_SIZE_ZERO && size == 0) {
        *result = NULL;
        SetLastError(ERROR_INVALID_PARAMETER);
        return E_INVALIDARG;
    }
    if (manager->fault == SHARES_SIZE_ZERO && size == 0 && manager->size_zero != NULL) {
        *result = manager->size_zero;
        return S_OK;
    }
    SIZE_T extra = manager->fault == MISALIGNS ? HALF : 0;
    HRESULT hr = IHostMalloc_Alloc(manager->real_heap, size + extra, level, &block);
    if (hr != S_OK && manager->fault == LEAVES_BLOCK_ON_FAILURE) {
        return hr;
    }
    manager->size_zero = size == 0 ? block : manager->size_zero;
    *result = block != NULL ? (char *)block + extra : NULL;
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_malloc_DebugAlloc(IHostMalloc *iface, SIZE_T size,
                                                         EMemoryCriticalLevel level, char *file,
                                                         int line, void **result)
{
    (void)file;
    (void)line;
    return wrong_malloc_Alloc(iface, size, level, result);
}

static HRESULT STDMETHODCALLTYPE wrong_malloc_Free(IHostMalloc *iface, void *block)
{
    struct wrong_manager *manager = impl_from_IHostMalloc(iface);
    if (manager->fault == REFUSES_NULL && block == NULL) {
        SetLastError(ERROR_INVALID_ADDRESS);
        return HOST_E_INVALIDOPERATION;
    }
    DWORD last_error = GetLastError();
    HRESULT hr = IHostMalloc_Free(manager->real_heap, block);
    if (manager->fault == FREES_ANYTHING && hr != S_OK) {
        SetLastError(last_error);
        return S_OK;
    }
    return hr;
}

const IHostMallocVtbl wrong_malloc_vtbl = {
    .QueryInterface = wrong_malloc_QueryInterface,
    .AddRef = wrong_malloc_AddRef,
    .Release = wrong_malloc_Release,
    .Alloc = wrong_malloc_Alloc,
    .DebugAlloc = wrong_malloc_DebugAlloc,
    .Free = wrong_malloc_Free,
};

/* ---- ICLRMemoryNotificationCallback ---- */

static struct wrong_manager *impl_from_callback(ICLRMemoryNotificationCallback *iface)
{
    return CONTAINING_RECORD(iface, struct wrong_manager, callback);
}

static HRESULT STDMETHODCALLTYPE
wrong_callback_QueryInterface(ICLRMemoryNotificationCallback *iface, REFIID iid, void **object)
{
    return ICLRMemoryNotificationCallback_QueryInterface(impl_from_callback(iface)->real_callback,
                                                         iid, object);
}

static ULONG STDMETHODCALLTYPE wrong_callback_AddRef(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

static ULONG STDMETHODCALLTYPE wrong_callback_Release(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

static HRESULT STDMETHODCALLTYPE wrong_callback_OnMemoryNotification(
    ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    struct wrong_manager *manager = impl_from_callback(iface);
    if (manager->fault == NEVER_NOTIFIES ||
        (manager->fault == NEVER_ENDS_LOW && available != eMemoryAvailableLow)) {
        return S_OK;
    }
    if (manager->fault == REPEATS_LOW) {
        ICLRMemoryNotificationCallback_OnMemoryNotification(manager->real_callback, available);
    }
    bool taken = manager->fault == NOTIFIES_UNDER_LOCK && wrong_lock(manager);
    HRESULT hr =
        ICLRMemoryNotificationCallback_OnMemoryNotification(manager->real_callback, available);
    wrong_unlock(manager, taken);
    return hr;
}

const ICLRMemoryNotificationCallbackVtbl wrong_callback_vtbl = {
    .QueryInterface = wrong_callback_QueryInterface,
    .AddRef = wrong_callback_AddRef,
    .Release = wrong_callback_Release,
    .OnMemoryNotification = wrong_callback_OnMemoryNotification,
};

/* ---- IHostControl ---- */

static struct wrong_manager *impl_from_IHostControl(IHostControl *iface)
{
    return CONTAINING_RECORD(iface, struct wrong_manager, IHostControl_iface);
}

static HRESULT STDMETHODCALLTYPE wrong_control_QueryInterface(IHostControl *iface, REFIID iid,
                                                              void **object)
{
    return IHostControl_QueryInterface(impl_from_IHostControl(iface)->real_control, iid, object);
}

static ULONG STDMETHODCALLTYPE wrong_control_AddRef(IHostControl *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostControl(iface)->control_refs);
}

/* A thread that will be killed with the lock of MEM_RELEASE, which the CLR's main thread needs no more
 * until then. */
static DWORD WINAPI hold_for_ever(void *context)
{
    struct wrong_manager *manager = context;
    wrong_lock(manager);
    manager->lock_owner = GetCurrentThreadId();
    Sleep(INFINITE);
    return 0;
}

static void lose_lock(struct wrong_manager *manager)
{
    CloseHandle(CreateThread(NULL, 0, hold_for_ever, manager, 0, NULL));
    while (manager->lock_owner == 0) {
        Sleep(1);
    }
}

static ULONG STDMETHODCALLTYPE wrong_control_Release(IHostControl *iface)
{
    struct wrong_manager *manager = impl_from_IHostControl(iface);
    LONG refs = InterlockedDecrement(&manager->control_refs);
    if (refs == 0 && manager->fault == STOPS_WITH_THE_CLR) {
        IHostRuntimeLifetime_Shutdown(manager->lifetime);
    }
    if (refs == 0 && manager->fault == WAITS_FOR_THE_DEAD) {
        lose_lock(manager);
    }
    return (ULONG)refs;
}

static HRESULT STDMETHODCALLTYPE wrong_control_GetHostManager(IHostControl *iface, REFIID iid,
                                                              void **object)
{
    struct wrong_manager *manager = impl_from_IHostControl(iface);
    void *found = NULL;
    HRESULT hr = IHostControl_GetHostManager(manager->real_control, iid, &found);
    if (hr == S_OK && manager->fault == GIVES_NO_REFERENCE) {
        IUnknown_Release((IUnknown *)found);
    }
    if (hr == S_OK || manager->fault != LEAVES_UNKNOWN_MANAGER) {
        *object = found;
    }
    return manager->fault == GIVES_S_OK_FOR_UNKNOWN_MANAGER ? S_OK : hr;
}

static HRESULT STDMETHODCALLTYPE wrong_control_SetAppDomainManager(IHostControl *iface, DWORD id,
                                                                   IUnknown *domain_manager)
{
    return IHostControl_SetAppDomainManager(impl_from_IHostControl(iface)->real_control, id,
                                            domain_manager);
}

const IHostControlVtbl wrong_control_vtbl = {
    .QueryInterface = wrong_control_QueryInterface,
    .AddRef = wrong_control_AddRef,
    .Release = wrong_control_Release,
    .GetHostManager = wrong_control_GetHostManager,
    .SetAppDomainManager = wrong_control_SetAppDomainManager,
};
