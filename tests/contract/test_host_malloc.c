/* SPDX-License-Identifier: MIT
 *
 * IHostMalloc: blocks for the CLR's operator new, aligned like the OS heap's, freed by any thread,
 * counted, and everything that is not a live block of the heap refused without being touched.
 */
#include "contract/contract.h"

#include <string.h>

#define ALIGNMENT (2 * sizeof(void *))

static IHostMalloc *create_heap(IHostMemoryManager *manager, DWORD type)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, type, &heap));
    return heap;
}

static void *allocate(IHostMalloc *heap, SIZE_T size)
{
    void *block = POISON_POINTER;
    EXPECT_OK(IHostMalloc_Alloc(heap, size, eTaskCritical, &block));
    assert_non_null(block);
    assert_ptr_not_equal(block, POISON_POINTER);
    return block;
}

static SIZE_T size_of(IHostMalloc *heap, void *block)
{
    IHostMallocBlocks *blocks = POISON_POINTER;
    SIZE_T size = POISON_SIZE;
    EXPECT_OK(IHostMalloc_QueryInterface(heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_OK(IHostMallocBlocks_GetBlockSize(blocks, block, &size));
    IHostMallocBlocks_Release(blocks);
    return size;
}

/* Refused, by Free and by GetBlockSize, and counted. */
static void expect_refused(IHostMemoryManager *manager, IHostMalloc *heap, void *address)
{
    IHostMallocBlocks *blocks = POISON_POINTER;
    SIZE_T size = POISON_SIZE;
    HOSTMEM_STATISTICS before = statistics_of(manager);
    EXPECT_OK(IHostMalloc_QueryInterface(heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_HR(IHostMallocBlocks_GetBlockSize(blocks, address, &size), HOST_E_INVALIDOPERATION);
    assert_int_equal(size, 0);
    IHostMallocBlocks_Release(blocks);
    EXPECT_CALL(IHostMalloc_Free(heap, address), HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    HOSTMEM_STATISTICS after = statistics_of(manager);
    assert_int_equal(after.ForeignFree, before.ForeignFree + 1);
    assert_int_equal(after.HeapCurrentBytes, before.HeapCurrentBytes);
    assert_int_equal(after.HeapCurrentBlocks, before.HeapCurrentBlocks);
}

/* ---- blocks ---- */

/* trap 13 */
static void blocks_of_every_size_are_aligned_writable_and_apart(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    enum { COUNT = 700 };
    static unsigned char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        SIZE_T size = i < 600 ? i : (SIZE_T)i * i;
        blocks[i] = allocate(heap, size);
        assert_int_equal((uintptr_t)blocks[i] % ALIGNMENT, 0);
        assert_int_equal(size_of(heap, blocks[i]), size);
        memset(blocks[i], (int)(i & 0xff), size);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        SIZE_T size = i < 600 ? i : (SIZE_T)i * i;
        for (SIZE_T at = 0; at < size; at++) {
            assert_int_equal(blocks[i][at], i & 0xff);
        }
        EXPECT_OK(IHostMalloc_Free(heap, blocks[i]));
    }
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* trap 14 */
static void size_zero_gives_a_block_of_its_own(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    void *first = allocate(heap, 0), *second = allocate(heap, 0);
    assert_ptr_not_equal(first, second);
    assert_int_equal(size_of(heap, first), 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 2);
    EXPECT_OK(IHostMalloc_Free(heap, first));
    EXPECT_OK(IHostMalloc_Free(heap, second));
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* trap 14, trap 2 */
static void sizes_that_overflow_are_out_of_memory(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    for (SIZE_T less = 0; less < 200; less++) {
        void *block = POISON_POINTER;
        EXPECT_CALL(IHostMalloc_Alloc(heap, SIZE_MAX - less, eTaskCritical, &block), E_OUTOFMEMORY,
                    ERROR_NOT_ENOUGH_MEMORY);
        assert_null(block);
        block = POISON_POINTER;
        EXPECT_CALL(IHostMalloc_DebugAlloc(heap, SIZE_MAX - less, eProcessCritical,
                                           (char *)"file.c", 1, &block),
                    E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
        assert_null(block);
    }
    static const SIZE_T large[] = {SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 4096,
                                   SIZE_MAX - 65536};
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        void *block = POISON_POINTER;
        EXPECT_CALL(IHostMalloc_Alloc(heap, large[i], eTaskCritical, &block), E_OUTOFMEMORY,
                    ERROR_NOT_ENOUGH_MEMORY);
        assert_null(block);
    }
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void no_out_pointer_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    IHostMallocBlocks *blocks = POISON_POINTER;
    void *block = allocate(heap, 1);
    EXPECT_OK(IHostMalloc_QueryInterface(heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_HR(IHostMalloc_Alloc(heap, 10, eTaskCritical, NULL), E_POINTER);
    EXPECT_HR(IHostMalloc_DebugAlloc(heap, 10, eTaskCritical, (char *)"f", 1, NULL), E_POINTER);
    EXPECT_HR(IHostMallocBlocks_GetBlockSize(blocks, block, NULL), E_POINTER);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 1);
    IHostMallocBlocks_Release(blocks);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void the_critical_level_makes_no_difference(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    for (int level = -1; level < 5; level++) {
        void *block = POISON_POINTER;
        EXPECT_OK(IHostMalloc_Alloc(heap, 10, (EMemoryCriticalLevel)level, &block));
        EXPECT_OK(IHostMalloc_Free(heap, block));
    }
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- free: trap 15 ---- */

static void free_of_null_is_s_ok(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    EXPECT_OK(IHostMalloc_Free(heap, NULL));
    assert_int_equal(statistics_of(manager).ForeignFree, 0);
    assert_int_equal(statistics_of(manager).Calls.Free, 1);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void a_block_is_freed_once(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    for (SIZE_T size = 0; size < 3000000; size = size * 3 + 1) {
        void *block = allocate(heap, size), *neighbour = allocate(heap, size);
        memset(neighbour, 0x5a, size);
        EXPECT_OK(IHostMalloc_Free(heap, block));
        expect_refused(manager, heap, block);
        expect_refused(manager, heap, block);
        for (SIZE_T at = 0; at < size; at += 100) {
            assert_int_equal(((char *)neighbour)[at], 0x5a);
        }
        EXPECT_OK(IHostMalloc_Free(heap, neighbour));
    }
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void addresses_inside_a_block_are_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    char *block = allocate(heap, 500);
    memset(block, 0, 500);
    for (int offset = -64; offset < 500; offset++) {
        if (offset != 0) {
            expect_refused(manager, heap, block + offset);
        }
    }
    for (int at = 0; at < 500; at++) {
        assert_int_equal(block[at], 0);
    }
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void memory_of_others_is_refused_without_being_touched(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    IHostMalloc *other = create_heap(manager, MALLOC_THREADSAFE);
    struct foreign_memory foreign;
    DWORD old = POISON_DWORD;
    foreign_memory_create(&foreign);
    void *of_other = allocate(other, 100);
    char *own = reserve_committed(manager, PAGE);
    /* A fake header in front of a fake block. */
    memset(foreign.reserved, 1, PAGE);
    assert_true(VirtualProtect(foreign.reserved + PAGE, PAGE, PAGE_NOACCESS, &old));
    char *const addresses[] = {foreign.reserved + 64,
                               foreign.reserved + PAGE, /* no access */
                               foreign.reserved + PAGE + 64,
                               foreign.reserved + 4 * PAGE, /* not committed */
                               foreign.view,
                               foreign.image,
                               foreign.constants,
                               foreign.stack,
                               foreign.heap,
                               foreign.free,
                               (char *)&foreign,
                               of_other,
                               own,
                               (char *)heap,
                               (char *)manager,
                               (char *)1,
                               (char *)16,
                               (char *)0xffff,
                               (char *)(UINTPTR_MAX / 2),
                               (char *)(UINTPTR_MAX / 2 + 1),
                               (char *)(UINTPTR_MAX & ~(uintptr_t)15),
                               (char *)UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        expect_refused(manager, heap, addresses[i]);
    }
    /* A guard page would raise its exception, once, for whoever touches it. */
    MEMORY_BASIC_INFORMATION info;
    assert_true(VirtualProtect(foreign.reserved + PAGE, PAGE, PAGE_READWRITE | PAGE_GUARD, &old));
    expect_refused(manager, heap, foreign.reserved + PAGE + 32);
    assert_int_equal(VirtualQuery(foreign.reserved + PAGE, &info, sizeof(info)), sizeof(info));
    assert_int_equal(info.Protect, PAGE_READWRITE | PAGE_GUARD);
    assert_true(HeapValidate(GetProcessHeap(), 0, foreign.heap));
    EXPECT_OK(IHostMalloc_Free(other, of_other));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, own, 0, MEM_RELEASE));
    foreign_memory_destroy(&foreign);
    assert_int_equal(IHostMalloc_Release(other), 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- counting ---- */

static void blocks_are_counted_until_they_are_freed(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    void *block[100];
    UINT64 total = 0, before = 0;
    for (SIZE_T i = 0; i < 100; i++) {
        SIZE_T size = i * 37;
        block[i] = allocate(heap, size);
        UINT64 now = statistics_of(manager).HeapCurrentBytes;
        assert_in_range(now - before, size, size + 64);
        assert_int_equal(statistics_of(manager).HeapCurrentBlocks, i + 1);
        before = now;
        total += size;
    }
    assert_true(before >= total);
    assert_true(statistics_of(manager).HeapCommitCurrentBytes >= before);
    assert_int_equal(statistics_of(manager).HeapCommitCurrentBytes % PAGE, 0);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes,
                     statistics_of(manager).HeapCommitCurrentBytes);
    void *one = allocate(heap, 12345);
    assert_true(statistics_of(manager).HeapCurrentBytes >= before + 12345);
    EXPECT_OK(IHostMalloc_Free(heap, one));
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, before);
    for (int i = 99; i >= 0; i--) {
        EXPECT_OK(IHostMalloc_Free(heap, block[i]));
        assert_int_equal(statistics_of(manager).HeapCurrentBlocks, i);
    }
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, 0);
    assert_true(statistics_of(manager).HeapCommitPeakBytes >= before + 12345);
    assert_int_equal(statistics_of(manager).Calls.Alloc, 101);
    assert_int_equal(statistics_of(manager).Calls.Free, 101);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* The heap's own memory is not the virtual memory that the manager hands out. */
static void heap_memory_is_not_counted_as_committed_regions(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    void *block = allocate(heap, 10 * 1024 * 1024);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.CommitCurrentBytes, 0);
    assert_int_equal(statistics.ReserveCurrentBytes, 0);
    assert_int_equal(statistics.RegionsCurrent, 0);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, block, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- kinds of heap ---- */

/* int f(void) { return 42; } for x86 and x64 */
static const unsigned char returns_42[] = {0xb8, 42, 0, 0, 0, 0xc3};

static void code_runs_in_an_executable_heap(void **state)
{
    static const DWORD types[] = {MALLOC_EXECUTABLE, MALLOC_EXECUTABLE | MALLOC_THREADSAFE};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        IHostMalloc *heap = create_heap(*state, types[i]);
        void *blocks[] = {allocate(heap, 64), allocate(heap, 2 * 1024 * 1024)};
        for (int j = 0; j < 2; j++) {
            MEMORY_BASIC_INFORMATION info;
            assert_int_equal(VirtualQuery(blocks[j], &info, sizeof(info)), sizeof(info));
            assert_int_equal(info.Protect, PAGE_EXECUTE_READWRITE);
            memcpy(blocks[j], returns_42, sizeof(returns_42));
            FlushInstructionCache(GetCurrentProcess(), blocks[j], sizeof(returns_42));
            assert_int_equal(((int (*)(void))(uintptr_t)blocks[j])(), 42);
            EXPECT_OK(IHostMalloc_Free(heap, blocks[j]));
        }
        assert_int_equal(IHostMalloc_Release(heap), 0);
    }
}

static void other_heaps_are_not_executable(void **state)
{
    static const DWORD types[] = {0, MALLOC_THREADSAFE};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        IHostMalloc *heap = create_heap(*state, types[i]);
        MEMORY_BASIC_INFORMATION info;
        void *block = allocate(heap, 64);
        assert_int_equal(VirtualQuery(block, &info, sizeof(info)), sizeof(info));
        assert_int_equal(info.Protect, PAGE_READWRITE);
        EXPECT_OK(IHostMalloc_Free(heap, block));
        assert_int_equal(IHostMalloc_Release(heap), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(blocks_of_every_size_are_aligned_writable_and_apart),
        manager_test(size_zero_gives_a_block_of_its_own),
        manager_test(sizes_that_overflow_are_out_of_memory),
        manager_test(no_out_pointer_is_e_pointer),
        manager_test(the_critical_level_makes_no_difference),
        manager_test(free_of_null_is_s_ok),
        manager_test(a_block_is_freed_once),
        manager_test(addresses_inside_a_block_are_refused),
        manager_test(memory_of_others_is_refused_without_being_touched),
        manager_test(blocks_are_counted_until_they_are_freed),
        manager_test(heap_memory_is_not_counted_as_committed_regions),
        manager_test(code_runs_in_an_executable_heap),
        manager_test(other_heaps_are_not_executable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
