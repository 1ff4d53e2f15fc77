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

static inline struct host_memory_manager *impl_from_IHostMemoryManager(IHostMemoryManager *iface)
{
    assert(iface->lpVtbl == &host_memory_manager_vtbl);
    return CONTAINING_RECORD(iface, struct host_memory_manager, IHostMemoryManager_iface);
}

/* ---- IUnknown ---- */

/* Where in the object its interfaces are. */
#define AT(type) offsetof(struct host_memory_manager, type##_iface)
static const struct {
    const IID *iid;
    size_t offset;
} interfaces[] = {
    {&IID_IUnknown, AT(IHostMemoryManager)},
    {&IID_IHostMemoryManager, AT(IHostMemoryManager)},
    {&IID_IHostMemoryStatistics, AT(IHostMemoryStatistics)},
    {&IID_IHostMemoryLimits, AT(IHostMemoryLimits)},
    {&IID_IHostMemoryPressure, AT(IHostMemoryPressure)},
    {&IID_IHostRuntimeLifetime, AT(IHostRuntimeLifetime)},
    {&IID_IHostMemoryFaults, AT(IHostMemoryFaults)},
    {&IID_IHostMemoryCharge, AT(IHostMemoryCharge)},
    {&IID_IHostMemoryEvents, AT(IHostMemoryEvents)},
};

static HRESULT STDMETHODCALLTYPE host_memory_manager_QueryInterface(IHostMemoryManager *iface,
                                                                    REFIID iid, void **object)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    if (object == NULL) {
        return E_POINTER;
    }
    for (size_t i = 0; i < ARRAYSIZE(interfaces); i++) {
        if (IsEqualIID(iid, interfaces[i].iid)) {
            IHostMemoryManager_AddRef(iface);
            *object = (char *)manager + interfaces[i].offset;
            return S_OK;
        }
    }
    return agile_query_interface(&manager->agile, (IUnknown *)iface, iid, object);
}

static ULONG STDMETHODCALLTYPE host_memory_manager_AddRef(IHostMemoryManager *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    return (ULONG)InterlockedIncrement(&manager->refs);
}

static ULONG STDMETHODCALLTYPE host_memory_manager_Release(IHostMemoryManager *iface)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    LONG refs = InterlockedDecrement(&manager->refs);
    if (refs == 0) {
        host_memory_manager_destroy(manager);
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
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
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
    struct request request;
    uintptr_t result;
    count_call(manager, METHOD_VIRTUAL_ALLOC);
    if (memory == NULL) {
        return hresult_of_failure(HM_NO_RESULT);
    }
    *memory = NULL;
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    /* MEM_RESET and what Win32 will not understand ask for no memory. */
    enum fault_kind kind = (type & (MEM_RESERVE | MEM_COMMIT)) != 0 ? FAULT_PAGES : FAULT_NOTHING;
    os_error error = request_begin(&request, manager, level, kind, size);
    if (error == OS_OK) {
        do {
            error = virtual_memory_alloc(&manager->memory, (uintptr_t)address, size, type, protect,
                                         request.level, &result);
        } while (request_again(&request, &error));
    }
    if (error == OS_OK) {
        *memory = (void *)result;
    }
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualFree(IHostMemoryManager *iface,
                                                                 LPVOID address, SIZE_T size,
                                                                 DWORD type)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_VIRTUAL_FREE);
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    os_error error = virtual_memory_free(&manager->memory, (uintptr_t)address, size, type);
    if (error == HM_FOREIGN) {
        atomic_fetch_add_explicit(&manager->foreign_virtual_free, 1, memory_order_relaxed);
    }
    if (error == OS_OK && (type & MEM_RELEASE) != 0 && cushion_is_short(&manager->cushion)) {
        DWORD last_error = GetLastError();
        cushion_restore(&manager->cushion, GetTickCount64()); /* address space has come back */
        SetLastError(last_error);
    }
    request_room_was_made(manager);
    return host_memory_manager_result(manager, error, RELEASE_IS_BROKEN);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualQuery(IHostMemoryManager *iface,
                                                                  void *address, void *buffer,
                                                                  SIZE_T length, SIZE_T *result)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    size_t written;
    count_call(manager, METHOD_VIRTUAL_QUERY);
    if (result == NULL) {
        return hresult_of_failure(HM_NO_BUFFER);
    }
    *result = 0;
    if (buffer == NULL) {
        return hresult_of_failure(HM_NO_BUFFER);
    }
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    os_error error =
        manager->os->virtual_query(manager->os, (uintptr_t)address, buffer, length, &written);
    if (error == OS_OK) {
        *result = written;
    }
    return hresult_from_error(error);
}

/* *old_protect is written on success only: the CLR passes one variable as new and as old value, and
 * uses it again after a failure. Without it the call fails as in Windows, which wants to write there
 * before it changes anything. */
static HRESULT STDMETHODCALLTYPE host_memory_manager_VirtualProtect(IHostMemoryManager *iface,
                                                                    void *address, SIZE_T size,
                                                                    DWORD protect,
                                                                    DWORD *old_protect)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    uint32_t old;
    count_call(manager, METHOD_VIRTUAL_PROTECT);
    if (old_protect == NULL) {
        return hresult_of_failure(OS_NO_ACCESS);
    }
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
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
    struct memory_load load;
    count_call(manager, METHOD_GET_MEMORY_LOAD);
    if (load_percent == NULL || available == NULL) {
        return E_POINTER;
    }
    *load_percent = 0;
    *available = 0;
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    os_error error = memory_load_get(manager->os, &manager->budget, &load);
    if (error == OS_OK) {
        *load_percent = load.percent;
        /* 32-bit: at most 4 GiB - 1. */
        *available = load.available < SIZE_MAX ? (SIZE_T)load.available : SIZE_MAX;
    }
    return hresult_from_error(error);
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *iface, ICLRMemoryNotificationCallback *callback)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    count_call(manager, METHOD_REGISTER_CALLBACK);
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    if (callback != NULL) {
        module_pin(); /* the CLR does this once, when it takes the manager over for good */
    }
    return pressure_set_callback(manager->pressure, callback);
}

/* The CLR could not map a file and asks whether there is address space now. Any success makes it try
 * again, so it is one only when the cushion gave something back. LastError is of the mapping, here
 * and in the two below: the CLR reads it afterwards. */
static HRESULT STDMETHODCALLTYPE
host_memory_manager_NeedsVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD last_error = GetLastError();
    (void)address;
    count_call(manager, METHOD_NEEDS_ADDRESS_SPACE);
    if (is_unavailable(manager)) {
        return HOST_E_CLRNOTAVAILABLE;
    }
    bool given = cushion_give_up(&manager->cushion, size, GetTickCount64());
    SetLastError(last_error);
    return given ? S_OK : E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE host_memory_manager_AcquiredVirtualAddressSpace(
    IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD last_error = GetLastError();
    count_call(manager, METHOD_ACQUIRED_ADDRESS_SPACE);
    if (is_unavailable(manager)) {
        return HOST_E_CLRNOTAVAILABLE;
    }
    view_list_add(&manager->views, (uintptr_t)address, size);
    SetLastError(last_error);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
host_memory_manager_ReleasedVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD last_error = GetLastError();
    count_call(manager, METHOD_RELEASED_ADDRESS_SPACE);
    if (is_unavailable(manager)) {
        return HOST_E_CLRNOTAVAILABLE;
    }
    view_list_remove(&manager->views, (uintptr_t)address);
    cushion_restore(&manager->cushion, GetTickCount64());
    SetLastError(last_error);
    return S_OK;
}

const IHostMemoryManagerVtbl host_memory_manager_vtbl = {
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
