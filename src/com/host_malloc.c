/* SPDX-License-Identifier: MIT
 *
 * IHostMalloc: a private Win32 heap behind the CLR's operator new.
 *
 * Each block has a header of two pointers (16 bytes on 64-bit, 8 on 32-bit systems), which keeps the
 * alignment the OS heap gives:
 *
 *     heap block ->  | size | site |  the caller's bytes …
 *                                  ^ what Alloc returns; its bit in the block map is set
 *
 * Free trusts nothing: the block map says whether the pointer is a live block of this heap, without
 * looking at the memory, and of two threads that free the same block one is refused. Only then is
 * the header read.
 *
 * Bytes are counted as the heap block's: header and size, rounded up to the alignment.
 */
#include "com/com_private.h"

#include "core/block_map.h"

struct block_header {
    size_t size;             /* as asked for */
    struct alloc_site *site; /* of DebugAlloc, or NULL */
};

_Static_assert(sizeof(struct block_header) == BLOCK_ALIGNMENT, "the header keeps the alignment");

struct host_malloc {
    IHostMalloc IHostMalloc_iface;
    IHostMallocBlocks IHostMallocBlocks_iface;
    LONG refs;                           /* Interlocked only */
    struct host_memory_manager *manager; /* owned */
    void *heap;
    bool thread_safe;
    _Atomic bool entered; /* of a heap that is not thread safe */
    struct block_map blocks;
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

/* ---- accounting ---- */

static size_t charged_bytes(size_t size)
{
    return (sizeof(struct block_header) + size + BLOCK_ALIGNMENT - 1) & ~(BLOCK_ALIGNMENT - 1);
}

static void count_in(struct host_malloc *malloc, const struct block_header *header)
{
    usage_add(&malloc->manager->heap_bytes, charged_bytes(header->size));
    usage_add(&malloc->manager->heap_blocks, 1);
    if (header->site != NULL) {
        usage_add(&header->site->bytes, charged_bytes(header->size));
        usage_add(&header->site->blocks, 1);
    }
}

/* The opposite, and the charge given back. `header` may be a copy: the block can be gone. */
static void count_out(struct host_malloc *malloc, const struct block_header *header)
{
    usage_subtract(&malloc->manager->heap_bytes, charged_bytes(header->size));
    usage_subtract(&malloc->manager->heap_blocks, 1);
    if (header->site != NULL) {
        usage_subtract(&header->site->bytes, charged_bytes(header->size));
        usage_subtract(&header->site->blocks, 1);
    }
    budget_give_back(&malloc->manager->memory.budget, 0, charged_bytes(header->size));
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
        *object = NULL;
        return E_NOINTERFACE;
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
    const struct os *os = manager->os;
    uintptr_t block = 0;
    while ((block = block_map_next(&malloc->blocks, block)) != 0) {
        count_out(malloc, (struct block_header *)block - 1);
        block += BLOCK_ALIGNMENT;
    }
    os->heap_destroy(os, malloc->heap);
    block_map_destroy(&malloc->blocks);
    table_memory_release(&manager->memory.table_memory, malloc, object_bytes(os));
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

/* A heap without MALLOC_THREADSAFE is for one thread at a time; a second one is told so. */
static bool enter(struct host_malloc *malloc)
{
    return malloc->thread_safe ||
           !atomic_exchange_explicit(&malloc->entered, true, memory_order_acquire);
}

static void leave(struct host_malloc *malloc)
{
    if (!malloc->thread_safe) {
        atomic_store_explicit(&malloc->entered, false, memory_order_release);
    }
}

/* A block from the heap, its header filled in. NULL: no memory. */
static struct block_header *take_block(struct host_malloc *malloc, size_t size,
                                       struct alloc_site *site)
{
    const struct os *os = malloc->manager->os;
    struct block_header *header =
        os->heap_alloc(os, malloc->heap, sizeof(struct block_header) + size);
    if (header == NULL) {
        return NULL;
    }
    *header = (struct block_header){.size = size, .site = site};
    if (!block_map_add(&malloc->blocks, (uintptr_t)(header + 1))) {
        os->heap_free(os, malloc->heap, header);
        return NULL;
    }
    return header;
}

/* One attempt: charge, take the block, count it. */
static os_error try_to_allocate(struct host_malloc *malloc, size_t size, struct alloc_site *site,
                                enum budget_level level, void **memory)
{
    struct budget *budget = &malloc->manager->memory.budget;
    if (size > SIZE_MAX - 2 * sizeof(struct block_header)) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    os_error error = budget_take(budget, 0, charged_bytes(size), level);
    if (error != OS_OK) {
        return error;
    }
    struct block_header *header = NULL;
    error = HM_NOT_OWNER;
    if (enter(malloc)) {
        header = take_block(malloc, size, site);
        leave(malloc);
        error = header != NULL ? OS_OK : OS_NOT_ENOUGH_MEMORY;
    }
    if (error != OS_OK) {
        budget_give_back(budget, 0, charged_bytes(size));
        return error;
    }
    count_in(malloc, header);
    *memory = header + 1;
    return OS_OK;
}

static HRESULT allocate(struct host_malloc *malloc, size_t size, struct alloc_site *site,
                        EMemoryCriticalLevel level, void **memory)
{
    struct request request = request_begin(malloc->manager, level);
    os_error error;
    do {
        error = try_to_allocate(malloc, size, site, request.level, memory);
    } while (request_again(&request, &error));
    return request_end(&request, error);
}

static HRESULT STDMETHODCALLTYPE host_malloc_Alloc(IHostMalloc *iface, SIZE_T size,
                                                   EMemoryCriticalLevel level, void **memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    count_call(malloc->manager, METHOD_ALLOC);
    if (memory == NULL) {
        return E_POINTER;
    }
    *memory = NULL;
    if (is_unavailable(malloc->manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    return allocate(malloc, size, NULL, level, memory);
}

static HRESULT STDMETHODCALLTYPE host_malloc_DebugAlloc(IHostMalloc *iface, SIZE_T size,
                                                        EMemoryCriticalLevel level, char *file,
                                                        int line, void **memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    count_call(malloc->manager, METHOD_DEBUG_ALLOC);
    if (memory == NULL) {
        return E_POINTER;
    }
    *memory = NULL;
    if (is_unavailable(malloc->manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    DWORD last_error = GetLastError();
    struct alloc_site *site = site_table_get(&malloc->manager->sites, file, (UINT64)line);
    SetLastError(last_error); /* no room for the site is no failure */
    return allocate(malloc, size, site, level, memory);
}

/* Take a block back into the heap. */
static os_error free_block(struct host_malloc *malloc, void *memory)
{
    const struct os *os = malloc->manager->os;
    struct block_header *block = (struct block_header *)memory - 1;
    if (!enter(malloc)) {
        return HM_NOT_OWNER;
    }
    bool alive = block_map_remove(&malloc->blocks, (uintptr_t)memory);
    if (alive) {
        struct block_header header = *block;
        os->heap_free(os, malloc->heap, block);
        count_out(malloc, &header);
    }
    leave(malloc);
    return alive ? OS_OK : HM_FOREIGN;
}

static HRESULT STDMETHODCALLTYPE host_malloc_Free(IHostMalloc *iface, void *memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    struct host_memory_manager *manager = malloc->manager;
    count_call(manager, METHOD_FREE);
    if (is_unavailable(manager)) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    if (memory == NULL) {
        return S_OK; /* the CLR's HeapFree of NULL comes here and wants a success */
    }
    os_error error = free_block(malloc, memory);
    if (error == HM_FOREIGN) {
        atomic_fetch_add_explicit(&manager->foreign_free, 1, memory_order_relaxed);
    }
    request_room_was_made(manager);
    return hresult_from_error(error);
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
    *size = 0;
    if (!block_map_contains(&malloc->blocks, (uintptr_t)memory)) {
        return HOST_E_INVALIDOPERATION;
    }
    *size = ((struct block_header *)memory - 1)->size;
    return S_OK;
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
    const struct os *os = manager->os;
    struct table_memory *memory = &manager->memory.table_memory;
    uint32_t flags = ((type & MALLOC_THREADSAFE) != 0 ? 0 : OS_HEAP_NO_SERIALIZE) |
                     ((type & MALLOC_EXECUTABLE) != 0 ? OS_HEAP_EXECUTABLE : 0);
    struct host_malloc *malloc = table_memory_map(memory, object_bytes(os));
    if (malloc == NULL) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    malloc->IHostMalloc_iface.lpVtbl = &host_malloc_vtbl;
    malloc->IHostMallocBlocks_iface.lpVtbl = &host_malloc_blocks_vtbl;
    malloc->refs = 1;
    malloc->manager = manager;
    malloc->thread_safe = (type & MALLOC_THREADSAFE) != 0;
    block_map_init(&malloc->blocks, memory);
    malloc->heap = os->heap_create(os, flags);
    if (malloc->heap == NULL) {
        table_memory_release(memory, malloc, object_bytes(os));
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    IHostMemoryManager_AddRef(&manager->IHostMemoryManager_iface);
    *result = &malloc->IHostMalloc_iface;
    return S_OK;
}
