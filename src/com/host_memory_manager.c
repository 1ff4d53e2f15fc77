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

/* Where in the object its interfaces are. */
#define INTERFACE(type)                                                                            \
    {                                                                                              \
        &IID_##type, offsetof(struct host_memory_manager, type##_iface)                            \
    }
static const struct {
    const IID *iid;
    size_t offset;
} interfaces[] = {
    {&IID_IUnknown, offsetof(struct host_memory_manager, IHostMemoryManager_iface)},
    INTERFACE(IHostMemoryManager),
    INTERFACE(IHostMemoryStatistics),
    INTERFACE(IHostMemoryLimits),
    INTERFACE(IHostMemoryPressure),
    INTERFACE(IHostRuntimeLifetime),
    INTERFACE(IHostMemoryFaults),
    INTERFACE(IHostMemoryCharge),
    INTERFACE(IHostMemoryEvents),
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

static void close_events(struct host_memory_manager *manager)
{
    if (manager->room_made != NULL) {
        CloseHandle(manager->room_made);
    }
    if (manager->shut_down != NULL) {
        CloseHandle(manager->shut_down);
    }
}

static void destroy(struct host_memory_manager *manager)
{
    const struct os *os = manager->os; /* the manager lies in table memory of its own */
    if (manager->pressure != NULL) {
        pressure_destroy(manager->pressure);
    }
    agile_destroy(&manager->agile);
    events_destroy(&manager->events);
    close_events(manager);
    cushion_destroy(&manager->cushion);
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
    return host_memory_manager_result(manager, error);
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
    os_error error = memory_load_get(manager->os, &manager->memory.budget, &load);
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

static bool create_events(struct host_memory_manager *manager)
{
    DWORD last_error = GetLastError();
    manager->room_made = CreateEventW(NULL, FALSE, FALSE, NULL);
    manager->shut_down = CreateEventW(NULL, TRUE, FALSE, NULL);
    SetLastError(last_error); /* of a success; the caller names a failure */
    return manager->room_made != NULL && manager->shut_down != NULL;
}

/* Limits, pressure, and the events that a wait for room needs. */
static HRESULT apply_options(struct host_memory_manager *manager, const HOSTMEM_OPTIONS *options)
{
    const HOSTMEM_LIMITS limits = {
        .Size = sizeof(limits),
        .Flags = options->Flags,
        .CommitLimit = options->CommitLimit,
        .ReserveLimit = options->ReserveLimit,
        .EmergencyCommit = options->EmergencyCommit,
    };
    manager->commit_wait_ms = options->CommitWaitMilliseconds;
    manager->pressure = pressure_create(&manager->memory.budget);
    if (manager->pressure == NULL || (manager->commit_wait_ms != 0 && !create_events(manager))) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    return host_memory_limits_set(manager, &limits);
}

/* Fill in a zeroed manager. After a failure destroy has undone what there was. */
static HRESULT initialise(struct host_memory_manager *manager, const struct os *os,
                          const HOSTMEM_OPTIONS *options)
{
    struct table_memory *memory = &manager->memory.table_memory;
    manager->IHostMemoryManager_iface.lpVtbl = &host_memory_manager_vtbl;
    manager->IHostMemoryStatistics_iface.lpVtbl = &host_memory_statistics_vtbl;
    manager->IHostMemoryLimits_iface.lpVtbl = &host_memory_limits_vtbl;
    manager->IHostMemoryPressure_iface.lpVtbl = &host_memory_pressure_vtbl;
    manager->IHostRuntimeLifetime_iface.lpVtbl = &host_runtime_lifetime_vtbl;
    manager->IHostMemoryFaults_iface.lpVtbl = &host_memory_faults_vtbl;
    manager->IHostMemoryCharge_iface.lpVtbl = &host_memory_charge_vtbl;
    manager->IHostMemoryEvents_iface.lpVtbl = &host_memory_events_vtbl;
    manager->refs = 1;
    manager->os = os;
    os_error error = virtual_memory_create(&manager->memory, os);
    if (error != OS_OK) {
        os->table_release(os, manager);
        return hresult_from_error(error);
    }
    module_add_ref();
    site_table_init(&manager->sites, memory);
    error = view_list_create(&manager->views, memory);
    if (error == OS_OK) {
        error = cushion_create(&manager->cushion, os, options->AddressSpaceCushion);
    }
    HRESULT hr = error == OS_OK ? apply_options(manager, options) : hresult_from_error(error);
    if (hr != S_OK) {
        DWORD last_error = GetLastError();
        destroy(manager);
        SetLastError(last_error);
    }
    return hr;
}

HRESULT host_memory_manager_create(const struct os *os, const HOSTMEM_OPTIONS *options,
                                   IHostMemoryManager **result)
{
    size_t bytes = (sizeof(struct host_memory_manager) + os->page_size - 1) & ~(os->page_size - 1);
    struct host_memory_manager *manager = os->table_reserve(os, bytes);
    *result = NULL;
    if (manager == NULL) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    if (!os->table_commit(os, manager, bytes)) {
        os->table_release(os, manager);
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    HRESULT hr = initialise(manager, os, options);
    if (hr == S_OK) {
        usage_add(&manager->memory.table_memory.committed, bytes);
        *result = &manager->IHostMemoryManager_iface;
    }
    return hr;
}
