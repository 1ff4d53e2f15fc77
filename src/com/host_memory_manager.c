/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager: what the CLR calls instead of VirtualAlloc and its relatives. A method clears
 * its out-parameters, checks its arguments, asks the core or the OS, and maps the answer. Success is
 * S_OK and nothing else, and leaves LastError as it was; failure sets LastError, because the CLR
 * throws it.
 *
 * The CLR calls from any thread, under its own locks, with other threads suspended, and at process
 * exit under the loader lock. So no method calls back into the CLR, waits for anything but the lock
 * of the one region it changes, or uses more stack than a few hundred bytes. VirtualQuery,
 * VirtualProtect and GetMemoryLoad take no lock at all.
 */
#include "com/com_private.h"

static const IHostMemoryManagerVtbl host_memory_manager_vtbl;

static inline struct host_memory_manager *impl_from_IHostMemoryManager(IHostMemoryManager *iface)
{
    assert(iface->lpVtbl == &host_memory_manager_vtbl);
    return CONTAINING_RECORD(iface, struct host_memory_manager, IHostMemoryManager_iface);
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE host_memory_manager_QueryInterface(IHostMemoryManager *iface,
                                                                    REFIID iid, void **object)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    if (object == NULL) {
        return E_POINTER;
    }
    if (IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMemoryManager)) {
        *object = &manager->IHostMemoryManager_iface;
    } else if (IsEqualIID(iid, &IID_IHostMemoryStatistics)) {
        *object = &manager->IHostMemoryStatistics_iface;
    } else {
        *object = NULL;
        return E_NOINTERFACE;
    }
    IHostMemoryManager_AddRef(iface);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE host_memory_manager_AddRef(IHostMemoryManager *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    return (ULONG)InterlockedIncrement(&manager->refs);
}

static void destroy(struct host_memory_manager *manager)
{
    const struct os *os = manager->os; /* the manager lies in table memory of its own */
    if (manager->callback != NULL) {
        ICLRMemoryNotificationCallback_Release(manager->callback);
    }
    site_table_destroy(&manager->sites);
    view_list_destroy(&manager->views);
    virtual_memory_destroy(&manager->memory);
    os->table_release(os, manager);
    module_release();
}

static ULONG STDMETHODCALLTYPE host_memory_manager_Release(IHostMemoryManager *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    LONG refs = InterlockedDecrement(&manager->refs);
    if (refs == 0) {
        destroy(manager);
    }
    return (ULONG)refs;
}

/* ---- IHostMemoryManager ---- */

static HRESULT STDMETHODCALLTYPE host_memory_manager_CreateMalloc(IHostMemoryManager *iface,
                                                                  DWORD type, IHostMalloc **malloc)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_CREATE_MALLOC);
    if (malloc == NULL) {
        return E_POINTER;
    }
    *malloc = NULL;
    if ((type & ~(DWORD)(MALLOC_THREADSAFE | MALLOC_EXECUTABLE)) != 0) {
        return E_INVALIDARG;
    }
    return host_malloc_create(manager, type, malloc);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualAlloc(IHostMemoryManager *iface,
                                                                  void *address, SIZE_T size,
                                                                  DWORD type, DWORD protect,
                                                                  EMemoryCriticalLevel level,
                                                                  void **memory)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    uintptr_t result;
    (void)level; /* nothing is ever refused for lack of budget */
    count_call(manager, METHOD_VIRTUAL_ALLOC);
    if (memory == NULL) {
        return E_POINTER;
    }
    *memory = NULL;
    os_error error =
        virtual_memory_alloc(&manager->memory, (uintptr_t)address, size, type, protect, &result);
    if (error == OS_OK) {
        *memory = (void *)result;
    }
    return hresult_from_error(error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualFree(IHostMemoryManager *iface,
                                                                 LPVOID address, SIZE_T size,
                                                                 DWORD type)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_VIRTUAL_FREE);
    os_error error = virtual_memory_free(&manager->memory, (uintptr_t)address, size, type);
    if (error == HM_FOREIGN) {
        atomic_fetch_add_explicit(&manager->foreign_virtual_free, 1, memory_order_relaxed);
    }
    return hresult_from_error(error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualQuery(IHostMemoryManager *iface,
                                                                  void *address, void *buffer,
                                                                  SIZE_T length, SIZE_T *result)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    size_t written;
    count_call(manager, METHOD_VIRTUAL_QUERY);
    if (result == NULL) {
        return E_POINTER;
    }
    *result = 0;
    if (buffer == NULL) {
        return E_POINTER;
    }
    os_error error =
        manager->os->virtual_query(manager->os, (uintptr_t)address, buffer, length, &written);
    if (error == OS_OK) {
        *result = written;
    }
    return hresult_from_error(error);
}

/* *old_protect is written on success only: the CLR passes one variable as new and as old value, and
 * uses it again after a failure. */
static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualProtect(IHostMemoryManager *iface,
                                                                    void *address, SIZE_T size,
                                                                    DWORD protect,
                                                                    DWORD *old_protect)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    uint32_t old;
    count_call(manager, METHOD_VIRTUAL_PROTECT);
    if (old_protect == NULL) {
        return E_POINTER;
    }
    os_error error =
        manager->os->virtual_protect(manager->os, (uintptr_t)address, size, protect, &old);
    if (error == OS_OK) {
        *old_protect = old;
    }
    return hresult_from_error(error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_GetMemoryLoad(IHostMemoryManager *iface,
                                                                   DWORD *load_percent,
                                                                   SIZE_T *available)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    uint32_t percent = 0;
    uint64_t bytes = 0;
    count_call(manager, METHOD_GET_MEMORY_LOAD);
    if (load_percent == NULL || available == NULL) {
        return E_POINTER;
    }
    os_error error = manager->os->memory_load(manager->os, &percent, &bytes);
    *load_percent = percent;
    *available = bytes < SIZE_MAX ? (SIZE_T)bytes : SIZE_MAX; /* 32-bit: at most 4 GiB - 1 */
    return hresult_from_error(error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *iface, ICLRMemoryNotificationCallback *callback)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_REGISTER_CALLBACK);
    if (callback != NULL) {
        /* The CLR does this once, when it takes the manager over for good. */
        module_pin();
        ICLRMemoryNotificationCallback_AddRef(callback);
    }
    ICLRMemoryNotificationCallback *previous =
        InterlockedExchangePointer((void *volatile *)&manager->callback, callback);
    if (previous != NULL) {
        ICLRMemoryNotificationCallback_Release(previous);
    }
    return S_OK;
}

/* The CLR could not map a file and asks whether there is address space now. Any success would make
 * it try again, for nothing: there is nothing that could be given back. */
static HRESULT STDMETHODCALLTYPE
host_memory_manager_NeedsVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    (void)address;
    (void)size;
    count_call(impl_from_IHostMemoryManager(iface), METHOD_NEEDS_ADDRESS_SPACE);
    return E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_AcquiredVirtualAddressSpace(
    IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD last_error = GetLastError();
    count_call(manager, METHOD_ACQUIRED_ADDRESS_SPACE);
    view_list_add(&manager->views, (uintptr_t)address, size);
    SetLastError(last_error);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
host_memory_manager_ReleasedVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_RELEASED_ADDRESS_SPACE);
    view_list_remove(&manager->views, (uintptr_t)address);
    return S_OK;
}

static const IHostMemoryManagerVtbl host_memory_manager_vtbl = {
    /* IUnknown */
    .QueryInterface = host_memory_manager_QueryInterface,
    .AddRef = host_memory_manager_AddRef,
    .Release = host_memory_manager_Release,
    /* IHostMemoryManager */
    .CreateMalloc = host_memory_manager_CreateMalloc,
    .VirtualAlloc = host_memory_manager_VirtualAlloc,
    .VirtualFree = host_memory_manager_VirtualFree,
    .VirtualQuery = host_memory_manager_VirtualQuery,
    .VirtualProtect = host_memory_manager_VirtualProtect,
    .GetMemoryLoad = host_memory_manager_GetMemoryLoad,
    .RegisterMemoryNotificationCallback = host_memory_manager_RegisterMemoryNotificationCallback,
    .NeedsVirtualAddressSpace = host_memory_manager_NeedsVirtualAddressSpace,
    .AcquiredVirtualAddressSpace = host_memory_manager_AcquiredVirtualAddressSpace,
    .ReleasedVirtualAddressSpace = host_memory_manager_ReleasedVirtualAddressSpace,
};

_Static_assert(sizeof(IHostMemoryManagerVtbl) == 13 * sizeof(void *), "a slot is missing");

/* ---- create ---- */

HRESULT host_memory_manager_create(const struct os *os, IHostMemoryManager **result)
{
    size_t bytes = (sizeof(struct host_memory_manager) + os->page_size - 1) & ~(os->page_size - 1);
    struct host_memory_manager *manager = os->table_reserve(os, bytes);
    if (manager == NULL) {
        goto no_manager;
    }
    if (!os->table_commit(os, manager, bytes)) {
        goto no_memory;
    }
    manager->IHostMemoryManager_iface.lpVtbl = &host_memory_manager_vtbl;
    manager->IHostMemoryStatistics_iface.lpVtbl = &host_memory_statistics_vtbl;
    manager->refs = 1;
    manager->os = os;
    if (virtual_memory_create(&manager->memory, os) != OS_OK) {
        goto no_memory;
    }
    usage_add(&manager->memory.table_memory.committed, bytes);
    if (view_list_create(&manager->views, &manager->memory.table_memory) != OS_OK) {
        goto no_views;
    }
    site_table_init(&manager->sites, &manager->memory.table_memory);
    module_add_ref();
    *result = &manager->IHostMemoryManager_iface;
    return S_OK;

no_views:
    virtual_memory_destroy(&manager->memory);
no_memory:
    os->table_release(os, manager);
no_manager:
    *result = NULL;
    return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
}
