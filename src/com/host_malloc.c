/* SPDX-License-Identifier: MIT
 *
 * IHostMalloc: a private Win32 heap behind the CLR's operator new.
 *
 * Each block has a header in front of the caller's bytes: heap_block.h. What Alloc returns is in the
 * block map.
 *
 * The books of most blocks are those of a share of the budget (heap_share.h), and in release builds
 * each share has a cache of freed blocks (block_cache.h). Then Alloc is one locked instruction, for
 * the share, and Free is two, one for the share and one for the map, and neither asks the heap or the
 * budget. What finds no share, no credit or no cached block goes the long way, on the books all
 * threads have in common.
 *
 * Free trusts nothing: the block map says whether the pointer is a live block of this heap, without
 * looking at the memory, and of two threads that free the same block one is refused. Only then is
 * the header read.
 *
 * Bytes are counted as the heap block's: two pointers and size, rounded up to the alignment; the
 * same in debug builds, so that a budget allows there what it allows in release builds.
 *
 * Debug builds look at a block's seals when it is freed, when its size is asked for and when its
 * heap goes, and keep freed blocks for a while to see whether anybody writes to them. A heap in
 * which somebody else writes is no place to go on in, so damage is E_FAIL, and the manager is
 * unavailable from then on; the debugger gets a line that says which block it was. The block is not
 * given back to the heap: it can be looked at.
 */
#include "com/com_private.h"

#include "core/heap/block_cache.h"
#include "core/heap/heap_block.h"

#include <stdio.h>

/* Debug builds: how many freed blocks a heap keeps, and how large they are at most; 64 of 4 KiB are
 * 256 KiB a heap. */
#define FREED_KEPT 64
#define FREED_KEPT_BYTES 4096

struct host_malloc {
    IHostMalloc IHostMalloc_iface;
    IHostMallocBlocks IHostMallocBlocks_iface;
    struct agile agile;
    LONG refs;                           /* Interlocked only */
    struct host_memory_manager *manager; /* owned */
    void *heap;
    bool thread_safe;
    _Atomic bool entered; /* of a heap that is not thread safe */
    struct block_map blocks;
#ifdef NDEBUG
    struct block_cache caches[HEAP_SHARES]; /* each guarded by its share */
#else
    struct block_header *_Atomic freed[FREED_KEPT]; /* a ring of the latest */
    atomic_uint freed_next;
#endif
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
    return (BLOCK_ALIGNMENT + size + BLOCK_ALIGNMENT - 1) & ~(BLOCK_ALIGNMENT - 1);
}

static struct heap_share *take_share(struct host_malloc *malloc)
{
    return heap_share_take(malloc->manager->memory.budget.shares, os_thread_number());
}

/* `paid`: with credit, which the heap's bytes include. */
static void count_in(struct host_malloc *malloc, const struct block_header *header, bool paid)
{
    size_t bytes = charged_bytes(header->size);
    if (!paid) {
        budget_heap_add(&malloc->manager->memory.budget, bytes);
    }
    atomic_fetch_add_explicit(&malloc->manager->heap_blocks, 1, memory_order_relaxed);
    if (header->site != NULL) {
        usage_add(&header->site->bytes, bytes);
        usage_add(&header->site->blocks, 1);
    }
}

static void refund(struct host_malloc *malloc, size_t bytes)
{
    budget_heap_subtract(&malloc->manager->memory.budget, bytes);
    budget_give_back(&malloc->manager->memory.budget, 0, bytes);
}

/* The opposite, and the charge given back. `header` may be a copy: the block can be gone. */
static void count_out(struct host_malloc *malloc, const struct block_header *header)
{
    size_t bytes = charged_bytes(header->size);
    struct heap_share *share = take_share(malloc);
    bool kept = false;
    if (header->site != NULL) {
        usage_subtract(&header->site->bytes, bytes);
        usage_subtract(&header->site->blocks, 1);
    }
    if (share != NULL) {
        kept = budget_keep(&malloc->manager->memory.budget, share, bytes);
        heap_share_leave(share);
    }
    if (!kept) {
        refund(malloc, bytes);
    }
    atomic_fetch_sub_explicit(&malloc->manager->heap_blocks, 1, memory_order_relaxed);
}

/* ---- damage ---- */

/* Tell the debugger what has happened to a block. HM_BROKEN. */
static os_error report_damage(const struct block_header *block, const char *damage)
{
    char of[160] = "", line[256];
    if (block_header_is_intact(block)) {
        int length = snprintf(of, sizeof(of), " of %llu bytes", (unsigned long long)block->size);
        if (block->site != NULL) {
            snprintf(of + length, sizeof(of) - (size_t)length, " from %.100s:%llu",
                     block->site->file, (unsigned long long)block->site->line);
        }
    }
    snprintf(line, sizeof(line), "hostmem: the block at %p%s %s\n", (const void *)(block + 1), of,
             damage);
    OutputDebugStringA(line);
    return HM_BROKEN;
}

/* Give a block that is intact to the heap. */
static os_error give_back(struct host_malloc *malloc, struct block_header *block)
{
    const struct os *os = malloc->manager->os;
#ifndef NDEBUG
    block_mark_freed(block);
    if (block->size <= FREED_KEPT_BYTES) {
        unsigned next = atomic_fetch_add_explicit(&malloc->freed_next, 1, memory_order_relaxed);
        /* Release and acquire: the block as its thread left it. */
        block = atomic_exchange_explicit(&malloc->freed[next % FREED_KEPT], block,
                                         memory_order_acq_rel);
        if (block == NULL) {
            return OS_OK;
        }
        const char *damage = block_freed_damage(block);
        if (damage != NULL) {
            return report_damage(block, damage);
        }
    }
#endif
    os->heap_free(os, malloc->heap, block);
    return OS_OK;
}

/* A last look at the freed blocks of a heap that goes. */
static os_error check_freed(struct host_malloc *malloc)
{
    os_error error = OS_OK;
    (void)malloc;
#ifndef NDEBUG
    for (size_t i = 0; i < FREED_KEPT; i++) {
        struct block_header *block = atomic_load_explicit(&malloc->freed[i], memory_order_acquire);
        const char *damage = block != NULL ? block_freed_damage(block) : NULL;
        if (damage != NULL) {
            error = report_damage(block, damage);
        }
    }
#endif
    return error;
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
    const struct os *os = manager->os;
    os_error error = check_freed(malloc);
    uintptr_t at = 0;
    while ((at = block_map_next(&malloc->blocks, at)) != 0) {
        const struct block_header *block = (struct block_header *)at - 1;
        const char *damage = block_damage(block);
        if (damage != NULL) {
            error = report_damage(block, damage);
        } else {
            count_out(malloc, block);
        }
        at += BLOCK_ALIGNMENT;
    }
    if (error != OS_OK) {
        host_memory_manager_result(manager, error);
    }
    agile_destroy(&malloc->agile);
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

static void *fill_in(struct block_header *header, size_t size, struct alloc_site *site)
{
    *header = (struct block_header){.size = size, .site = site};
    block_seal(header);
    return header + 1;
}

/* A block from the heap, its header filled in. NULL: no memory. */
static struct block_header *take_block(struct host_malloc *malloc, size_t size,
                                       struct alloc_site *site)
{
    const struct os *os = malloc->manager->os;
    /* As many bytes as are charged, so that a cached block does for every size charged the same. */
    size_t bytes = sizeof(struct block_header) - BLOCK_ALIGNMENT + charged_bytes(size);
    struct block_header *header = os->heap_alloc(os, malloc->heap, bytes + BLOCK_TAIL_BYTES);
    if (header == NULL) {
        return NULL;
    }
    if (!block_map_add(&malloc->blocks, (uintptr_t)fill_in(header, size, site))) {
        os->heap_free(os, malloc->heap, header);
        return NULL;
    }
    return header;
}

/* One attempt: charge, unless it is paid, take the block, count it. */
static os_error try_to_allocate(struct host_malloc *malloc, size_t size, struct alloc_site *site,
                                enum budget_level level, bool paid, void **memory)
{
    struct budget *budget = &malloc->manager->memory.budget;
    if (size > SIZE_MAX - 2 * sizeof(struct block_header)) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    os_error error = paid ? OS_OK : budget_take(budget, 0, charged_bytes(size), level);
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
    if (error == OS_OK) {
        count_in(malloc, header, paid);
        *memory = header + 1;
    } else if (paid) {
        refund(malloc, charged_bytes(size));
    } else {
        budget_give_back(budget, 0, charged_bytes(size));
    }
    return error;
}

static HRESULT allocate(struct host_malloc *malloc, size_t size, struct alloc_site *site,
                        EMemoryCriticalLevel level, bool paid, void **memory)
{
    struct request request;
    os_error error = request_begin(&request, malloc->manager, level, FAULT_BLOCK, size);
    if (error == OS_OK) {
        do {
            error = try_to_allocate(malloc, size, site, request.level, paid, memory);
        } while (request_again(&request, &error));
    } else if (paid) {
        refund(malloc, charged_bytes(size));
    }
    return request_end(&request, error);
}

/* The short way, on a share alone: a block of this size that was freed, paid with credit. NULL: none,
 * but perhaps it is paid. A plan of faults must see each request, so there is no short way then. */
static void *allocate_shared(struct host_malloc *malloc, size_t size, EMemoryCriticalLevel level,
                             bool *paid)
{
    struct host_memory_manager *manager = malloc->manager;
    struct block_header *block = NULL;
    *paid = false;
    if (!malloc->thread_safe || size > CREDIT_MOST || fault_plan_is_on(&manager->faults)) {
        return NULL;
    }
    struct heap_share *share = take_share(malloc);
    if (share == NULL) {
        return NULL;
    }
    *paid = budget_pay(&manager->memory.budget, share, charged_bytes(size), level_of(level));
#ifdef NDEBUG
    if (*paid) {
        block = block_cache_take(&malloc->caches[share - manager->memory.budget.shares],
                                 charged_bytes(size));
        if (block != NULL) {
            heap_share_count_alloc(share);
        }
    }
#endif
    heap_share_leave(share);
    if (block == NULL) {
        return NULL;
    }
    void *memory = fill_in(block, size, NULL);
    block_map_add(&malloc->blocks, (uintptr_t)memory); /* its leaf is there since it was new */
    pressure_check(manager->pressure);
    return memory;
}

static HRESULT STDMETHODCALLTYPE host_malloc_Alloc(IHostMalloc *iface, SIZE_T size,
                                                   EMemoryCriticalLevel level, void **memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    bool available = !is_unavailable(malloc->manager), paid = false;
    if (memory != NULL && available) {
        *memory = allocate_shared(malloc, size, level, &paid);
        if (*memory != NULL) {
            return S_OK; /* counted by the share */
        }
    }
    count_call(malloc->manager, METHOD_ALLOC);
    if (memory == NULL) {
        return E_POINTER;
    }
    *memory = NULL;
    if (!available) {
        return hresult_from_error(HM_UNAVAILABLE);
    }
    return allocate(malloc, size, NULL, level, paid, memory);
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
    return allocate(malloc, size, site, level, false, memory);
}

/* Take a block back that is no longer in the map. */
static os_error take_back(struct host_malloc *malloc, struct block_header *block)
{
    const char *damage = block_damage(block);
    if (damage != NULL) {
        return report_damage(block, damage);
    }
    struct block_header header = *block;
    os_error error = give_back(malloc, block);
    count_out(malloc, &header);
    return error;
}

/* The short way back, on a share alone: the block is kept for the next request of its size. False: it
 * is as it was. */
static bool free_shared(struct host_malloc *malloc, struct block_header *block)
{
    bool kept = false;
#ifdef NDEBUG
    struct host_memory_manager *manager = malloc->manager;
    const struct os *os = manager->os;
    size_t bytes = charged_bytes(block->size), count = 0;
    void *going[CACHE_GOING];
    struct heap_share *share =
        malloc->thread_safe && block->site == NULL ? take_share(malloc) : NULL;
    if (share == NULL) {
        return false;
    }
    kept = budget_keep(&manager->memory.budget, share, bytes);
    if (kept) {
        count = block_cache_put(&malloc->caches[share - manager->memory.budget.shares], block,
                                bytes, going);
        heap_share_count_free(share);
    }
    heap_share_leave(share);
    for (size_t i = 0; i < count; i++) {
        os->heap_free(os, malloc->heap, going[i]);
    }
#else
    (void)malloc;
    (void)block;
#endif
    return kept;
}

/* *shared: the share has counted the call. */
static os_error free_block(struct host_malloc *malloc, void *memory, bool *shared)
{
    struct block_header *block = (struct block_header *)memory - 1;
    os_error error = HM_FOREIGN;
    if (!enter(malloc)) {
        return HM_NOT_OWNER;
    }
    if (block_map_remove(&malloc->blocks, (uintptr_t)memory)) {
        *shared = free_shared(malloc, block);
        error = *shared ? OS_OK : take_back(malloc, block);
    }
    leave(malloc);
    return error;
}

static HRESULT STDMETHODCALLTYPE host_malloc_Free(IHostMalloc *iface, void *memory)
{
    struct host_malloc *malloc = impl_from_IHostMalloc(iface);
    struct host_memory_manager *manager = malloc->manager;
    os_error error = HM_UNAVAILABLE;
    bool shared = false;
    if (!is_unavailable(manager)) {
        /* NULL: the CLR's HeapFree of it comes here and wants a success. */
        error = memory != NULL ? free_block(malloc, memory, &shared) : OS_OK;
        request_room_was_made(manager);
    }
    if (shared) {
        return S_OK;
    }
    count_call(manager, METHOD_FREE);
    if (error == HM_FOREIGN) {
        atomic_fetch_add_explicit(&manager->foreign_free, 1, memory_order_relaxed);
    }
    return host_memory_manager_result(manager, error);
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
    const struct block_header *block = (struct block_header *)memory - 1;
    const char *damage = block_damage(block);
    if (damage != NULL) {
        return host_memory_manager_result(malloc->manager, report_damage(block, damage));
    }
    *size = block->size;
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
