/* SPDX-License-Identifier: MIT
 *
 * IHostMalloc from many threads, and DebugAlloc: any thread frees what another allocated (trap 16),
 * two threads that free the same block are told apart, and the figures add up afterwards.
 */
#include "contract/contract.h"

#include <string.h>

static IHostMalloc *create_heap(IHostMemoryManager *manager)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    return heap;
}

static void expect_empty(IHostMemoryManager *manager)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.HeapCurrentBytes, 0);
    assert_int_equal(statistics.HeapCurrentBlocks, 0);
}

/* ---- threads ---- */

enum { SHARED_BLOCKS = 512 };

struct exchange {
    IHostMalloc *heap;
    void *volatile blocks[SHARED_BLOCKS];
    LONG seed;
};

/* Puts a new block where another thread's may be, and frees that one. */
static DWORD WINAPI exchange_blocks(void *context)
{
    struct exchange *exchange = context;
    uint32_t random = (uint32_t)InterlockedIncrement(&exchange->seed) * 2654435761u;
    for (int i = 0; i < 40000; i++) {
        SIZE_T size = next_random(&random) % 2000 + sizeof(SIZE_T);
        void *block = NULL;
        if (IHostMalloc_Alloc(exchange->heap, size, eTaskCritical, &block) != S_OK) {
            return 1;
        }
        memset(block, 0xcc, size);
        *(SIZE_T *)block = size;
        void *old = InterlockedExchangePointer(
            &exchange->blocks[next_random(&random) % SHARED_BLOCKS], block);
        if (old != NULL) {
            SIZE_T old_size = *(SIZE_T *)old;
            if (old_size > sizeof(SIZE_T) && ((unsigned char *)old)[old_size - 1] != 0xcc) {
                return 2;
            }
            if (IHostMalloc_Free(exchange->heap, old) != S_OK) {
                return 3;
            }
        }
    }
    return 0;
}

static void any_thread_frees_what_another_allocated(void **state)
{
    static struct exchange exchange;
    IHostMemoryManager *manager = *state;
    exchange = (struct exchange){.heap = create_heap(manager)};
    run_threads(4, exchange_blocks, &exchange);
    for (int i = 0; i < SHARED_BLOCKS; i++) {
        EXPECT_OK(IHostMalloc_Free(exchange.heap, exchange.blocks[i]));
    }
    expect_empty(manager);
    assert_int_equal(statistics_of(manager).Calls.Alloc, 4 * 40000);
    assert_int_equal(statistics_of(manager).ForeignFree, 0);
    assert_int_equal(IHostMalloc_Release(exchange.heap), 0);
}

enum { RACED_BLOCKS = 20000 };

struct double_free {
    IHostMalloc *heap;
    void *blocks[RACED_BLOCKS];
    LONG succeeded;
    LONG refused;
};

static DWORD WINAPI free_all(void *context)
{
    struct double_free *race = context;
    for (int i = 0; i < RACED_BLOCKS; i++) {
        HRESULT hr = IHostMalloc_Free(race->heap, race->blocks[i]);
        if (hr == S_OK) {
            InterlockedIncrement(&race->succeeded);
        } else if (hr == HOST_E_INVALIDOPERATION) {
            InterlockedIncrement(&race->refused);
        } else {
            return 1;
        }
    }
    return 0;
}

static void of_two_threads_that_free_one_block_one_succeeds(void **state)
{
    static struct double_free race;
    IHostMemoryManager *manager = *state;
    race = (struct double_free){.heap = create_heap(manager)};
    for (int i = 0; i < RACED_BLOCKS; i++) {
        EXPECT_OK(IHostMalloc_Alloc(race.heap, 40, eTaskCritical, &race.blocks[i]));
    }
    run_threads(3, free_all, &race);
    assert_int_equal(race.succeeded, RACED_BLOCKS);
    assert_int_equal(race.refused, 2 * RACED_BLOCKS);
    assert_int_equal(statistics_of(manager).ForeignFree, 2 * RACED_BLOCKS);
    expect_empty(manager);
    assert_int_equal(IHostMalloc_Release(race.heap), 0);
}

/* ---- DebugAlloc ---- */

static UINT32 sites_of(IHostMemoryManager *manager, UINT32 first, UINT32 capacity,
                       HOSTMEM_ALLOCATION_SITE *sites)
{
    IHostMemoryStatistics *statistics = POISON_POINTER;
    UINT32 count = POISON_DWORD;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    EXPECT_OK(IHostMemoryStatistics_GetAllocationSites(statistics, first, capacity, sites, &count));
    IHostMemoryStatistics_Release(statistics);
    assert_in_range(count, 0, capacity);
    return count;
}

static void *debug_allocate(IHostMalloc *heap, SIZE_T size, const char *file, int line)
{
    char name[64] = "";
    void *block = POISON_POINTER;
    if (file != NULL) {
        strcpy(name, file);
    }
    EXPECT_OK(IHostMalloc_DebugAlloc(heap, size, eTaskCritical, file != NULL ? name : NULL, line,
                                     &block));
    memset(name, 'x', sizeof(name)); /* the manager keeps a copy */
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % (2 * sizeof(void *)), 0);
    return block;
}

static void debug_alloc_tells_where_live_blocks_came_from(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager);
    HOSTMEM_ALLOCATION_SITE sites[8];
    assert_int_equal(sites_of(manager, 0, 8, sites), 0);
    void *first = debug_allocate(heap, 100, "first.cpp", 7);
    void *second = debug_allocate(heap, 200, "second.cpp", 9);
    void *again = debug_allocate(heap, 300, "first.cpp", 7);
    void *line = debug_allocate(heap, 400, "first.cpp", 8);
    assert_int_equal(sites_of(manager, 0, 8, sites), 3);
    assert_string_equal(sites[0].File, "first.cpp");
    assert_int_equal(sites[0].Line, 7);
    assert_int_equal(sites[0].CurrentBlocks, 2);
    assert_in_range(sites[0].CurrentBytes, 400, 400 + 2 * 64);
    assert_string_equal(sites[1].File, "second.cpp");
    assert_int_equal(sites[1].Line, 9);
    assert_int_equal(sites[1].CurrentBlocks, 1);
    assert_in_range(sites[1].CurrentBytes, 200, 264);
    assert_int_equal(sites[2].Line, 8);
    assert_int_equal(statistics_of(manager).HeapCurrentBytes,
                     sites[0].CurrentBytes + sites[1].CurrentBytes + sites[2].CurrentBytes);
    EXPECT_OK(IHostMalloc_Free(heap, first));
    EXPECT_OK(IHostMalloc_Free(heap, again));
    /* A site stays when its last block is freed. */
    assert_int_equal(sites_of(manager, 0, 8, sites), 3);
    assert_int_equal(sites[0].CurrentBlocks, 0);
    assert_int_equal(sites[0].CurrentBytes, 0);
    /* Part by part. */
    assert_int_equal(sites_of(manager, 1, 1, sites), 1);
    assert_string_equal(sites[0].File, "second.cpp");
    assert_int_equal(sites_of(manager, 2, 8, sites), 1);
    assert_int_equal(sites_of(manager, 3, 8, sites), 0);
    assert_int_equal(sites_of(manager, 0, 0, NULL), 0);
    EXPECT_OK(IHostMalloc_Free(heap, second));
    EXPECT_OK(IHostMalloc_Free(heap, line));
    expect_empty(manager);
    assert_int_equal(statistics_of(manager).Calls.DebugAlloc, 4);
    assert_int_equal(statistics_of(manager).Calls.Alloc, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void debug_alloc_takes_any_file_and_line(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager);
    void *blocks[] = {debug_allocate(heap, 10, NULL, 0), debug_allocate(heap, 0, "", -1),
                      debug_allocate(heap, 10, NULL, 5), debug_allocate(heap, 10, "a", 0x7fffffff)};
    static char long_name[5000];
    void *block = POISON_POINTER;
    memset(long_name, 'n', sizeof(long_name) - 1);
    EXPECT_OK(IHostMalloc_DebugAlloc(heap, 10, eTaskCritical, long_name, 1, &block));
    EXPECT_OK(IHostMalloc_Free(heap, block));
    for (int i = 0; i < 4; i++) {
        EXPECT_OK(IHostMalloc_Free(heap, blocks[i]));
    }
    expect_empty(manager);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void a_heap_s_end_empties_its_sites(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager);
    HOSTMEM_ALLOCATION_SITE sites[2];
    for (int i = 0; i < 100; i++) {
        debug_allocate(heap, 1000, "leaks.cpp", 1);
    }
    assert_int_equal(sites_of(manager, 0, 2, sites), 1);
    assert_int_equal(sites[0].CurrentBlocks, 100);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    assert_int_equal(sites_of(manager, 0, 2, sites), 1);
    assert_string_equal(sites[0].File, "leaks.cpp");
    assert_int_equal(sites[0].CurrentBlocks, 0);
    assert_int_equal(sites[0].CurrentBytes, 0);
    expect_empty(manager);
}

static DWORD WINAPI allocate_at_many_sites(void *context)
{
    IHostMalloc *heap = context;
    for (int i = 0; i < 5000; i++) {
        void *block = NULL;
        if (IHostMalloc_DebugAlloc(heap, 10, eTaskCritical, (char *)"many.cpp", i % 100, &block) !=
            S_OK) {
            return 1;
        }
        if (i % 50 != 0 && IHostMalloc_Free(heap, block) != S_OK) {
            return 2;
        }
    }
    return 0;
}

static void many_threads_share_sites(void **state)
{
    static HOSTMEM_ALLOCATION_SITE sites[200];
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager);
    run_threads(4, allocate_at_many_sites, heap);
    UINT32 count = sites_of(manager, 0, 200, sites);
    UINT64 blocks = 0, bytes = 0;
    assert_int_equal(count, 100);
    for (UINT32 i = 0; i < count; i++) {
        blocks += sites[i].CurrentBlocks;
        bytes += sites[i].CurrentBytes;
    }
    assert_int_equal(blocks, 400);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 400);
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, bytes);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    expect_empty(manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(any_thread_frees_what_another_allocated),
        manager_test(of_two_threads_that_free_one_block_one_succeeds),
        manager_test(debug_alloc_tells_where_live_blocks_came_from),
        manager_test(debug_alloc_takes_any_file_and_line),
        manager_test(a_heap_s_end_empties_its_sites),
        manager_test(many_threads_share_sites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
