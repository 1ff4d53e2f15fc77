/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::CreateMalloc: which kinds of heap there are, and how long they live. What a
 * heap does is in test_host_malloc.c.
 */
#include "contract/contract.h"

static IHostMalloc *create_heap(IHostMemoryManager *manager, DWORD type)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, type, &heap));
    assert_non_null(heap);
    assert_ptr_not_equal(heap, POISON_POINTER);
    return heap;
}

/* trap 16: the CLR asks for MALLOC_THREADSAFE; old documentation calls it BOOL fThreadSafe. */
static void every_combination_of_malloc_types_makes_a_heap(void **state)
{
    static const DWORD types[] = {0, MALLOC_THREADSAFE, MALLOC_EXECUTABLE,
                                  MALLOC_THREADSAFE | MALLOC_EXECUTABLE, TRUE};
    IHostMemoryManager *manager = *state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        IHostMalloc *heap = create_heap(manager, types[i]);
        void *block = POISON_POINTER;
        EXPECT_OK(IHostMalloc_Alloc(heap, 100, eTaskCritical, &block));
        assert_non_null(block);
        EXPECT_OK(IHostMalloc_Free(heap, block));
        EXPECT_REF(heap, 1);
        assert_int_equal(IHostMalloc_Release(heap), 0);
    }
    assert_int_equal(statistics_of(manager).Calls.CreateMalloc, 5);
}

static void unknown_bits_are_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    for (unsigned bit = 2; bit < 32; bit++) {
        for (DWORD known = 0; known < 4; known++) {
            IHostMalloc *heap = POISON_POINTER;
            EXPECT_HR(IHostMemoryManager_CreateMalloc(manager, (DWORD)1 << bit | known, &heap),
                      E_INVALIDARG);
            assert_null(heap);
        }
    }
    EXPECT_REF(manager, 1);
}

static void no_out_pointer_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_HR(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, NULL), E_POINTER);
    EXPECT_HR(IHostMemoryManager_CreateMalloc(manager, 0xffffffff, NULL), E_POINTER);
    EXPECT_REF(manager, 1);
}

static void the_heap_knows_its_interfaces_and_no_other(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    IHostMallocBlocks *blocks = POISON_POINTER;
    IHostMalloc *again = POISON_POINTER;
    EXPECT_INTERFACE(heap, &IID_IUnknown, true);
    EXPECT_INTERFACE(heap, &IID_IHostMalloc, true);
    EXPECT_INTERFACE(heap, &IID_IHostMallocBlocks, true);
    EXPECT_INTERFACE(heap, &IID_IHostMemoryManager, false);
    EXPECT_INTERFACE(heap, &IID_IHostMemoryStatistics, false);
    EXPECT_INTERFACE(heap, &IID_NULL, false);
    EXPECT_OK(IHostMalloc_QueryInterface(heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_OK(IHostMallocBlocks_QueryInterface(blocks, &IID_IHostMalloc, (void **)&again));
    assert_ptr_equal(again, heap);
    EXPECT_REF(heap, 3);
    EXPECT_REF(blocks, 3);
    EXPECT_HR(IHostMalloc_QueryInterface(heap, &IID_IUnknown, NULL), E_POINTER);
    EXPECT_HR(IHostMallocBlocks_QueryInterface(blocks, &IID_IUnknown, NULL), E_POINTER);
    assert_int_equal(IHostMalloc_Release(again), 2);
    assert_int_equal(IHostMallocBlocks_Release(blocks), 1);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* trap 22 */
static void a_heap_keeps_its_manager_alive(void **state)
{
    IHostMemoryManager *manager = create_manager();
    (void)state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    EXPECT_REF(manager, 2);
    EXPECT_REF(heap, 1);
    void *block = POISON_POINTER;
    assert_int_equal(IHostMemoryManager_Release(manager), 1);
    EXPECT_OK(IHostMalloc_Alloc(heap, 100, eTaskCritical, &block));
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(statistics_of(manager).Calls.Alloc, 1); /* still there */
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void every_call_makes_a_heap_of_its_own(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heaps[20];
    void *blocks[20];
    for (int i = 0; i < 20; i++) {
        heaps[i] = create_heap(manager, i % 2 == 0 ? MALLOC_THREADSAFE : 0);
        EXPECT_OK(IHostMalloc_Alloc(heaps[i], 64, eTaskCritical, &blocks[i]));
        for (int j = 0; j < i; j++) {
            assert_ptr_not_equal(heaps[i], heaps[j]);
            EXPECT_CALL(IHostMalloc_Free(heaps[i], blocks[j]), HOST_E_INVALIDOPERATION,
                        ERROR_INVALID_ADDRESS);
        }
    }
    EXPECT_REF(manager, 21);
    for (int i = 0; i < 20; i++) {
        EXPECT_OK(IHostMalloc_Free(heaps[i], blocks[i]));
        assert_int_equal(IHostMalloc_Release(heaps[i]), 0);
    }
    EXPECT_REF(manager, 1);
}

static void the_last_release_takes_the_blocks_off_the_count(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    IHostMalloc *other = create_heap(manager, MALLOC_THREADSAFE);
    void *block = POISON_POINTER, *kept = POISON_POINTER;
    EXPECT_OK(IHostMalloc_Alloc(other, 1000, eTaskCritical, &kept));
    UINT64 before = statistics_of(manager).HeapCurrentBytes;
    for (SIZE_T size = 0; size < 5000; size += 7) {
        EXPECT_OK(IHostMalloc_Alloc(heap, size, eTaskCritical, &block));
    }
    EXPECT_OK(IHostMalloc_Alloc(heap, 3 * 1024 * 1024, eTaskCritical, &block));
    assert_true(statistics_of(manager).HeapCurrentBytes > before + 3 * 1024 * 1024);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, before);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 1);
    EXPECT_OK(IHostMalloc_Free(other, kept));
    assert_int_equal(IHostMalloc_Release(other), 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, 0);
}

static DWORD WINAPI create_and_release(void *context)
{
    for (int i = 0; i < 50; i++) {
        IHostMalloc *heap = NULL;
        void *block = NULL;
        if (IHostMemoryManager_CreateMalloc((IHostMemoryManager *)context, MALLOC_THREADSAFE,
                                            &heap) != S_OK ||
            IHostMalloc_Alloc(heap, 1000, eTaskCritical, &block) != S_OK ||
            IHostMalloc_Release(heap) != 0) {
            return 1;
        }
    }
    return 0;
}

static void many_threads_create_heaps(void **state)
{
    IHostMemoryManager *manager = *state;
    run_threads(4, create_and_release, manager);
    EXPECT_REF(manager, 1);
    assert_int_equal(statistics_of(manager).HeapCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 0);
    assert_int_equal(statistics_of(manager).Calls.CreateMalloc, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(every_combination_of_malloc_types_makes_a_heap),
        manager_test(unknown_bits_are_refused),
        manager_test(no_out_pointer_is_e_pointer),
        manager_test(the_heap_knows_its_interfaces_and_no_other),
        cmocka_unit_test(a_heap_keeps_its_manager_alive),
        manager_test(every_call_makes_a_heap_of_its_own),
        manager_test(the_last_release_takes_the_blocks_off_the_count),
        manager_test(many_threads_create_heaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
