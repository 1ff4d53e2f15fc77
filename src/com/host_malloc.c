/* SPDX-License-Identifier: MIT
 *
 * IHostMalloc, behind the CLR's operator new: the COM object around a heap of the core (heap.h). It
 * checks arguments, clears out-parameters, and maps errors; damage goes to the debugger as a line of
 * text, and is E_FAIL once, after which the manager is unavailable.
 *
 * The heap counts the blocks that it has given out and taken back, and so the calls that succeed; the
 * others are counted here.
 */
#include "com/com_private.h"

struct host_malloc {
    IHostMalloc IHostMalloc_iface;
    IHostMallocBlocks IHostMallocBlocks_iface;
    struct agile agile;
    LONG refs;                           /* Interlocked only */
    struct host_memory_manager *manager; /* owned */
    struct heap heap;
};

static const IHostMallocVtbl host_malloc_vtbl;
static const IHostMallocBlocksVtbl host_malloc_blocks_vtbl;

static inline struct host_malloc *impl_from_IHostMalloc(IHostMalloc *iface)
{
    assert(iface->lpVtbl == &host_malloc_vtbl);
    return CONTAINING_RECORD(iface, struct host_malloc, IHostMalloc_iface);
}

static inline struct host_malloc *impl_from_IHostMallocBlocks(IHostMallocBlocks *iface)
{
    assert(iface->lpVtbl == &host_malloc_blocks_vtbl);
    return CONTAINING_RECORD(iface, struct host_malloc, IHostMallocBlocks_iface);
}

static size_t object_bytes(const struct os *os)
{
    return (sizeof(struct host_malloc) + os->page_size - 1) & ~(os->page_size - 1);
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE host_malloc_QueryInterface(IHostMalloc *iface, REFIID iid,
                                                            void **object)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    if (object == NULL) {
        return E_POINTER;
    }
    if (IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMalloc)) {
        *object = &malloc->IHostMalloc_iface;
    } else if (IsEqualIID(iid, &IID_IHostMallocBlocks)) {
        *object = &malloc->IHostMallocBlocks_iface;
    } else {
        return agile_query_interface(&malloc->agile, (IUnknown *)iface, iid, object);
    }
    IHostMalloc_AddRef(iface);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE host_malloc_AddRef(IHostMalloc *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMalloc(iface)->refs);
}

/* Blocks that are still alive go with their heap. */
static void destroy(struct host_malloc *malloc)
{
    struct host_memory_manager *manager = malloc->manager;
    os_error error = heap_destroy(&malloc->heap);
    if (error != OS_OK) {
        host_memory_manager_result(manager, error, HEAP_IS_BROKEN);
    }
    agile_destroy(&malloc->agile);
    table_memory_release(&manager->memory.table_memory, malloc, object_bytes(manager->os));
    IHostMemoryManager_Release(&manager->IHostMemoryManager_iface);
}

static ULONG STDMETHODCALLTYPE host_malloc_Release(IHostMalloc *iface)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    LONG refs = InterlockedDecrement(&malloc->refs);
    if (refs == 0) {
        destroy(malloc);
    }
    return (ULONG)refs;
}

/* ---- IHostMalloc ---- */

static os_error allocate(struct host_malloc *malloc, struct request *request, size_t size,
                         uint32_t site, EMemoryCriticalLevel level, void **memory)
{
    os_error error = request_begin(request, malloc->manager, level, FAULT_BLOCK, size);
    if (error == OS_OK) {
        do {
            error = heap_alloc(&malloc->heap, size, site, request->level, memory);
        } while (request_again(request, &error));
    }
    return error;
}

static HRESULT STDMETHODCALLTYPE host_malloc_Alloc(IHostMalloc *iface, SIZE_T size,
                                                   EMemoryCriticalLevel level, void **memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    struct host_memory_manager *manager = malloc->manager;
    struct request request;
    if (memory == NULL) {
        count_call(manager, METHOD_ALLOC);
        return E_POINTER;
    }
    *memory = NULL;
    if (is_unavailable(manager)) {
        count_call(manager, METHOD_ALLOC);
        return hresult_from_error(HM_UNAVAILABLE);
    }
    os_error error = allocate(malloc, &request, size, 0, level, memory);
    if (error != OS_OK) {
        count_call(manager, METHOD_ALLOC);
    }
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_malloc_DebugAlloc(IHostMalloc *iface, SIZE_T size,
                                                        EMemoryCriticalLevel level, char *file,
                                                        int line, void **memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    struct host_memory_manager *manager = malloc->manager;
    struct request request;
    count_call(manager, METHOD_DEBUG_ALLOC);
    if (memory == NULL) {
        return E_POINTER;
    }
    *memory = NULL;
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    DWORD last_error = GetLastError();
    uint32_t site = site_table_get(&manager->sites, file, (UINT64)line);
    SetLastError(last_error); /* no room for the site is no failure */
    os_error error = allocate(malloc, &request, size, site, level, memory);
    if (error == OS_OK) {
        atomic_fetch_add_explicit(&manager->debug_blocks, 1, memory_order_relaxed);
    }
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_malloc_Free(IHostMalloc *iface, void *memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    struct host_memory_manager *manager = malloc->manager;
    os_error error = HM_UNAVAILABLE;
    if (!is_unavailable(manager)) {
        error = heap_free(&malloc->heap, memory);
        if (error == OS_OK) {
            request_room_was_made(manager);
            return S_OK;
        }
        /* The CLR's HeapFree of NULL comes here and wants a success. */
        error = memory != NULL ? error : OS_OK;
    }
    count_call(manager, METHOD_FREE);
    if (error == HM_FOREIGN) {
        atomic_fetch_add_explicit(&manager->foreign_free, 1, memory_order_relaxed);
    }
    return host_memory_manager_result(manager, error, HEAP_IS_BROKEN);
}

static const IHostMallocVtbl host_malloc_vtbl = {
    /* IUnknown */
    .QueryInterface = host_malloc_QueryInterface,
    .AddRef = host_malloc_AddRef,
    .Release = host_malloc_Release,
    /* IHostMalloc */
    .Alloc = host_malloc_Alloc,
    .DebugAlloc = host_malloc_DebugAlloc,
    .Free = host_malloc_Free,
};

_Static_assert(sizeof(IHostMallocVtbl) == 6 * sizeof(void *), "a slot is missing");

/* ---- IHostMallocBlocks, same object ---- */

static HRESULT STDMETHODCALLTYPE host_malloc_blocks_QueryInterface(IHostMallocBlocks *iface,
                                                                   REFIID iid, void **object)
{
    return IHostMalloc_QueryInterface(&impl_from_IHostMallocBlocks(iface)->IHostMalloc_iface, iid,
                                      object);
}

static ULONG STDMETHODCALLTYPE host_malloc_blocks_AddRef(IHostMallocBlocks *iface)
{
    return IHostMalloc_AddRef(&impl_from_IHostMallocBlocks(iface)->IHostMalloc_iface);
}

static ULONG STDMETHODCALLTYPE host_malloc_blocks_Release(IHostMallocBlocks *iface)
{
    return IHostMalloc_Release(&impl_from_IHostMallocBlocks(iface)->IHostMalloc_iface);
}

static HRESULT STDMETHODCALLTYPE host_malloc_blocks_GetBlockSize(IHostMallocBlocks *iface,
                                                                 void *memory, SIZE_T *size)
{
    struct host_malloc *malloc = impl_from_IHostMallocBlocks(iface);
    if (size == NULL) {
        return E_POINTER;
    }
    size_t bytes = 0;
    os_error error = heap_block_size(&malloc->heap, memory, &bytes);
    *size = bytes;
    if (error == HM_FOREIGN) {
        return HOST_E_INVALIDOPERATION; /* whoever asks goes on with another heap */
    }
    return host_memory_manager_result(malloc->manager, error, HEAP_IS_BROKEN);
}

static const IHostMallocBlocksVtbl host_malloc_blocks_vtbl = {
    /* IUnknown */
    .QueryInterface = host_malloc_blocks_QueryInterface,
    .AddRef = host_malloc_blocks_AddRef,
    .Release = host_malloc_blocks_Release,
    /* IHostMallocBlocks */
    .GetBlockSize = host_malloc_blocks_GetBlockSize,
};

_Static_assert(sizeof(IHostMallocBlocksVtbl) == 4 * sizeof(void *), "a slot is missing");

/* ---- create ---- */

HRESULT host_malloc_create(struct host_memory_manager *manager, DWORD type, IHostMalloc **result)
{
    struct table_memory *memory = &manager->memory.table_memory;
    struct host_malloc *malloc = table_memory_map(memory, object_bytes(manager->os));
    if (malloc == NULL) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    malloc->IHostMalloc_iface.lpVtbl = &host_malloc_vtbl;
    malloc->IHostMallocBlocks_iface.lpVtbl = &host_malloc_blocks_vtbl;
    malloc->refs = 1;
    malloc->manager = manager;
    os_error error = heap_create(&malloc->heap, &manager->heaps, (type & MALLOC_THREADSAFE) != 0,
                                 (type & MALLOC_EXECUTABLE) != 0);
    if (error != OS_OK) {
        table_memory_release(memory, malloc, object_bytes(manager->os));
        return hresult_from_error(error);
    }
    IHostMemoryManager_AddRef(&manager->IHostMemoryManager_iface);
    *result = &malloc->IHostMalloc_iface;
    return S_OK;
}
