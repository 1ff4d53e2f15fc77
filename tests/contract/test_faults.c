/* SPDX-License-Identifier: MIT
 *
 * What happens when the OS says no. A manager is made over the real OS with one call of it failing:
 * the first, then the second, and so on until the method no longer makes that many calls. After
 * each failure the method has returned the documented HRESULT and LastError, no out-parameter holds
 * anything, and the table, the figures and the OS agree that nothing has changed. (The release of a
 * whole region that the OS refuses is another matter: test_broken.c.) Linked with the static library,
 * because only the internal constructor takes another OS.
 */
#include "contract/contract.h"
#include "contract/faulty_os.h"

#include "com/com_private.h"

#include <string.h>

/* ---- a method under test ---- */

/* Everything a method can be tried on. */
struct scene {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *memory; /* a region of 1,000 pages; some of the first 20 committed */
    void *block;  /* of the heap */
    void *result; /* what the method under test gave */
};

enum { SCENE_PAGES = 1000 };

struct method_test {
    HRESULT (*call)(struct scene *scene);
    void (*undo)(struct scene *scene); /* after a success */
    bool ignores_faults;               /* S_OK whatever the OS says */
};

static const HOSTMEM_OPTIONS default_options = {.Size = sizeof(default_options)};

static HRESULT alloc(struct scene *scene, SIZE_T first, SIZE_T pages, DWORD type)
{
    scene->result = POISON_POINTER;
    return IHostMemoryManager_VirtualAlloc(
        scene->manager, (type & MEM_RESERVE) != 0 ? NULL : scene->memory + first * PAGE,
        pages * PAGE, type, PAGE_READWRITE, eTaskCritical, &scene->result);
}

static void create_scene(struct scene *scene, bool with_heap)
{
    *scene = (struct scene){0};
    assert_int_equal(host_memory_manager_create(&faulty.os, &default_options, &scene->manager),
                     S_OK);
    assert_int_equal(alloc(scene, 0, SCENE_PAGES, MEM_RESERVE), S_OK);
    scene->memory = scene->result;
    assert_int_equal(alloc(scene, 0, 5, MEM_COMMIT), S_OK);
    assert_int_equal(alloc(scene, 8, 2, MEM_COMMIT), S_OK);
    assert_int_equal(alloc(scene, 15, 5, MEM_COMMIT), S_OK);
    scene->result = NULL;
    if (with_heap) {
        assert_int_equal(
            IHostMemoryManager_CreateMalloc(scene->manager, MALLOC_THREADSAFE, &scene->heap), S_OK);
    }
}

static void destroy_scene(struct scene *scene)
{
    if (scene->heap != NULL) {
        assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    }
    if (scene->memory != NULL) {
        assert_int_equal(
            IHostMemoryManager_VirtualFree(scene->manager, scene->memory, 0, MEM_RELEASE), S_OK);
    }
    assert_int_equal(IHostMemoryManager_Release(scene->manager), 0);
    assert_int_equal(faulty.reservations, 0);
    assert_int_equal(faulty.table_reservations, 0);
}

/* Table, figures and OS agree. */
static void expect_consistent(struct scene *scene)
{
    struct host_memory_manager *manager =
        CONTAINING_RECORD(scene->manager, struct host_memory_manager, IHostMemoryManager_iface);
    const char *wrong = virtual_memory_check(&manager->memory);
    if (wrong != NULL) {
        fail_at(__FILE__, __LINE__, "call %u: %s", faulty.fail_at, wrong);
    }
    EXPECT_EXACT_COMMIT(scene->manager);
}

/* The figures without those that a failed call may change: its own count, and tables prepared. */
static HOSTMEM_STATISTICS figures(struct scene *scene)
{
    HOSTMEM_STATISTICS statistics = statistics_of(scene->manager);
    statistics.Calls = (HOSTMEM_CALLS){0};
    statistics.TableBytes = 0;
    statistics.RefusedBySystem =
        0; /* and which was the last: told of a refusal, not changed by it */
    statistics.LastBySystem = (HOSTMEM_REFUSAL){0};
    return statistics;
}

/* One call of the OS fails. False: the method made fewer calls, and succeeded. */
static bool try_with_fault(const struct method_test *test, bool with_heap, unsigned call,
                           os_error error)
{
    struct picture before, after;
    struct scene scene;
    create_scene(&scene, with_heap);
    take_picture(&before, scene.memory, SCENE_PAGES * PAGE);
    HOSTMEM_STATISTICS figures_before = figures(&scene);
    int reservations_before = faulty.reservations;

    arm(call, error);
    SetLastError(MARKER);
    HRESULT hr = test->call(&scene);
    DWORD last_error = GetLastError();
    bool failed = faulty.failed;
    os_error cause = faulty.failed_for_tables ? OS_NOT_ENOUGH_MEMORY : error;
    arm(0, OS_OK);

    if (!failed || test->ignores_faults) {
        expect_call(hr, last_error, S_OK, UNCHANGED, "the method", __FILE__, __LINE__);
        expect_consistent(&scene);
        if (test->undo != NULL) {
            test->undo(&scene);
        }
    } else {
        expect_call(hr, last_error, hr_of_win32(cause), cause, "the method", __FILE__, __LINE__);
        assert_null(scene.result); /* trap 2 */
        take_picture(&after, scene.memory, SCENE_PAGES * PAGE);
        EXPECT_SAME_PICTURE(&before, &after);
        assert_int_equal(faulty.reservations, reservations_before); /* trap 27: undone */
        HOSTMEM_STATISTICS figures_after = figures(&scene);
        figures_after.CommitPeakBytes = figures_before.CommitPeakBytes;
        figures_after.ReservePeakBytes = figures_before.ReservePeakBytes;
        figures_after.ChargedPeakBytes = figures_before.ChargedPeakBytes; /* until it failed */
        assert_memory_equal(&figures_before, &figures_after, sizeof(figures_before));
        expect_consistent(&scene);
        /* It was the fault, and nothing that stays: the next try succeeds. */
        assert_int_equal(test->call(&scene), S_OK);
        expect_consistent(&scene);
        if (test->undo != NULL) {
            test->undo(&scene);
        }
    }
    destroy_scene(&scene);
    return failed;
}

static unsigned try_all_faults(const struct method_test *test, bool with_heap)
{
    /* trap 33: what is out of memory and what is not. */
    static const os_error errors[] = {ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY,
                                      ERROR_COMMITMENT_LIMIT,  ERROR_NO_SYSTEM_RESOURCES,
                                      ERROR_INVALID_ADDRESS,   ERROR_ACCESS_DENIED,
                                      ERROR_INVALID_PARAMETER};
    unsigned calls = 0;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        calls = 0;
        while (try_with_fault(test, with_heap, calls + 1, errors[i])) {
            calls++;
            assert_in_range(calls, 1, 1000);
        }
    }
    return calls;
}

/* ---- memory ---- */

static HRESULT call_reserve(struct scene *scene)
{
    return alloc(scene, 0, 10, MEM_RESERVE);
}

/* Reaches into address space that the table has no slots for yet: they are made once the OS has
 * chosen the address, and without them the reservation has to go back. */
static HRESULT call_reserve_large(struct scene *scene)
{
    return alloc(scene, 0, sizeof(void *) == 8 ? 3u << 18 : 10, MEM_RESERVE);
}

static HRESULT call_reserve_and_commit(struct scene *scene)
{
    return alloc(scene, 0, 10, MEM_RESERVE | MEM_COMMIT);
}

static void release_result(struct scene *scene)
{
    assert_int_equal(IHostMemoryManager_VirtualFree(scene->manager, scene->result, 0, MEM_RELEASE),
                     S_OK);
    expect_consistent(scene);
}

/* Between two runs of pages that are committed. */
static HRESULT call_commit(struct scene *scene)
{
    return alloc(scene, 3, 6, MEM_COMMIT);
}

/* A fourth run: the page set of the region changes its form. The first node is there already, what
 * happens without one is in the unit tests. */
static HRESULT call_commit_apart(struct scene *scene)
{
    return alloc(scene, 500, 2, MEM_COMMIT);
}

static HRESULT call_reset(struct scene *scene)
{
    return alloc(scene, 0, 3, MEM_RESET);
}

static HRESULT call_decommit(struct scene *scene)
{
    return IHostMemoryManager_VirtualFree(scene->manager, scene->memory, 0, MEM_DECOMMIT);
}

/* Splits a run in two: a fourth one, for which there is room. */
static HRESULT call_decommit_apart(struct scene *scene)
{
    return IHostMemoryManager_VirtualFree(scene->manager, scene->memory + 16 * PAGE, 2 * PAGE,
                                          MEM_DECOMMIT);
}

static HRESULT call_protect(struct scene *scene)
{
    DWORD old = POISON_DWORD;
    HRESULT hr =
        IHostMemoryManager_VirtualProtect(scene->manager, scene->memory, PAGE, PAGE_READONLY, &old);
    assert_int_equal(old, hr == S_OK ? PAGE_READWRITE : POISON_DWORD);
    return hr;
}

static HRESULT call_query(struct scene *scene)
{
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    HRESULT hr = IHostMemoryManager_VirtualQuery(scene->manager, scene->memory, &info, sizeof(info),
                                                 &written);
    assert_int_equal(written, hr == S_OK ? sizeof(info) : 0);
    return hr;
}

static HRESULT call_memory_load(struct scene *scene)
{
    DWORD load = POISON_DWORD;
    SIZE_T available = POISON_SIZE;
    HRESULT hr = IHostMemoryManager_GetMemoryLoad(scene->manager, &load, &available);
    assert_int_not_equal(load, POISON_DWORD);
    assert_int_not_equal(available, POISON_SIZE);
    return hr;
}

/* At least this many calls of the OS can fail in it. */
static void memory_method(unsigned calls, struct method_test test)
{
    assert_in_range(try_all_faults(&test, false), calls, 100);
}

static void virtual_alloc_fails_cleanly(void **state)
{
    (void)state;
    memory_method(1, (struct method_test){.call = call_reserve, .undo = release_result});
    memory_method(1, (struct method_test){.call = call_reserve_large, .undo = release_result});
    memory_method(1, (struct method_test){.call = call_reserve_and_commit, .undo = release_result});
    memory_method(1, (struct method_test){.call = call_commit});
    memory_method(1, (struct method_test){.call = call_commit_apart});
    memory_method(1, (struct method_test){.call = call_reset});
}

/* What Windows had no memory for is told apart from what a limit refuses. */
static void a_refusal_of_the_system_is_counted_apart(void **state)
{
    struct scene scene;
    (void)state;
    create_scene(&scene, false);
    arm(1, ERROR_COMMITMENT_LIMIT);
    assert_int_equal(call_commit(&scene), E_OUTOFMEMORY);
    arm(0, OS_OK);
    HOSTMEM_STATISTICS now = statistics_of(scene.manager);
    assert_int_equal(now.RefusedBySystem, 1);
    assert_int_equal(now.LastBySystem.Error, ERROR_COMMITMENT_LIMIT);
    assert_true(now.LastBySystem.Bytes > 0);
    assert_int_equal(now.DeniedTask + now.DeniedAppDomain + now.DeniedProcess, 0);
    assert_int_equal(now.LastByLimit.Error, 0);
    destroy_scene(&scene);
}

static void virtual_free_fails_cleanly(void **state)
{
    (void)state;
    memory_method(1, (struct method_test){.call = call_decommit});
    /* Giving back asks for nothing but itself. */
    struct method_test apart = {.call = call_decommit_apart};
    assert_int_equal(try_all_faults(&apart, false), 1);
}

static void queries_fail_cleanly(void **state)
{
    (void)state;
    memory_method(1, (struct method_test){.call = call_protect});
    memory_method(1, (struct method_test){.call = call_query});
    memory_method(1, (struct method_test){.call = call_memory_load});
}

/* ---- notifications: never a failure, and LastError stays ---- */

static HRESULT call_acquired(struct scene *scene)
{
    return IHostMemoryManager_AcquiredVirtualAddressSpace(scene->manager, scene->memory, 0);
}

static void call_released(struct scene *scene)
{
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(scene->manager, scene->memory));
    assert_int_equal(statistics_of(scene->manager).ViewsCurrent, 0);
    assert_int_equal(statistics_of(scene->manager).ViewsCurrentBytes, 0);
}

static void notifications_never_fail(void **state)
{
    (void)state;
    memory_method(1, (struct method_test){
                         .call = call_acquired, .undo = call_released, .ignores_faults = true});
}

/* ---- heaps ---- */

static HRESULT call_create_malloc(struct scene *scene)
{
    IHostMalloc *heap = POISON_POINTER;
    HRESULT hr = IHostMemoryManager_CreateMalloc(scene->manager, MALLOC_THREADSAFE, &heap);
    scene->result = heap;
    return hr;
}

static void release_heap(struct scene *scene)
{
    assert_int_equal(IHostMalloc_Release((IHostMalloc *)scene->result), 0);
}

static HRESULT call_heap_alloc(struct scene *scene)
{
    scene->result = POISON_POINTER;
    return IHostMalloc_Alloc(scene->heap, 100, eTaskCritical, &scene->result);
}

static void free_result(struct scene *scene)
{
    EXPECT_OK(IHostMalloc_Free(scene->heap, scene->result));
    assert_int_equal(statistics_of(scene->manager).HeapCurrentBytes, 0);
    assert_int_equal(statistics_of(scene->manager).HeapCurrentBlocks, 0);
}

static void heaps_and_their_blocks_fail_cleanly(void **state)
{
    const struct method_test create = {.call = call_create_malloc, .undo = release_heap};
    const struct method_test allocate = {.call = call_heap_alloc, .undo = free_result};
    (void)state;
    assert_in_range(try_all_faults(&create, false), 2, 100);
    assert_in_range(try_all_faults(&allocate, true), 2, 100);
}

/* No room to remember where a block came from is no reason not to give it. */
static void debug_alloc_does_without_its_site(void **state)
{
    unsigned without_site = 0, refused = 0;
    (void)state;
    for (unsigned call = 1;; call++) {
        struct scene scene;
        void *block = POISON_POINTER;
        create_scene(&scene, true);
        arm(call, OS_NOT_ENOUGH_MEMORY);
        SetLastError(MARKER);
        HRESULT hr =
            IHostMalloc_DebugAlloc(scene.heap, 100, eTaskCritical, (char *)"file.c", 1, &block);
        DWORD last_error = GetLastError();
        bool failed = faulty.failed;
        arm(0, OS_OK);
        if (hr == S_OK) {
            expect_call(hr, last_error, S_OK, UNCHANGED, "DebugAlloc", __FILE__, __LINE__);
            without_site += failed;
            memset(block, 1, 100);
            EXPECT_OK(IHostMalloc_Free(scene.heap, block));
        } else {
            expect_call(hr, last_error, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY, "DebugAlloc",
                        __FILE__, __LINE__);
            assert_null(block);
            refused++;
        }
        assert_int_equal(statistics_of(scene.manager).HeapCurrentBytes, 0);
        assert_int_equal(statistics_of(scene.manager).HeapCurrentBlocks, 0);
        destroy_scene(&scene);
        if (!failed) {
            assert_int_equal(hr, S_OK);
            break;
        }
    }
    assert_true(without_site > 0 && refused > 0);
}

/* ---- the manager itself ---- */

static void create_fails_cleanly(void **state)
{
    unsigned call = 1;
    (void)state;
    for (;; call++) {
        IHostMemoryManager *manager = POISON_POINTER;
        arm(call, OS_NOT_ENOUGH_MEMORY);
        SetLastError(MARKER);
        HRESULT hr = host_memory_manager_create(&faulty.os, &default_options, &manager);
        DWORD last_error = GetLastError();
        bool failed = faulty.failed;
        arm(0, OS_OK);
        if (!failed) {
            expect_call(hr, last_error, S_OK, UNCHANGED, "create", __FILE__, __LINE__);
            assert_int_equal(IHostMemoryManager_Release(manager), 0);
            assert_int_equal(faulty.table_reservations, 0);
            break;
        }
        expect_call(hr, last_error, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY, "create", __FILE__,
                    __LINE__);
        assert_null(manager);
        assert_int_equal(faulty.table_reservations, 0);
    }
    assert_in_range(call, 4, 100);
    assert_false(module_in_use());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_fails_cleanly),
        cmocka_unit_test(virtual_alloc_fails_cleanly),
        cmocka_unit_test(a_refusal_of_the_system_is_counted_apart),
        cmocka_unit_test(virtual_free_fails_cleanly),
        cmocka_unit_test(a_refusal_of_the_system_is_counted_apart),
        cmocka_unit_test(queries_fail_cleanly),
        cmocka_unit_test(notifications_never_fail),
        cmocka_unit_test(heaps_and_their_blocks_fail_cleanly),
        cmocka_unit_test(debug_alloc_does_without_its_site),
    };
    return cmocka_run_group_tests(tests, create_faulty_os, NULL);
}
