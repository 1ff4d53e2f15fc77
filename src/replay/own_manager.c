/* SPDX-License-Identifier: MIT
 *
 * Managers for comparison. One passes everything on to Win32. The other keeps a list besides, the
 * way it is mostly done: one linked list of whatever is allocated, the newest first, one lock that is
 * held over the call to Windows, and a walk along the list for each address that comes in.
 */
#include <assert.h>
#include <corerror.h>
#include <stdlib.h>

#include "replay/target.h"

/* A region or a block of a heap. */
struct item {
    struct item *next;
    BYTE *base;
    SIZE_T size;
    SIZE_T committed; /* bytes that were ever asked for, which is what such managers count */
    HANDLE heap;      /* NULL: a region */
};

struct own_manager {
    IHostMemoryManager IHostMemoryManager_iface;
    LONG refs; /* Interlocked only */
    bool with_list;
    CRITICAL_SECTION lock;
    struct item *items; /* guarded by lock */
    SIZE_T committed;   /* guarded by lock */
};

struct own_heap {
    IHostMalloc IHostMalloc_iface;
    LONG refs; /* Interlocked only */
    struct own_manager *manager;
    HANDLE heap;
};

static const IHostMemoryManagerVtbl own_manager_vtbl;
static const IHostMallocVtbl own_heap_vtbl;

static inline struct own_manager *impl_from_IHostMemoryManager(IHostMemoryManager *iface)
{
    assert(iface->lpVtbl == &own_manager_vtbl);
    return CONTAINING_RECORD(iface, struct own_manager, IHostMemoryManager_iface);
}

static inline struct own_heap *impl_from_IHostMalloc(IHostMalloc *iface)
{
    assert(iface->lpVtbl == &own_heap_vtbl);
    return CONTAINING_RECORD(iface, struct own_heap, IHostMalloc_iface);
}

/* ---- The list ---- */

static void enter(struct own_manager *manager)
{
    if (manager->with_list) {
        EnterCriticalSection(&manager->lock);
    }
}

static void leave(struct own_manager *manager)
{
    if (manager->with_list) {
        LeaveCriticalSection(&manager->lock);
    }
}

/* Where the item with `address` in it hangs; it hangs nowhere if that holds NULL. */
static struct item **find_locked(struct own_manager *manager, HANDLE heap, const void *address)
{
    struct item **place = &manager->items;
    while (*place != NULL && ((*place)->heap != heap ||
                              (SIZE_T)((const BYTE *)address - (*place)->base) >= (*place)->size)) {
        place = &(*place)->next;
    }
    return place;
}

static bool add_locked(struct own_manager *manager, HANDLE heap, void *base, SIZE_T size)
{
    struct item *item = malloc(sizeof(*item));
    if (item == NULL) {
        return false;
    }
    *item = (struct item){manager->items, base, size + (size == 0), 0, heap};
    manager->items = item;
    return true;
}

static void remove_locked(struct own_manager *manager, struct item **place)
{
    struct item *item = *place;
    *place = item->next;
    manager->committed -= item->committed;
    free(item);
}

static HRESULT result(BOOL success)
{
    return success ? S_OK : HRESULT_FROM_WIN32(GetLastError());
}

/* ---- Heaps ---- */

static HRESULT STDMETHODCALLTYPE own_heap_QueryInterface(IHostMalloc *iface, REFIID iid,
                                                         void **object)
{
    bool known = IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMalloc);
    *object = known ? iface : NULL;
    if (known) {
        IHostMalloc_AddRef(iface);
    }
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE own_heap_AddRef(IHostMalloc *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMalloc(iface)->refs);
}

static void forget_heap(struct own_manager *manager, HANDLE heap)
{
    enter(manager);
    for (struct item **place = &manager->items; *place != NULL;) {
        if ((*place)->heap == heap) {
            remove_locked(manager, place);
        } else {
            place = &(*place)->next;
        }
    }
    leave(manager);
}

static ULONG STDMETHODCALLTYPE own_heap_Release(IHostMalloc *iface)
{
    struct own_heap *heap = impl_from_IHostMalloc(iface);
    LONG refs = InterlockedDecrement(&heap->refs);
    if (refs == 0) {
        forget_heap(heap->manager, heap->heap);
        HeapDestroy(heap->heap);
        IHostMemoryManager_Release(&heap->manager->IHostMemoryManager_iface);
        free(heap);
    }
    return (ULONG)refs;
}

static HRESULT STDMETHODCALLTYPE own_heap_Alloc(IHostMalloc *iface, SIZE_T size,
                                                EMemoryCriticalLevel level, void **memory)
{
    struct own_heap *heap = impl_from_IHostMalloc(iface);
    struct own_manager *manager = heap->manager;
    (void)level;
    enter(manager);
    *memory = HeapAlloc(heap->heap, 0, size);
    if (*memory != NULL && manager->with_list && !add_locked(manager, heap->heap, *memory, size)) {
        HeapFree(heap->heap, 0, *memory);
        *memory = NULL;
    }
    leave(manager);
    return *memory != NULL ? S_OK : E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE own_heap_DebugAlloc(IHostMalloc *iface, SIZE_T size,
                                                     EMemoryCriticalLevel level, char *file,
                                                     int line, void **memory)
{
    (void)file;
    (void)line;
    return own_heap_Alloc(iface, size, level, memory);
}

static HRESULT STDMETHODCALLTYPE own_heap_Free(IHostMalloc *iface, void *memory)
{
    struct own_heap *heap = impl_from_IHostMalloc(iface);
    struct own_manager *manager = heap->manager;
    HRESULT hr = S_OK;
    if (memory == NULL) {
        return S_OK;
    }
    enter(manager);
    if (manager->with_list) {
        struct item **place = find_locked(manager, heap->heap, memory);
        if (*place != NULL && (*place)->base == memory) {
            remove_locked(manager, place);
        } else {
            hr = HOST_E_INVALIDOPERATION;
        }
    }
    if (hr == S_OK) {
        hr = result(HeapFree(heap->heap, 0, memory));
    }
    leave(manager);
    return hr;
}

static const IHostMallocVtbl own_heap_vtbl = {
    .QueryInterface = own_heap_QueryInterface,
    .AddRef = own_heap_AddRef,
    .Release = own_heap_Release,
    .Alloc = own_heap_Alloc,
    .DebugAlloc = own_heap_DebugAlloc,
    .Free = own_heap_Free,
};

/* ---- The manager ---- */

static HRESULT STDMETHODCALLTYPE own_manager_QueryInterface(IHostMemoryManager *iface, REFIID iid,
                                                            void **object)
{
    bool known = IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMemoryManager);
    *object = known ? iface : NULL;
    if (known) {
        IHostMemoryManager_AddRef(iface);
    }
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE own_manager_AddRef(IHostMemoryManager *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMemoryManager(iface)->refs);
}

static ULONG STDMETHODCALLTYPE own_manager_Release(IHostMemoryManager *iface)
{
    struct own_manager *manager = impl_from_IHostMemoryManager(iface);
    LONG refs = InterlockedDecrement(&manager->refs);
    if (refs == 0) {
        while (manager->items != NULL) {
            remove_locked(manager, &manager->items);
        }
        DeleteCriticalSection(&manager->lock);
        free(manager);
    }
    return (ULONG)refs;
}

static HRESULT STDMETHODCALLTYPE own_manager_CreateMalloc(IHostMemoryManager *iface, DWORD type,
                                                          IHostMalloc **malloc)
{
    struct own_heap *heap = calloc(1, sizeof(*heap));
    *malloc = NULL;
    if (heap == NULL) {
        return E_OUTOFMEMORY;
    }
    heap->heap = HeapCreate(((type & MALLOC_THREADSAFE) != 0 ? 0 : HEAP_NO_SERIALIZE) |
                                ((type & MALLOC_EXECUTABLE) != 0 ? HEAP_CREATE_ENABLE_EXECUTE : 0),
                            0, 0);
    if (heap->heap == NULL) {
        free(heap);
        return E_OUTOFMEMORY;
    }
    heap->IHostMalloc_iface.lpVtbl = &own_heap_vtbl;
    heap->refs = 1;
    heap->manager = impl_from_IHostMemoryManager(iface);
    IHostMemoryManager_AddRef(iface);
    *malloc = &heap->IHostMalloc_iface;
    return S_OK;
}

/* A reservation is a new item; a commit is added to the region that it lies in. */
static bool note_allocation_locked(struct own_manager *manager, const void *address, SIZE_T size,
                                   DWORD type, void *memory)
{
    if ((type & MEM_RESERVE) != 0 || address == NULL) {
        if (!add_locked(manager, NULL, memory, size)) {
            return false;
        }
    }
    if ((type & MEM_COMMIT) != 0) {
        struct item *region = *find_locked(manager, NULL, memory);
        if (region != NULL) {
            region->committed += size;
            manager->committed += size;
        }
    }
    return true;
}

static HRESULT STDMETHODCALLTYPE own_manager_VirtualAlloc(IHostMemoryManager *iface, void *address,
                                                          SIZE_T size, DWORD type, DWORD protect,
                                                          EMemoryCriticalLevel level, void **memory)
{
    struct own_manager *manager = impl_from_IHostMemoryManager(iface);
    (void)level;
    enter(manager);
    *memory = VirtualAlloc(address, size, type, protect);
    HRESULT hr = result(*memory != NULL);
    if (hr == S_OK && manager->with_list &&
        !note_allocation_locked(manager, address, size, type, *memory)) {
        VirtualFree(*memory, 0, MEM_RELEASE);
        *memory = NULL;
        hr = E_OUTOFMEMORY;
    }
    leave(manager);
    return hr;
}

static HRESULT STDMETHODCALLTYPE own_manager_VirtualFree(IHostMemoryManager *iface, void *address,
                                                         SIZE_T size, DWORD type)
{
    struct own_manager *manager = impl_from_IHostMemoryManager(iface);
    enter(manager);
    struct item **place = manager->with_list ? find_locked(manager, NULL, address) : NULL;
    HRESULT hr = place != NULL && *place == NULL ? HOST_E_INVALIDOPERATION
                                                 : result(VirtualFree(address, size, type));
    if (hr == S_OK && place != NULL) {
        if ((type & MEM_RELEASE) != 0) {
            remove_locked(manager, place);
        } else {
            SIZE_T less = size < (*place)->committed ? size : (*place)->committed;
            (*place)->committed -= less;
            manager->committed -= less;
        }
    }
    leave(manager);
    return hr;
}

static HRESULT STDMETHODCALLTYPE own_manager_VirtualQuery(IHostMemoryManager *iface, void *address,
                                                          void *buffer, SIZE_T length,
                                                          SIZE_T *written)
{
    (void)iface;
    *written = VirtualQuery(address, buffer, length);
    return result(*written != 0);
}

static HRESULT STDMETHODCALLTYPE own_manager_VirtualProtect(IHostMemoryManager *iface,
                                                            void *address, SIZE_T size,
                                                            DWORD protect, DWORD *old)
{
    (void)iface;
    return result(VirtualProtect(address, size, protect, old));
}

static HRESULT STDMETHODCALLTYPE own_manager_GetMemoryLoad(IHostMemoryManager *iface, DWORD *load,
                                                           SIZE_T *available)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof(status)};
    (void)iface;
    if (!GlobalMemoryStatusEx(&status)) {
        return result(FALSE);
    }
    *load = status.dwMemoryLoad;
    *available = (SIZE_T)status.ullAvailPhys;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE own_manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *iface, ICLRMemoryNotificationCallback *callback)
{
    (void)iface;
    (void)callback;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE own_manager_NeedsVirtualAddressSpace(IHostMemoryManager *iface,
                                                                      void *address, SIZE_T size)
{
    (void)iface;
    (void)address;
    (void)size;
    return E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE own_manager_AcquiredVirtualAddressSpace(IHostMemoryManager *iface,
                                                                         void *address, SIZE_T size)
{
    (void)iface;
    (void)address;
    (void)size;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE own_manager_ReleasedVirtualAddressSpace(IHostMemoryManager *iface,
                                                                         void *address)
{
    (void)iface;
    (void)address;
    return S_OK;
}

static const IHostMemoryManagerVtbl own_manager_vtbl = {
    .QueryInterface = own_manager_QueryInterface,
    .AddRef = own_manager_AddRef,
    .Release = own_manager_Release,
    .CreateMalloc = own_manager_CreateMalloc,
    .VirtualAlloc = own_manager_VirtualAlloc,
    .VirtualFree = own_manager_VirtualFree,
    .VirtualQuery = own_manager_VirtualQuery,
    .VirtualProtect = own_manager_VirtualProtect,
    .GetMemoryLoad = own_manager_GetMemoryLoad,
    .RegisterMemoryNotificationCallback = own_manager_RegisterMemoryNotificationCallback,
    .NeedsVirtualAddressSpace = own_manager_NeedsVirtualAddressSpace,
    .AcquiredVirtualAddressSpace = own_manager_AcquiredVirtualAddressSpace,
    .ReleasedVirtualAddressSpace = own_manager_ReleasedVirtualAddressSpace,
};

HRESULT own_manager_create(bool with_list, IHostMemoryManager **result_manager)
{
    struct own_manager *manager = calloc(1, sizeof(*manager));
    if (manager == NULL) {
        return E_OUTOFMEMORY;
    }
    manager->IHostMemoryManager_iface.lpVtbl = &own_manager_vtbl;
    manager->refs = 1;
    manager->with_list = with_list;
    InitializeCriticalSection(&manager->lock);
    *result_manager = &manager->IHostMemoryManager_iface;
    return S_OK;
}
