/* SPDX-License-Identifier: MIT
 *
 * See wrong_manager.h: the methods of IHostMemoryManager, each with what is done wrong in it.
 */
#include "framework/wrong_private.h"

#include <stdlib.h>

static struct wrong_manager *current;
static enum fault chosen;

static const IHostMemoryManagerVtbl wrong_manager_vtbl;

static struct wrong_manager *impl_from_IHostMemoryManager(IHostMemoryManager *iface)
{
    return CONTAINING_RECORD(iface, struct wrong_manager, IHostMemoryManager_iface);
}

/* ---- what the faults need ---- */

HRESULT wrong_refuse(void **result)
{
    *result = NULL;
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    return E_OUTOFMEMORY;
}

static HRESULT refuse_address(void)
{
    SetLastError(ERROR_INVALID_ADDRESS);
    return HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS);
}

bool wrong_lock(struct wrong_manager *manager)
{
    DWORD patience = manager->lock_owner == GetCurrentThreadId() ? 10000 : 200;
    if (manager->fault == QUERIES_UNDER_LOCK || manager->fault == WAITS_FOR_THE_DEAD) {
        AcquireSRWLockExclusive(&manager->lock);
        return true;
    }
    for (ULONGLONG start = GetTickCount64(); !TryAcquireSRWLockExclusive(&manager->lock);) {
        if (GetTickCount64() - start > patience) {
            return false;
        }
        Sleep(1);
    }
    manager->lock_owner = GetCurrentThreadId();
    return true;
}

void wrong_unlock(struct wrong_manager *manager, bool taken)
{
    if (taken) {
        manager->lock_owner = 0;
        ReleaseSRWLockExclusive(&manager->lock);
    }
}

static MEMORY_BASIC_INFORMATION memory_at(const void *address)
{
    MEMORY_BASIC_INFORMATION info = {0};
    DWORD last_error = GetLastError();
    VirtualQuery(address, &info, sizeof(info));
    SetLastError(last_error);
    return info;
}

static bool is_limited(struct wrong_manager *manager)
{
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    IHostMemoryLimits_GetLimits(manager->limits, &limits);
    return limits.CommitLimit != 0;
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE wrong_manager_QueryInterface(IHostMemoryManager *iface, REFIID iid,
                                                              void **object)
{
    return IHostMemoryManager_QueryInterface(impl_from_IHostMemoryManager(iface)->real, iid,
                                             object);
}

static ULONG STDMETHODCALLTYPE wrong_manager_AddRef(IHostMemoryManager *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMemoryManager(iface)->refs);
}

static ULONG STDMETHODCALLTYPE wrong_manager_Release(IHostMemoryManager *iface)
{
    return (ULONG)InterlockedDecrement(&impl_from_IHostMemoryManager(iface)->refs);
}

/* ---- IHostMemoryManager ---- */

static HRESULT STDMETHODCALLTYPE wrong_manager_CreateMalloc(IHostMemoryManager *iface, DWORD type,
                                                            IHostMalloc **heap)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    if (manager->fault == FAILS_CREATE_MALLOC || manager->fault == LEAVES_HEAP_ON_FAILURE) {
        void *nothing;
        HRESULT hr = wrong_refuse(&nothing);
        *heap = manager->fault == FAILS_CREATE_MALLOC ? NULL : *heap;
        return hr;
    }
    HRESULT hr = IHostMemoryManager_CreateMalloc(manager->real, type, &manager->real_heap);
    manager->heap_owner = GetCurrentThreadId();
    *heap = &manager->IHostMalloc_iface;
    return hr;
}

/* A request that is refused, though it should not be. */
static bool refuses(struct wrong_manager *manager, void *address, DWORD type,
                    EMemoryCriticalLevel level)
{
    bool commits = (type & MEM_COMMIT) != 0;
    switch (manager->fault) {
    case REFUSES_FOREIGN_COMMIT:
        return commits && memory_at(address).Type == MEM_MAPPED;
    case REFUSES_CRITICAL:
        return commits && level == eProcessCritical && memory_at(address).Type != MEM_MAPPED;
    case REFUSES_COMMIT_WITHOUT_ADDRESS:
        return type == MEM_COMMIT && address == NULL;
    case CHARGES_TWICE:
        return commits && address != NULL && memory_at(address).State == MEM_COMMIT &&
               is_limited(manager);
    case REFUSES_RESET:
        return type == MEM_RESET && is_limited(manager);
    case CHARGES_RESERVES:
        return type == MEM_RESERVE && is_limited(manager);
    default:
        return false;
    }
}

/* A request that is granted in another way than it was made. */
static HRESULT grant(struct wrong_manager *manager, void *address, SIZE_T size, DWORD type,
                     DWORD protect, EMemoryCriticalLevel level, void **memory)
{
    bool new_region = address == NULL && (type & MEM_RESERVE) != 0 && size <= MIB;
    SIZE_T offset = 0;
    if (manager->fault == HANDS_OUT_PARTS && new_region) {
        size += offset = GRANULARITY;
    } else if (manager->fault == RESERVES_MORE && new_region) {
        size += GRANULARITY;
    } else if (manager->fault == COMMITS_AT_ONCE && new_region) {
        type |= MEM_COMMIT;
    } else if (manager->fault == DROPS_WRITE_WATCH) {
        type &= ~(DWORD)MEM_WRITE_WATCH;
    } else if (manager->fault == CHANGES_PROTECTION && protect == PAGE_EXECUTE_READWRITE) {
        protect = PAGE_READWRITE;
    } else if (manager->fault == MOVES_REQUESTS && (type & MEM_RESERVE) != 0) {
        address = NULL;
    }
    HRESULT hr =
        IHostMemoryManager_VirtualAlloc(manager->real, address, size, type, protect, level, memory);
    *memory = *memory != NULL ? (char *)*memory + offset : NULL;
    if (manager->fault == GIVES_DIRTY_PAGES && hr == S_OK && type == MEM_COMMIT) {
        ((char *)*memory)[100] = 1;
    }
    return hr;
}

/* What comes back is wrong. */
static HRESULT answer(struct wrong_manager *manager, HRESULT hr, void *memory, void **result)
{
    enum fault fault = manager->fault;
    bool leaves = hr == S_OK ? fault == GIVES_MEMORY_UNWRITTEN : fault == LEAVES_POINTER_ON_FAILURE;
    if (!leaves) {
        *result = fault == GIVES_NULL ? NULL : memory;
    }
    if (hr == S_OK && fault == CHANGES_LAST_ERROR) {
        SetLastError(ERROR_FILE_NOT_FOUND);
    } else if (fault == (hr == S_OK ? CLEARS_LAST_ERROR : FAILS_WITHOUT_LAST_ERROR)) {
        SetLastError(0);
    }
    if (fault == (hr == S_OK ? GIVES_S_FALSE : FAILS_WITH_E_FAIL)) {
        return hr == S_OK ? S_FALSE : E_FAIL;
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_manager_VirtualAlloc(IHostMemoryManager *iface,
                                                            void *address, SIZE_T size, DWORD type,
                                                            DWORD protect,
                                                            EMemoryCriticalLevel level,
                                                            void **result)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    void *memory = NULL;
    bool locks = manager->fault == QUERIES_UNDER_LOCK || manager->fault == NOTIFIES_UNDER_LOCK;
    if (refuses(manager, address, type, level)) {
        return wrong_refuse(result);
    }
    if (manager->fault == NOTIFIES_FROM_ALLOC) {
        ICLRMemoryNotificationCallback_OnMemoryNotification(manager->real_callback,
                                                            eMemoryAvailableNeutral);
    }
    bool taken = locks && wrong_lock(manager);
    HRESULT hr = grant(manager, address, size, type, protect, level, &memory);
    if (taken && manager->fault != NOTIFIES_UNDER_LOCK && protect == PAGE_EXECUTE_READWRITE) {
        Sleep(2); /* whoever is stopped is most likely here */
    }
    wrong_unlock(manager, taken);
    return answer(manager, hr, memory, result);
}

static HRESULT STDMETHODCALLTYPE wrong_manager_VirtualFree(IHostMemoryManager *iface,
                                                           LPVOID address, SIZE_T size, DWORD type)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    if (manager->fault == DECOMMITS_NOTHING && type == MEM_DECOMMIT) {
        return S_OK;
    }
    if (manager->fault == RELEASES_NOTHING && type == MEM_RELEASE) {
        return S_OK;
    }
    if (manager->fault == FREES_FOREIGN_MEMORY && memory_at(address).Type == MEM_IMAGE) {
        return S_OK;
    }
    if (manager->fault == REFUSES_UNCOMMITTED && type == MEM_DECOMMIT &&
        memory_at((char *)address + size - 1).State != MEM_COMMIT) {
        return refuse_address();
    }
    bool taken = manager->fault == WAITS_FOR_THE_DEAD && type == MEM_RELEASE && wrong_lock(manager);
    HRESULT hr = IHostMemoryManager_VirtualFree(manager->real, address, size, type);
    wrong_unlock(manager, taken);
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_manager_VirtualQuery(IHostMemoryManager *iface,
                                                            void *address, void *buffer,
                                                            SIZE_T length, SIZE_T *result)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    MEMORY_BASIC_INFORMATION *info = buffer;
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    SIZE_T written = 0;
    if (manager->fault == REFUSES_FOREIGN_QUERY && address < tib->StackBase &&
        address >= tib->StackLimit) {
        *result = 0;
        return refuse_address();
    }
    bool taken = manager->fault == QUERIES_UNDER_LOCK && wrong_lock(manager);
    HRESULT hr = IHostMemoryManager_VirtualQuery(manager->real, address, buffer, length, &written);
    wrong_unlock(manager, taken);
    if (manager->fault != (hr == S_OK ? LEAVES_RESULT_OF_QUERY : LEAVES_RESULT_OF_FAILED_QUERY)) {
        *result = written;
    }
    if (manager->fault == LIES_ABOUT_FREE_SPACE && hr == S_OK && info->State == MEM_FREE) {
        info->State = MEM_RESERVE;
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_manager_VirtualProtect(IHostMemoryManager *iface,
                                                              void *address, SIZE_T size,
                                                              DWORD protect, DWORD *old)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD truth = 0;
    if (manager->fault == REFUSES_FOREIGN_PROTECT && memory_at(address).Type == MEM_IMAGE) {
        return refuse_address();
    }
    if (manager->fault == THROWS) {
        RaiseException(0xe0000001, 0, 0, NULL);
    }
    HRESULT hr = IHostMemoryManager_VirtualProtect(manager->real, address, size, protect, &truth);
    if (hr == S_OK && manager->fault != LEAVES_OLD_PROTECTION) {
        *old = manager->fault == INVENTS_OLD_PROTECTION ? PAGE_READWRITE : truth;
    } else if (hr != S_OK && manager->fault == CLEARS_OLD_PROTECTION) {
        *old = 0;
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_manager_GetMemoryLoad(IHostMemoryManager *iface, DWORD *load,
                                                             SIZE_T *available)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    DWORD percent;
    HRESULT hr = IHostMemoryManager_GetMemoryLoad(manager->real, &percent, available);
    if (manager->fault != LEAVES_LOAD) {
        *load = manager->fault == IMPOSSIBLE_LOAD ? 101 : percent;
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE wrong_manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *iface, ICLRMemoryNotificationCallback *callback)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    manager->real_callback = callback;
    if (manager->fault == IS_UNLOADED) {
        return S_OK; /* hostmem.dll pins itself when it is given one */
    }
    if (manager->fault == NOTIFIES_AT_ONCE) {
        ICLRMemoryNotificationCallback_OnMemoryNotification(callback, eMemoryAvailableNeutral);
    }
    return IHostMemoryManager_RegisterMemoryNotificationCallback(manager->real, &manager->callback);
}

static HRESULT STDMETHODCALLTYPE wrong_manager_NeedsVirtualAddressSpace(IHostMemoryManager *iface,
                                                                        LPVOID address, SIZE_T size)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    HRESULT hr = IHostMemoryManager_NeedsVirtualAddressSpace(manager->real, address, size);
    if (manager->fault == LOSES_ERROR_OF_MAPPING) {
        SetLastError(0);
    }
    return manager->fault == PRETENDS_ADDRESS_SPACE ? S_OK : hr;
}

static HRESULT STDMETHODCALLTYPE
wrong_manager_AcquiredVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address, SIZE_T size)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    if (manager->fault == FORGETS_SIZE_ZERO && size == 0) {
        return S_OK;
    }
    return IHostMemoryManager_AcquiredVirtualAddressSpace(manager->real, address, size);
}

static HRESULT STDMETHODCALLTYPE
wrong_manager_ReleasedVirtualAddressSpace(IHostMemoryManager *iface, LPVOID address)
{
    struct wrong_manager *manager = impl_from_IHostMemoryManager(iface);
    return IHostMemoryManager_ReleasedVirtualAddressSpace(manager->real, address);
}

static const IHostMemoryManagerVtbl wrong_manager_vtbl = {
    .QueryInterface = wrong_manager_QueryInterface,
    .AddRef = wrong_manager_AddRef,
    .Release = wrong_manager_Release,
    .CreateMalloc = wrong_manager_CreateMalloc,
    .VirtualAlloc = wrong_manager_VirtualAlloc,
    .VirtualFree = wrong_manager_VirtualFree,
    .VirtualQuery = wrong_manager_VirtualQuery,
    .VirtualProtect = wrong_manager_VirtualProtect,
    .GetMemoryLoad = wrong_manager_GetMemoryLoad,
    .RegisterMemoryNotificationCallback = wrong_manager_RegisterMemoryNotificationCallback,
    .NeedsVirtualAddressSpace = wrong_manager_NeedsVirtualAddressSpace,
    .AcquiredVirtualAddressSpace = wrong_manager_AcquiredVirtualAddressSpace,
    .ReleasedVirtualAddressSpace = wrong_manager_ReleasedVirtualAddressSpace,
};

/* ---- create ---- */

void wrong_choose(enum fault fault)
{
    chosen = fault;
}

static IHostMemoryManager *disguise_manager(IHostMemoryManager *real)
{
    struct wrong_manager *manager = calloc(1, sizeof(*manager)); /* lives as long as the process */
    manager->IHostMemoryManager_iface.lpVtbl = &wrong_manager_vtbl;
    manager->IHostMalloc_iface.lpVtbl = &wrong_malloc_vtbl;
    manager->callback.lpVtbl = &wrong_callback_vtbl;
    manager->IHostControl_iface.lpVtbl = &wrong_control_vtbl;
    manager->refs = 1;
    manager->control_refs = 1;
    manager->fault = chosen;
    manager->real = real;
    IHostMemoryManager_QueryInterface(real, &IID_IHostMemoryLimits, (void **)&manager->limits);
    IHostMemoryManager_QueryInterface(real, &IID_IHostRuntimeLifetime, (void **)&manager->lifetime);
    current = manager;
    return &manager->IHostMemoryManager_iface;
}

static IHostControl *disguise_control(IHostControl *real)
{
    current->real_control = real;
    return &current->IHostControl_iface;
}

const struct disguise wrong_disguise = {disguise_manager, disguise_control};
