/* SPDX-License-Identifier: MIT
 *
 * What a user sees who uses memory wrongly. In every build: memory that is freed twice or by the
 * wrong heap is refused, counted and left alone; a header in front of a block that was written over is
 * E_FAIL from the call that finds it and a line for the debugger; and an object that is used after its
 * last Release ends the process there. In debug builds the same for a byte written behind a block, or
 * into one that was freed.
 */
#include "contract/child.h"
#include "contract/contract.h"

#include <stdio.h>
#include <string.h>

static IHostMalloc *create_heap(IHostMemoryManager *manager)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    return heap;
}

static char *allocate(IHostMalloc *heap, SIZE_T size)
{
    void *block = POISON_POINTER;
    EXPECT_OK(IHostMalloc_Alloc(heap, size, eTaskCritical, &block));
    return block;
}

/* ---- every build: blocks ---- */

/* Refused and counted; the heap goes on. */
static void expect_refused(IHostMemoryManager *manager, IHostMalloc *heap, void *block)
{
    UINT64 refused = statistics_of(manager).ForeignFree;
    EXPECT_CALL(IHostMalloc_Free(heap, block), HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(manager).ForeignFree, refused + 1);
    EXPECT_OK(IHostMalloc_Free(heap, allocate(heap, 100)));
}

static void a_block_that_is_freed_twice_is_refused(void **state)
{
    IHostMalloc *heap = create_heap(*state);
    char *block = allocate(heap, 100);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    expect_refused(*state, heap, block);
    expect_refused(*state, heap, block);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void a_block_of_another_heap_is_refused_and_stays_alive(void **state)
{
    IHostMemoryManager *other_manager = create_manager();
    IHostMalloc *heap = create_heap(*state), *other_heap = create_heap(*state);
    IHostMalloc *foreign_heap = create_heap(other_manager);
    char *other = allocate(other_heap, 100), *foreign = allocate(foreign_heap, 100);
    char *system = HeapAlloc(GetProcessHeap(), 0, 100);
    memset(other, 1, 100);
    memset(foreign, 2, 100);
    memset(system, 3, 100);
    expect_refused(*state, heap, other);
    expect_refused(*state, heap, foreign);
    expect_refused(*state, heap, system);
    for (int i = 0; i < 100; i++) {
        assert_true(other[i] == 1 && foreign[i] == 2 && system[i] == 3);
    }
    EXPECT_OK(IHostMalloc_Free(other_heap, other));
    EXPECT_OK(IHostMalloc_Free(foreign_heap, foreign));
    assert_true(HeapFree(GetProcessHeap(), 0, system));
    assert_int_equal(IHostMalloc_Release(foreign_heap), 0);
    assert_int_equal(IHostMemoryManager_Release(other_manager), 0);
    assert_int_equal(IHostMalloc_Release(other_heap), 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void a_block_whose_heap_has_gone_is_refused(void **state)
{
    IHostMalloc *heap = create_heap(*state), *gone = create_heap(*state);
    char *block = allocate(gone, 100);
    assert_int_equal(IHostMalloc_Release(gone), 0);
    expect_refused(*state, heap, block);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- every build: regions ---- */

static void a_region_that_is_used_after_its_release_is_nobody_s(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    DWORD old = POISON_DWORD;
    void *result = POISON_POINTER;
    char *memory = reserve_committed(manager, 4 * PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, PAGE, MEM_DECOMMIT),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(manager).ForeignVirtualFree, 2);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, memory, PAGE, MEM_COMMIT, PAGE_READWRITE,
                                                eTaskCritical, &result),
                HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS), ERROR_INVALID_ADDRESS);
    assert_null(result);
    assert_false(VirtualProtect(memory, PAGE, PAGE_READONLY, &old));
    DWORD error = GetLastError(); /* ERROR_INVALID_ADDRESS; Wine: ERROR_INVALID_PARAMETER */
    EXPECT_CALL(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, PAGE_READONLY, &old),
                hr_of_win32(error), error);
    EXPECT_OK(IHostMemoryManager_VirtualQuery(manager, memory, &info, sizeof(info), &written));
    assert_int_equal(info.State, MEM_FREE);
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 0);
}

/* The system is asked to release what by the manager's tables is there, and it is not: Windows' answer,
 * and life goes on. */
static void a_region_that_was_freed_behind_the_manager_s_back_is_forgotten(void **state)
{
    IHostMemoryManager *manager = create_manager();
    char *memory = reserve_committed(manager, 4 * PAGE);
    (void)state;
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    assert_false(VirtualFree(memory, 0, MEM_RELEASE));
    DWORD error = GetLastError(); /* ERROR_INVALID_ADDRESS; Wine: ERROR_INVALID_PARAMETER */
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE), hr_of_win32(error),
                error);
    assert_int_equal(statistics_of(manager).FreedBehindRegions, 1);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* ---- every build: objects ---- */

static int use_after_release(bool of_heap)
{
    IHostMemoryManager *manager = create_manager();
    IHostMalloc *heap = create_heap(manager);
    if (of_heap) {
        IHostMalloc_Release(heap);
        IHostMalloc_AddRef(heap);
    } else {
        IHostMalloc_Release(heap);
        IHostMemoryManager_Release(manager);
        IHostMemoryManager_AddRef(manager);
    }
    return CAME_BACK;
}

/* Their memory has gone with them. */
static void objects_that_are_used_after_their_release_are_an_access_violation(void **state)
{
    (void)state;
    assert_int_equal(run_child("released_heap", 20), STATUS_ACCESS_VIOLATION);
    assert_int_equal(run_child("released_manager", 20), STATUS_ACCESS_VIOLATION);
}

/* ---- every build: what the debugger is told ---- */

static char told[256];

static LONG CALLBACK listen(EXCEPTION_POINTERS *exception)
{
    const EXCEPTION_RECORD *record = exception->ExceptionRecord;
    if (record->ExceptionCode == DBG_PRINTEXCEPTION_C) {
        strncpy(told, (const char *)record->ExceptionInformation[1], sizeof(told) - 1);
    }
    return EXCEPTION_CONTINUE_SEARCH;
}

#define EXPECT_TOLD(...) expect_told(__LINE__, __VA_ARGS__)
static void expect_told(int line, const char *format, ...)
{
    char expected[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expected, sizeof(expected), format, arguments);
    va_end(arguments);
    if (strcmp(told, expected) != 0) {
        fail_at(__FILE__, line, "the debugger was told \"%s\", not \"%s\"", told, expected);
    }
}

struct scene {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    PVOID listener;
};

static int create_scene(void **state)
{
    static struct scene scene;
    scene.manager = create_manager();
    scene.heap = create_heap(scene.manager);
    scene.listener = AddVectoredExceptionHandler(1, listen);
    told[0] = '\0';
    *state = &scene;
    return 0;
}

/* What is damaged goes with its heap all the same. */
static int destroy_scene(void **state)
{
    struct scene *scene = *state;
    if (scene->heap != NULL) {
        assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    }
    assert_int_equal(IHostMemoryManager_Release(scene->manager), 0);
    RemoveVectoredExceptionHandler(scene->listener);
    return 0;
}

#define scene_test(name) cmocka_unit_test_setup_teardown(name, create_scene, destroy_scene)

/* ---- every build: headers ---- */

/* E_FAIL from the call that finds the damage; from then on nothing goes any more. */
static void expect_free_fails(struct scene *scene, void *block)
{
    EXPECT_CALL(IHostMalloc_Free(scene->heap, block), E_FAIL, ERROR_INTERNAL_ERROR);
    expect_unavailable(scene->manager, scene->heap);
}

static void a_byte_written_in_front_of_a_block_is_found_when_it_is_freed(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 100);
    block[-1] ^= 1;
    expect_free_fails(scene, block);
    EXPECT_TOLD("hostmem: the block at %p was written in front of its beginning\n", block);
}

/* As by a block in front of it that was written far beyond its end. */
static void a_header_that_was_overwritten_is_not_believed(void **state)
{
    struct scene *scene = *state;
    allocate(scene->heap, 100); /* in front of it */
    char *block = allocate(scene->heap, 100);
    memset(block - 4 * sizeof(void *), 0xff, 4 * sizeof(void *) + 100);
    expect_free_fails(scene, block);
    EXPECT_TOLD("hostmem: the block at %p was written in front of its beginning\n", block);
}

/* A header of the size that a release build has, or a part of one, or the front of a debug build's. */
static void four_bytes_over_a_header_are_e_fail_and_no_figure_changes(void **state)
{
    struct scene *scene = *state;
    (void)state;
    for (SIZE_T at = 1; at <= 2 * sizeof(void *) / 4; at++) {
        HRESULT hr;
        char *block = allocate(scene->heap, 100);
        HOSTMEM_STATISTICS before = statistics_of(scene->manager);
        memset(block - 4 * at, 0x41, 4);
        expect_free_fails(scene, block);
        HOSTMEM_STATISTICS after = statistics_of(scene->manager);
        assert_int_equal(after.HeapCurrentBytes, before.HeapCurrentBytes);
        assert_int_equal(after.HeapCurrentBlocks, before.HeapCurrentBlocks);
        assert_int_equal(after.ChargedCurrentBytes, before.ChargedCurrentBytes);
        EXPECT_TOLD("hostmem: the block at %p was written in front of its beginning\n", block);
        destroy_scene(state);
        hr = create_scene(state);
        assert_int_equal(hr, 0);
    }
}

#ifndef NDEBUG

/* A method of a heap, called for what is no heap. */
static int call_for_another_object(void)
{
    IHostMemoryManager *manager = create_manager();
    IHostMalloc *heap = create_heap(manager);
    heap->lpVtbl->Free((IHostMalloc *)manager, NULL);
    return CAME_BACK;
}

static void a_method_called_for_another_object_is_an_assertion(void **state)
{
    (void)state;
    assert_int_equal(run_child("another_object", 20), 3); /* abort's exit code */
}

/* ---- debug builds: overrun ---- */

static void blocks_that_are_used_to_the_last_byte_are_fine(void **state)
{
    struct scene *scene = *state;
    for (SIZE_T size = 0; size < 5000; size += 1 + size / 7) {
        char *block = allocate(scene->heap, size);
        memset(block, 0xff, size);
        EXPECT_OK(IHostMalloc_Free(scene->heap, block));
    }
    EXPECT_TOLD("%s", "");
}

static void a_byte_written_behind_a_block_is_found_when_it_is_freed(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 100);
    HOSTMEM_STATISTICS before = statistics_of(scene->manager);
    memset(block, 7, 100);
    block[100] = 0;
    expect_free_fails(scene, block);
    EXPECT_TOLD("hostmem: the block at %p of 100 bytes was written behind its end\n", block);
    /* It is where it was, to be looked at. */
    assert_int_equal(block[99], 7);
    assert_int_equal(statistics_of(scene->manager).HeapCurrentBytes, before.HeapCurrentBytes);
    assert_int_equal(statistics_of(scene->manager).ForeignFree, 0);
}

static void damage_names_the_place_that_allocated_the_block(void **state)
{
    struct scene *scene = *state;
    void *memory = POISON_POINTER;
    EXPECT_OK(
        IHostMalloc_DebugAlloc(scene->heap, 10, eTaskCritical, (char *)"list.cpp", 42, &memory));
    ((char *)memory)[12] = 'x';
    expect_free_fails(scene, memory);
    EXPECT_TOLD("hostmem: the block at %p of 10 bytes from list.cpp:42 was written behind its "
                "end\n",
                memory);
}

static void damage_is_found_when_the_size_is_asked_for(void **state)
{
    struct scene *scene = *state;
    IHostMallocBlocks *blocks = POISON_POINTER;
    SIZE_T size = POISON_SIZE;
    char *block = allocate(scene->heap, 33);
    EXPECT_OK(IHostMalloc_QueryInterface(scene->heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_OK(IHostMallocBlocks_GetBlockSize(blocks, block, &size));
    assert_int_equal(size, 33);
    block[33] = 1;
    EXPECT_CALL(IHostMallocBlocks_GetBlockSize(blocks, block, &size), E_FAIL, ERROR_INTERNAL_ERROR);
    assert_int_equal(size, 0);
    EXPECT_TOLD("hostmem: the block at %p of 33 bytes was written behind its end\n", block);
    expect_unavailable(scene->manager, scene->heap);
    IHostMallocBlocks_Release(blocks);
}

static void damage_is_found_at_the_latest_when_the_heap_goes(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 33);
    allocate(scene->heap, 44);
    block[40] = 1;
    assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    scene->heap = NULL;
    EXPECT_TOLD("hostmem: the block at %p of 33 bytes was written behind its end\n", block);
    expect_unavailable(scene->manager, NULL);
}

/* ---- debug builds: use after free ---- */

static void a_freed_block_reads_as_nonsense(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 100);
    memset(block, 7, 100);
    EXPECT_OK(IHostMalloc_Free(scene->heap, block));
    for (int i = 0; i < 100; i++) {
        assert_int_equal((unsigned char)block[i], 0xdd);
    }
}

static void a_write_into_a_freed_block_is_found_by_a_later_free(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 100);
    EXPECT_OK(IHostMalloc_Free(scene->heap, block));
    block[50] = 7;
    HRESULT hr = S_OK;
    for (int i = 0; i < 64 && hr == S_OK; i++) {
        EXPECT_TOLD("%s", "");
        hr = IHostMalloc_Free(scene->heap, allocate(scene->heap, 100));
    }
    assert_int_equal(hr, E_FAIL);
    EXPECT_TOLD("hostmem: the block at %p of 100 bytes was written after it had been freed\n",
                block);
    expect_unavailable(scene->manager, scene->heap);
}

static void a_write_into_a_freed_block_is_found_at_the_latest_when_the_heap_goes(void **state)
{
    struct scene *scene = *state;
    char *block = allocate(scene->heap, 100);
    EXPECT_OK(IHostMalloc_Free(scene->heap, block));
    block[100] = 7;
    assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    scene->heap = NULL;
    EXPECT_TOLD("hostmem: the block at %p of 100 bytes was written around after it had been "
                "freed\n",
                block);
    expect_unavailable(scene->manager, NULL);
}

#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        manager_test(a_block_that_is_freed_twice_is_refused),
        manager_test(a_block_of_another_heap_is_refused_and_stays_alive),
        manager_test(a_block_whose_heap_has_gone_is_refused),
        manager_test(a_region_that_is_used_after_its_release_is_nobody_s),
        cmocka_unit_test(a_region_that_was_freed_behind_the_manager_s_back_is_forgotten),
        cmocka_unit_test(objects_that_are_used_after_their_release_are_an_access_violation),
        scene_test(a_byte_written_in_front_of_a_block_is_found_when_it_is_freed),
        scene_test(a_header_that_was_overwritten_is_not_believed),
        scene_test(four_bytes_over_a_header_are_e_fail_and_no_figure_changes),
#ifndef NDEBUG
        cmocka_unit_test(a_method_called_for_another_object_is_an_assertion),
        scene_test(blocks_that_are_used_to_the_last_byte_are_fine),
        scene_test(a_byte_written_behind_a_block_is_found_when_it_is_freed),
        scene_test(damage_names_the_place_that_allocated_the_block),
        scene_test(damage_is_found_when_the_size_is_asked_for),
        scene_test(damage_is_found_at_the_latest_when_the_heap_goes),
        scene_test(a_freed_block_reads_as_nonsense),
        scene_test(a_write_into_a_freed_block_is_found_by_a_later_free),
        scene_test(a_write_into_a_freed_block_is_found_at_the_latest_when_the_heap_goes),
#endif
    };
    const char *child = child_argument(argc, argv);
    if (child == NULL) {
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
#ifndef NDEBUG
    if (strcmp(child, "another_object") == 0) {
        return call_for_another_object();
    }
#endif
    return use_after_release(strcmp(child, "released_heap") == 0);
}
