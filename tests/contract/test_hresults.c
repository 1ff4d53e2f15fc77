/* SPDX-License-Identifier: MIT
 *
 * The HRESULTs of the memory interfaces, each by what really causes it (trap 33). HOST_E_TIMEOUT and
 * HOST_E_ABANDONED are in test_commit_wait.c, failures of the OS in test_faults.c.
 */
#include "contract/contract.h"

#include <string.h>

static IHostMalloc *create_heap(IHostMemoryManager *manager, DWORD type)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, type, &heap));
    return heap;
}

/* ---- E_POINTER ---- */

/* The CLR throws LastError after a Virtual* call that failed; VirtualProtect answers as Windows. */
static void an_out_pointer_that_is_null_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = POISON_SIZE;
    DWORD load = POISON_DWORD;
    for (int shut = 0; shut < 2; shut++) { /* and it stays so */
        EXPECT_CALL(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, NULL), E_POINTER,
                    UNCHANGED);
        EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE,
                                                    PAGE_READWRITE, eTaskCritical, NULL),
                    E_POINTER, ERROR_INVALID_PARAMETER);
        EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, &info, &info, sizeof(info), NULL),
                    E_POINTER, ERROR_NOACCESS);
        EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, &info, NULL, sizeof(info), &size),
                    E_POINTER, ERROR_NOACCESS);
        EXPECT_CALL(IHostMemoryManager_VirtualProtect(manager, &info, 1, PAGE_READWRITE, NULL),
                    HRESULT_FROM_WIN32(ERROR_NOACCESS), ERROR_NOACCESS);
        EXPECT_CALL(IHostMemoryManager_GetMemoryLoad(manager, NULL, &size), E_POINTER, UNCHANGED);
        EXPECT_CALL(IHostMemoryManager_GetMemoryLoad(manager, &load, NULL), E_POINTER, UNCHANGED);
        EXPECT_CALL(IHostMalloc_Alloc(heap, 1, eTaskCritical, NULL), E_POINTER, UNCHANGED);
        EXPECT_CALL(IHostMalloc_DebugAlloc(heap, 1, eTaskCritical, NULL, 0, NULL), E_POINTER,
                    UNCHANGED);
        shut_down(manager);
    }
    assert_int_equal(statistics_of(manager).RegionsCurrent, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- E_OUTOFMEMORY ---- */

/* Of 2 GiB of address space 1.98 are never free in one piece. 64 bits cannot be used up in a test;
 * test_faults.c has the OS say no there. */
static void no_address_space_is_e_outofmemory(IHostMemoryManager *manager)
{
    SIZE_T size = 2032 * MIB;
    void *memory = POISON_POINTER;
    SetLastError(MARKER);
    assert_null(VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_READWRITE));
    assert_int_equal(GetLastError(), ERROR_NOT_ENOUGH_MEMORY);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, size, MEM_RESERVE, PAGE_READWRITE,
                                                eTaskCritical, &memory),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(memory);
}

static void no_memory_is_e_outofmemory_whoever_has_none(void **state)
{
    IHostMemoryManager *manager = *state;
    void *memory = POISON_POINTER;
    if (sizeof(void *) == 4) {
        no_address_space_is_e_outofmemory(manager);
    }
    assert_int_equal(statistics_of(manager).DeniedTask, 0);
    SET_LIMITS(manager, .CommitLimit = PAGE - 1);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 1, MEM_COMMIT, PAGE_READWRITE,
                                                eTaskCritical, &memory),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(memory);
    assert_int_equal(statistics_of(manager).DeniedTask, 1);
}

/* ---- HOST_E_INVALIDOPERATION ---- */

static void freeing_what_is_not_ours_is_host_e_invalidoperation(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    IHostMalloc *other = create_heap(manager, MALLOC_THREADSAFE);
    char *memory = reserve_committed(manager, GRANULARITY);
    void *block = POISON_POINTER;
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, &heap, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory + PAGE, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_OK(IHostMalloc_Alloc(heap, 10, eTaskCritical, &block));
    EXPECT_CALL(IHostMalloc_Free(other, block), HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    EXPECT_CALL(IHostMalloc_Free(heap, block), HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    assert_int_equal(IHostMalloc_Release(other), 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- what Win32 says ---- */

/* None of these is worth an E_FAIL: the manager works on. */
static void wrong_arguments_are_what_win32_says(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, GRANULARITY);
    char *raw = VirtualAlloc(NULL, GRANULARITY, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    static const struct {
        SIZE_T size;
        DWORD type;
    } wrong[] = {{PAGE, MEM_RELEASE},
                 {0, MEM_RELEASE | MEM_DECOMMIT},
                 {2 * GRANULARITY, MEM_DECOMMIT},
                 {0, 0},
                 {PAGE, 0x123}};
    assert_non_null(raw);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        SetLastError(MARKER);
        assert_false(VirtualFree(raw, wrong[i].size, wrong[i].type));
        DWORD error = GetLastError();
        EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, wrong[i].size, wrong[i].type),
                    HRESULT_FROM_WIN32(error), error);
    }
    memset(memory, 1, GRANULARITY);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_true(VirtualFree(raw, 0, MEM_RELEASE));
}

/* ---- HOST_E_NOT_OWNER ---- */

struct race {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    ULONGLONG deadline;
    LONG alloc_refused;
    LONG free_refused;
    LONG granted;
};

static bool refused(HRESULT hr, DWORD last_error)
{
    return hr == HOST_E_NOT_OWNER && last_error == ERROR_NOT_OWNER;
}

/* Large blocks come straight from the OS, so that a thread is inside most of the time. A number
 * other than 0 says what was wrong. */
static DWORD WINAPI allocate_and_free(void *context)
{
    struct race *race = context;
    for (bool seen = false; !seen && GetTickCount64() < race->deadline;) {
        void *block = POISON_POINTER;
        SetLastError(MARKER);
        HRESULT hr = IHostMalloc_Alloc(race->heap, MIB, eTaskCritical, &block);
        if (hr != S_OK) {
            if (!refused(hr, GetLastError()) || block != NULL) {
                return 1;
            }
            InterlockedIncrement(&race->alloc_refused);
            continue;
        }
        InterlockedIncrement(&race->granted);
        while ((hr = IHostMalloc_Free(race->heap, block)) != S_OK) {
            if (!refused(hr, GetLastError())) {
                return 2;
            }
            InterlockedIncrement(&race->free_refused);
        }
        seen = race->alloc_refused > 0 && race->free_refused > 0;
    }
    return 0;
}

/* trap 16: who asks for a heap without MALLOC_THREADSAFE promises to serialize the calls. */
static void a_heap_for_one_thread_tells_the_second_so(void **state)
{
    struct race race = {
        .manager = *state, .heap = create_heap(*state, 0), .deadline = GetTickCount64() + 30000};
    void *block = POISON_POINTER;
    run_threads(4, allocate_and_free, &race);
    assert_true(race.alloc_refused > 0 && race.free_refused > 0 && race.granted > 0);
    /* No harm was done. */
    HOSTMEM_STATISTICS statistics = statistics_of(race.manager);
    assert_int_equal(statistics.HeapCurrentBlocks, 0);
    assert_int_equal(statistics.HeapCurrentBytes, 0);
    assert_int_equal(statistics.ChargedCurrentBytes, 0);
    assert_int_equal(statistics.ForeignFree, 0);
    assert_int_equal(statistics.DeniedTask, 0);
    EXPECT_OK(IHostMalloc_Alloc(race.heap, 100, eTaskCritical, &block));
    EXPECT_OK(IHostMalloc_Free(race.heap, block));
    assert_int_equal(IHostMalloc_Release(race.heap), 0);
}

static void a_heap_for_one_thread_serves_one_after_the_other(void **state)
{
    IHostMalloc *heap = create_heap(*state, 0);
    struct race race = {.heap = heap, .deadline = GetTickCount64() + 50};
    for (int i = 0; i < 3; i++, race.deadline = GetTickCount64() + 50) {
        run_threads(1, allocate_and_free, &race);
    }
    assert_true(race.granted > 0);
    assert_int_equal(race.alloc_refused, 0);
    assert_int_equal(race.free_refused, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- freed behind our back ---- */

/* E_FAIL is for a table that contradicts itself (test_broken.c); this one lives on. */
static void a_region_that_was_freed_behind_our_back_is_dropped_and_refunded(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = 2 * GRANULARITY);
    void *result = POISON_POINTER;
    (void)state;
    char *memory = reserve_committed(manager, GRANULARITY);
    char *intact = reserve_committed(manager, GRANULARITY);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    assert_false(VirtualFree(memory, 0, MEM_RELEASE));
    DWORD error = GetLastError(); /* ERROR_INVALID_ADDRESS; Wine: ERROR_INVALID_PARAMETER */
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE), hr_of_win32(error),
                error);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    HOSTMEM_STATISTICS now = statistics_of(manager);
    assert_int_equal(now.FreedBehindRegions, 1);
    assert_int_equal(now.FreedBehindBytes, GRANULARITY);
    assert_int_equal(now.RegionsCurrent, 1);
    assert_int_equal(now.ChargedCurrentBytes, GRANULARITY);
    EXPECT_EXACT_COMMIT(manager);
    /* Found by a commit, and by a reservation in the same place. */
    memory = reserve_committed(manager, GRANULARITY);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    assert_int_not_equal(IHostMemoryManager_VirtualAlloc(manager, memory, PAGE, MEM_COMMIT,
                                                         PAGE_READWRITE, eTaskCritical, &result),
                         S_OK);
    assert_int_equal(statistics_of(manager).FreedBehindRegions, 2);
    memory = reserve(manager, GRANULARITY);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, memory, GRANULARITY,
                                              MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &result));
    assert_ptr_equal(result, memory);
    now = statistics_of(manager);
    assert_int_equal(now.FreedBehindRegions, 3);
    assert_int_equal(now.RegionsCurrent, 2);
    assert_int_equal(now.ChargedCurrentBytes, 2 * GRANULARITY);
    EXPECT_EXACT_COMMIT(manager);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, intact, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* ---- HOST_E_CLRNOTAVAILABLE ---- */

static void after_shutdown_every_method_is_unavailable(void **state)
{
    IHostMemoryManager *manager = *state, *other = create_manager();
    IHostMalloc *heap = create_heap(manager, MALLOC_THREADSAFE);
    char *memory = reserve_committed(manager, GRANULARITY);
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    struct picture before, after;
    void *block = POISON_POINTER;
    EXPECT_OK(IHostMalloc_Alloc(heap, 100, eTaskCritical, &block));
    memset(memory, 0x5a, GRANULARITY);
    take_picture(&before, memory, GRANULARITY);
    HOSTMEM_STATISTICS figures_before = statistics_of(manager);
    for (int twice = 0; twice < 2; twice++) {
        shut_down(manager);
        expect_unavailable(manager, heap);
    }
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE),
                HOST_E_CLRNOTAVAILABLE, ERROR_NOT_READY);
    EXPECT_CALL(IHostMalloc_Free(heap, block), HOST_E_CLRNOTAVAILABLE, ERROR_NOT_READY);
    /* The memory stays as it is, and so do the figures, but for the calls. */
    take_picture(&after, memory, GRANULARITY);
    EXPECT_SAME_PICTURE(&before, &after);
    assert_int_equal(memory[GRANULARITY - 1], 0x5a);
    memset(block, 1, 100);
    HOSTMEM_STATISTICS figures_after = statistics_of(manager);
    assert_true(figures_after.Calls.VirtualAlloc > figures_before.Calls.VirtualAlloc);
    assert_true(figures_after.Calls.Free > figures_before.Calls.Free);
    figures_after.Calls = figures_before.Calls;
    assert_memory_equal(&figures_before, &figures_after, sizeof(figures_before));
    EXPECT_EXACT_COMMIT(manager);
    /* The host's own interfaces go on. */
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    IHostMemoryPressure *pressure = INTERFACE_OF(manager, IHostMemoryPressure);
    IHostRuntimeLifetime *lifetime = INTERFACE_OF(manager, IHostRuntimeLifetime);
    EXPECT_OK(IHostMemoryLimits_GetLimits(setter, &limits));
    EXPECT_OK(IHostMemoryLimits_SetLimits(setter, &limits));
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(pressure, eMemoryAvailableLow));
    EXPECT_OK(IHostRuntimeLifetime_RuntimeStarted(lifetime));
    IHostRuntimeLifetime_Release(lifetime);
    IHostMemoryPressure_Release(pressure);
    IHostMemoryLimits_Release(setter);
    expect_unavailable(manager, heap);
    /* And so does every other manager: trap 24. */
    EXPECT_OK(IHostMemoryManager_VirtualFree(other, reserve(other, GRANULARITY), 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(other), 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

static int release_shut_down(void **state)
{
    assert_int_equal(IHostMemoryManager_Release((IHostMemoryManager *)*state), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(an_out_pointer_that_is_null_is_e_pointer),
        manager_test(no_memory_is_e_outofmemory_whoever_has_none),
        manager_test(freeing_what_is_not_ours_is_host_e_invalidoperation),
        manager_test(wrong_arguments_are_what_win32_says),
        manager_test(a_heap_for_one_thread_tells_the_second_so),
        manager_test(a_heap_for_one_thread_serves_one_after_the_other),
        cmocka_unit_test(a_region_that_was_freed_behind_our_back_is_dropped_and_refunded),
        cmocka_unit_test_setup_teardown(after_shutdown_every_method_is_unavailable, setup_manager,
                                        release_shut_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
