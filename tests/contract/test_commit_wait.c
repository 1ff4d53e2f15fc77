/* SPDX-License-Identifier: MIT
 *
 * CommitWaitMilliseconds: a request that the budget refuses waits for room, until another thread
 * gives memory back, a limit is raised, the time is over (HOST_E_TIMEOUT), or the manager is shut
 * down or broken (HOST_E_ABANDONED).
 */
#include "contract/contract.h"

#define SHORT_WAIT 100
#define LONG_WAIT 60000 /* longer than a test may take */

/* ---- the time is over ---- */

/* GetTickCount64 is the manager's clock too: between its ticks nothing is lost. */
static void expect_waited(ULONGLONG since)
{
    assert_in_range(GetTickCount64() - since, SHORT_WAIT, 5000);
}

static void expect_timeout(IHostMemoryManager *manager, SIZE_T size, DWORD type,
                           EMemoryCriticalLevel level)
{
    void *memory = POISON_POINTER;
    ULONGLONG start = GetTickCount64();
    EXPECT_CALL(
        IHostMemoryManager_VirtualAlloc(manager, NULL, size, type, PAGE_READWRITE, level, &memory),
        HOST_E_TIMEOUT, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(memory);
    expect_waited(start);
}

static void a_wait_that_is_over_is_a_timeout(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.CommitLimit = 8 * MIB, .ReserveLimit = 64 * MIB, .EmergencyCommit = 4 * MIB,
                       .CommitWaitMilliseconds = SHORT_WAIT);
    IHostMalloc *heap = POISON_POINTER;
    void *block = POISON_POINTER;
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    char *memory = reserve_committed(manager, 4 * MIB);
    expect_timeout(manager, PAGE, MEM_RESERVE | MEM_COMMIT, eTaskCritical);
    expect_timeout(manager, 3 * MIB, MEM_COMMIT, eAppDomainCritical);
    expect_timeout(manager, 5 * MIB, MEM_COMMIT, eProcessCritical);
    expect_timeout(manager, 64 * MIB, MEM_RESERVE, eTaskCritical);
    ULONGLONG start = GetTickCount64();
    EXPECT_CALL(IHostMalloc_Alloc(heap, 1, eTaskCritical, &block), HOST_E_TIMEOUT,
                ERROR_NOT_ENOUGH_MEMORY);
    assert_null(block);
    expect_waited(start);
    block = POISON_POINTER;
    start = GetTickCount64();
    EXPECT_CALL(IHostMalloc_DebugAlloc(heap, 1, eTaskCritical, (char *)"file.c", 1, &block),
                HOST_E_TIMEOUT, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(block);
    expect_waited(start);
    /* Each was refused once, however often it has tried. */
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.DeniedTask, 4);
    assert_int_equal(statistics.DeniedAppDomain, 1);
    assert_int_equal(statistics.DeniedProcess, 1);
    assert_int_equal(statistics.DeniedReserve, 1);
    assert_int_equal(statistics.ChargedCurrentBytes, 4 * MIB);
    assert_int_equal(statistics.ChargedPeakBytes, 4 * MIB);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    teardown_manager((void **)&manager);
}

/* Nobody can make room for these, so nobody is waited for. */
static void what_can_never_fit_is_refused_at_once(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.CommitLimit = 8 * MIB, .ReserveLimit = 16 * MIB, .EmergencyCommit = 4 * MIB,
                       .CommitWaitMilliseconds = LONG_WAIT);
    IHostMalloc *heap = POISON_POINTER;
    void *memory = POISON_POINTER;
    ULONGLONG start = GetTickCount64();
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 4 * MIB + 1, MEM_COMMIT,
                                                PAGE_READWRITE, eTaskCritical, &memory),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 8 * MIB + 1, MEM_COMMIT,
                                                PAGE_READWRITE, eProcessCritical, &memory),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 16 * MIB + 1, MEM_RESERVE,
                                                PAGE_READWRITE, eProcessCritical, &memory),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    EXPECT_CALL(IHostMalloc_Alloc(heap, 5 * MIB, eTaskCritical, &memory), E_OUTOFMEMORY,
                ERROR_NOT_ENOUGH_MEMORY);
    assert_in_range(GetTickCount64() - start, 0, LONG_WAIT / 4);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.LastByLimit.Bytes, 5 * MIB);
    assert_int_equal(statistics.LastByLimit.Level, eTaskCritical);
    assert_int_equal(statistics.LastByLimit.Error, ERROR_NOT_ENOUGH_MEMORY);
    assert_int_equal(statistics.RefusedBySystem, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    teardown_manager((void **)&manager);
}

/* Only the budget is waited for: more time would not help against these. */
static void other_failures_do_not_wait(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.CommitLimit = 8 * MIB, .CommitWaitMilliseconds = LONG_WAIT);
    IHostMalloc *heap = POISON_POINTER;
    void *memory = POISON_POINTER;
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 0, MEM_RESERVE, PAGE_READWRITE,
                                                eTaskCritical, &memory),
                HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER);
    assert_null(memory);
    memory = POISON_POINTER;
    EXPECT_CALL(IHostMalloc_Alloc(heap, SIZE_MAX, eTaskCritical, &memory), E_OUTOFMEMORY,
                ERROR_NOT_ENOUGH_MEMORY);
    assert_null(memory);
    assert_int_equal(statistics_of(manager).DeniedTask, 0);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    teardown_manager((void **)&manager);
}

/* ---- a thread that waits ---- */

struct waiter {
    IHostMemoryManager *manager;
    IHostMalloc *heap; /* NULL: the request is VirtualAlloc's */
    SIZE_T size;
    HANDLE thread;
    HRESULT hr;
    DWORD last_error;
    void *memory;
};

static DWORD WINAPI request(void *context)
{
    struct waiter *waiter = context;
    waiter->memory = POISON_POINTER;
    SetLastError(MARKER);
    if (waiter->heap != NULL) {
        waiter->hr = IHostMalloc_Alloc(waiter->heap, waiter->size, eTaskCritical, &waiter->memory);
    } else {
        waiter->hr = IHostMemoryManager_VirtualAlloc(waiter->manager, NULL, waiter->size,
                                                     MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                                                     eTaskCritical, &waiter->memory);
    }
    waiter->last_error = GetLastError();
    return 0;
}

/* Starts a request that has to wait; it is waiting when this returns. */
static void start_waiter(struct waiter *waiter)
{
    UINT64 calls = statistics_of(waiter->manager).Calls.VirtualAlloc;
    waiter->thread = CreateThread(NULL, 0, request, waiter, 0, NULL);
    assert_non_null(waiter->thread);
    /* An Alloc is counted when it has its answer. */
    while (waiter->heap == NULL && statistics_of(waiter->manager).Calls.VirtualAlloc == calls) {
        Sleep(1);
    }
    assert_int_equal(WaitForSingleObject(waiter->thread, 50), WAIT_TIMEOUT);
}

static void expect_answer(struct waiter *waiter, HRESULT hr, DWORD last_error)
{
    assert_int_equal(WaitForSingleObject(waiter->thread, LONG_WAIT / 2), WAIT_OBJECT_0);
    CloseHandle(waiter->thread);
    expect_call(waiter->hr, waiter->last_error, hr, last_error, "the waiting request", __FILE__,
                __LINE__);
    if (hr != S_OK) {
        assert_null(waiter->memory);
    } else if (waiter->heap != NULL) {
        EXPECT_OK(IHostMalloc_Free(waiter->heap, waiter->memory));
    } else {
        EXPECT_OK(IHostMemoryManager_VirtualFree(waiter->manager, waiter->memory, 0, MEM_RELEASE));
    }
}

/* A full manager whose requests wait long, one of its heaps, and what fills it. */
struct full {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *memory; /* 3 MiB */
    void *block;  /* nearly 1 MiB */
};

static int setup_full(void **state)
{
    static struct full full;
    full.manager = CREATE_MANAGER(.CommitLimit = 4 * MIB, .ReserveLimit = 64 * MIB,
                                  .CommitWaitMilliseconds = LONG_WAIT);
    EXPECT_OK(IHostMemoryManager_CreateMalloc(full.manager, MALLOC_THREADSAFE, &full.heap));
    full.memory = reserve_committed(full.manager, 3 * MIB);
    EXPECT_OK(IHostMalloc_Alloc(full.heap, MIB - 64, eTaskCritical, &full.block));
    *state = &full;
    return 0;
}

/* After a test that has left the manager usable. */
static void tear_down(struct full *full)
{
    HOSTMEM_STATISTICS statistics = statistics_of(full->manager);
    assert_int_equal(statistics.DeniedTask, 0); /* whoever waited was served in the end */
    assert_int_equal(IHostMalloc_Release(full->heap), 0);
    if (full->memory != NULL) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(full->manager, full->memory, 0, MEM_RELEASE));
    }
    assert_int_equal(statistics_of(full->manager).ChargedCurrentBytes, 0);
    teardown_manager((void **)&full->manager);
}

static void a_decommit_lets_a_waiter_through(void **state)
{
    struct full *full = *state;
    struct waiter waiter = {.manager = full->manager, .size = 2 * MIB};
    start_waiter(&waiter);
    /* Not enough yet. */
    EXPECT_OK(IHostMemoryManager_VirtualFree(full->manager, full->memory, MIB, MEM_DECOMMIT));
    assert_int_equal(WaitForSingleObject(waiter.thread, 50), WAIT_TIMEOUT);
    EXPECT_OK(IHostMemoryManager_VirtualFree(full->manager, full->memory + MIB, MIB, MEM_DECOMMIT));
    expect_answer(&waiter, S_OK, UNCHANGED);
    tear_down(full);
}

static void a_release_lets_all_waiters_through(void **state)
{
    struct full *full = *state;
    struct waiter waiters[] = {{.manager = full->manager, .size = MIB},
                               {.manager = full->manager, .heap = full->heap, .size = MIB / 2},
                               {.manager = full->manager, .size = MIB}};
    for (int i = 0; i < 3; i++) {
        start_waiter(&waiters[i]);
    }
    EXPECT_OK(IHostMemoryManager_VirtualFree(full->manager, full->memory, 0, MEM_RELEASE));
    full->memory = NULL;
    for (int i = 0; i < 3; i++) {
        expect_answer(&waiters[i], S_OK, UNCHANGED);
    }
    tear_down(full);
}

static void a_freed_block_lets_a_waiter_through(void **state)
{
    struct full *full = *state;
    struct waiter waiter = {.manager = full->manager, .heap = full->heap, .size = MIB - 64};
    start_waiter(&waiter);
    EXPECT_OK(IHostMalloc_Free(full->heap, full->block));
    expect_answer(&waiter, S_OK, UNCHANGED);
    tear_down(full);
}

static void a_raised_limit_lets_a_waiter_through(void **state)
{
    struct full *full = *state;
    struct waiter waiter = {.manager = full->manager, .size = MIB};
    start_waiter(&waiter);
    SET_LIMITS(full->manager, .CommitLimit = 5 * MIB);
    expect_answer(&waiter, S_OK, UNCHANGED);
    struct waiter another = {.manager = full->manager, .heap = full->heap, .size = 2 * MIB};
    start_waiter(&another);
    SET_LIMITS(full->manager, .CommitLimit = 0);
    expect_answer(&another, S_OK, UNCHANGED);
    tear_down(full);
}

static void a_raised_reserve_limit_lets_a_waiter_through(void **state)
{
    struct full *full = *state;
    struct waiter waiter = {.manager = full->manager, .size = MIB};
    SET_LIMITS(full->manager, .ReserveLimit = 3 * MIB);
    start_waiter(&waiter);
    SET_LIMITS(full->manager, .ReserveLimit = 4 * MIB);
    expect_answer(&waiter, S_OK, UNCHANGED);
    tear_down(full);
}

/* ---- the end while threads wait ---- */

static void shutdown_abandons_those_who_wait(void **state)
{
    struct full *full = *state;
    struct waiter waiters[] = {{.manager = full->manager, .size = MIB},
                               {.manager = full->manager, .heap = full->heap, .size = MIB},
                               {.manager = full->manager, .size = MIB}};
    for (int i = 0; i < 3; i++) {
        start_waiter(&waiters[i]);
    }
    shut_down(full->manager);
    for (int i = 0; i < 3; i++) {
        expect_answer(&waiters[i], HOST_E_ABANDONED, ERROR_NOT_ENOUGH_MEMORY);
    }
    expect_unavailable(full->manager, full->heap);
    assert_int_equal(statistics_of(full->manager).DeniedTask, 3);
    EXPECT_EXACT_COMMIT(full->manager);
    assert_int_equal(IHostMalloc_Release(full->heap), 0);
    assert_int_equal(IHostMemoryManager_Release(full->manager), 0);
    assert_true(VirtualFree(full->memory, 0, MEM_RELEASE));
}

/* What others have freed is refunded when it is found. */
static void a_region_freed_behind_our_back_lets_a_waiter_through(void **state)
{
    struct full *full = *state;
    struct waiter waiter = {.manager = full->manager, .size = MIB};
    start_waiter(&waiter);
    assert_true(VirtualFree(full->memory, 0, MEM_RELEASE));
    assert_false(VirtualFree(full->memory, 0, MEM_RELEASE));
    DWORD error = GetLastError(); /* ERROR_INVALID_ADDRESS; Wine: ERROR_INVALID_PARAMETER */
    EXPECT_CALL(IHostMemoryManager_VirtualFree(full->manager, full->memory, 0, MEM_RELEASE),
                hr_of_win32(error), error);
    expect_answer(&waiter, S_OK, MARKER);
    EXPECT_OK(IHostMalloc_Free(full->heap, full->block));
    assert_int_equal(IHostMalloc_Release(full->heap), 0);
    assert_int_equal(IHostMemoryManager_Release(full->manager), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_that_is_over_is_a_timeout),
        cmocka_unit_test(what_can_never_fit_is_refused_at_once),
        cmocka_unit_test(other_failures_do_not_wait),
        cmocka_unit_test_setup(a_decommit_lets_a_waiter_through, setup_full),
        cmocka_unit_test_setup(a_release_lets_all_waiters_through, setup_full),
        cmocka_unit_test_setup(a_freed_block_lets_a_waiter_through, setup_full),
        cmocka_unit_test_setup(a_raised_limit_lets_a_waiter_through, setup_full),
        cmocka_unit_test_setup(a_raised_reserve_limit_lets_a_waiter_through, setup_full),
        cmocka_unit_test_setup(shutdown_abandons_those_who_wait, setup_full),
        cmocka_unit_test_setup(a_region_freed_behind_our_back_lets_a_waiter_through, setup_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
