/* SPDX-License-Identifier: MIT
 *
 * Memory that other code in the process has freed behind the manager's back, with a VirtualFree of its
 * own: a commit, decommit or release of it gets the answer that Windows gives, the region is dropped,
 * refunded and counted once, whoever meets it first, and the manager lives on.
 */
#include "contract/contract.h"

#include <stdatomic.h>
#include <string.h>

static void free_behind(void *memory)
{
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

/* So many regions of the manager's were found freed, and nothing is left of them. */
static void expect_dropped(IHostMemoryManager *manager, UINT64 regions, UINT64 bytes)
{
    HOSTMEM_STATISTICS now = statistics_of(manager);
    assert_int_equal(now.FreedBehindRegions, regions);
    assert_int_equal(now.FreedBehindBytes, bytes);
    assert_int_equal(now.RegionsCurrent, 0);
    assert_int_equal(now.ReserveCurrentBytes, 0);
    assert_int_equal(now.CommitCurrentBytes, 0);
    assert_int_equal(now.ChargedCurrentBytes, 0);
    EXPECT_EXACT_COMMIT(manager);
}

/* ---- one thread ---- */

/* On both sides 16 pages of which 8 are committed, and then nothing. */
static void create_and_free_behind(struct pair *pair)
{
    assert_int_equal(PAIR_CREATE(pair, 16 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(pair, 4 * (ptrdiff_t)PAGE, 8 * PAGE, MEM_COMMIT, PAGE_READWRITE),
                     0);
    free_behind(pair->raw);
    free_behind(pair->managed);
}

static void a_commit_in_a_vanished_region_is_what_windows_says(void **state)
{
    static const struct {
        ptrdiff_t first;
        SIZE_T pages;
    } calls[] = {{0, 1}, {0, 16}, {4, 1}, {3, 3}, {15, 1}, {12, 8}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct pair pair = {.manager = *state};
        create_and_free_behind(&pair);
        assert_int_not_equal(PAIR_ALLOC(&pair, calls[i].first * (ptrdiff_t)PAGE,
                                        calls[i].pages * PAGE, MEM_COMMIT, PAGE_READWRITE),
                             0);
        expect_dropped(*state, i + 1, (i + 1) * 16 * PAGE);
        PAIR_FREE_REFUSED(&pair, 0, 0, MEM_RELEASE);
    }
}

static void a_decommit_in_a_vanished_region_is_what_windows_says(void **state)
{
    static const struct {
        ptrdiff_t first;
        SIZE_T pages;
    } calls[] = {{0, 0}, {0, 1}, {0, 16}, {4, 1}, {3, 3}, {15, 1}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct pair pair = {.manager = *state};
        create_and_free_behind(&pair);
        assert_int_not_equal(
            PAIR_FREE(&pair, calls[i].first * (ptrdiff_t)PAGE, calls[i].pages * PAGE, MEM_DECOMMIT),
            0);
        expect_dropped(*state, i + 1, (i + 1) * 16 * PAGE);
        PAIR_FREE_REFUSED(&pair, 0, 0, MEM_RELEASE);
    }
}

/* What looks at it is Windows' alone, and drops nothing. */
static void a_reset_or_protect_in_a_vanished_region_is_what_windows_says(void **state)
{
    struct pair pair = {.manager = *state};
    DWORD old;
    create_and_free_behind(&pair);
    assert_int_not_equal(PAIR_ALLOC(&pair, 4 * (ptrdiff_t)PAGE, PAGE, MEM_RESET, PAGE_READWRITE),
                         0);
    assert_int_not_equal(PAIR_PROTECT(&pair, 4 * (ptrdiff_t)PAGE, PAGE, PAGE_READONLY, &old), 0);
    assert_int_equal(statistics_of(*state).FreedBehindRegions, 0);
    assert_int_not_equal(PAIR_FREE(&pair, 0, 0, MEM_RELEASE), 0);
    expect_dropped(*state, 1, 16 * PAGE);
}

/* A commit that the limit refuses makes room by finding what is gone. */
static void at_the_limit_a_vanished_region_makes_room(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = 8 * PAGE);
    void *result = POISON_POINTER;
    (void)state;
    char *memory = reserve(manager, 16 * PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, memory, 8 * PAGE, MEM_COMMIT, PAGE_READWRITE,
                                              eProcessCritical, &result));
    free_behind(memory);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, memory + 8 * PAGE, PAGE, MEM_COMMIT,
                                                PAGE_READWRITE, eProcessCritical, &result),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    expect_dropped(manager, 1, 16 * PAGE);
    memory = reserve_committed(manager, 8 * PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* Nobody touches it any more. */
static void a_measurement_finds_a_vanished_region(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, 4 * GRANULARITY),
         *stays = reserve_committed(manager, PAGE);
    free_behind(memory);
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 4 * GRANULARITY + PAGE);
    IHostMemoryStatistics *statistics = INTERFACE_OF(manager, IHostMemoryStatistics);
    UINT64 counted, system;
    EXPECT_OK(IHostMemoryStatistics_MeasureCommit(statistics, &counted, &system));
    IHostMemoryStatistics_Release(statistics);
    assert_int_equal(counted, PAGE);
    assert_int_equal(system, PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, stays, 0, MEM_RELEASE));
    expect_dropped(manager, 1, 4 * GRANULARITY);
}

/* ---- heaps ---- */

static void a_heap_whose_memory_has_vanished_goes_on_and_ends(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = POISON_POINTER;
    MEMORY_BASIC_INFORMATION info;
    void *blocks[3] = {POISON_POINTER, POISON_POINTER, POISON_POINTER};
    UINT64 bytes = 0;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    for (int i = 0; i < 2; i++) { /* a span for large blocks, and one for small ones */
        EXPECT_OK(IHostMalloc_Alloc(heap, i == 0 ? MIB : 100, eTaskCritical, &blocks[i]));
        assert_int_not_equal(VirtualQuery(blocks[i], &info, sizeof(info)), 0);
        free_behind(info.AllocationBase);
    }
    EXPECT_OK(IHostMalloc_Alloc(heap, MIB, eTaskCritical, &blocks[2]));
    memset(blocks[2], 0x5a, MIB);
    EXPECT_OK(IHostMalloc_Free(heap, blocks[2]));
    assert_int_equal(IHostMalloc_Release(heap), 0);
    HOSTMEM_STATISTICS now = statistics_of(manager);
    bytes = now.FreedBehindBytes;
    assert_int_equal(now.FreedBehindRegions, 2);
    assert_true(bytes > MIB);
    expect_dropped(manager, 2, bytes);
}

/* ---- two threads ---- */

#define ROUNDS 2000

struct meeting {
    IHostMemoryManager *manager;
    char *memory;         /* of this round */
    bool commits;         /* the second thread commits instead of releasing */
    atomic_uint numbers;  /* of the threads */
    atomic_uint arrived;  /* at the beginnings and ends of rounds */
    atomic_uint windows;  /* answers that Windows gave … */
    atomic_uint managers; /* … and HOST_E_INVALIDOPERATION */
};

/* When both threads have come here, both go on. */
static void meet(struct meeting *meeting)
{
    unsigned both = atomic_fetch_add(&meeting->arrived, 1) / 2 * 2 + 2;
    while (atomic_load(&meeting->arrived) < both) {
        SwitchToThread();
    }
}

static HRESULT touch(const struct meeting *meeting, bool commits)
{
    void *result;
    return commits
               ? IHostMemoryManager_VirtualAlloc(meeting->manager, meeting->memory, PAGE,
                                                 MEM_COMMIT, PAGE_READWRITE, eTaskCritical, &result)
               : IHostMemoryManager_VirtualFree(meeting->manager, meeting->memory, 0, MEM_RELEASE);
}

static DWORD WINAPI touch_together(void *context)
{
    struct meeting *meeting = context;
    bool first = atomic_fetch_add(&meeting->numbers, 1) == 0;
    for (int i = 0; i < ROUNDS; i++) {
        void *memory = NULL;
        if (first) {
            if (IHostMemoryManager_VirtualAlloc(meeting->manager, NULL, GRANULARITY,
                                                MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                                                eTaskCritical, &memory) != S_OK ||
                !VirtualFree(memory, 0, MEM_RELEASE)) {
                return 1;
            }
            meeting->memory = memory;
        }
        meet(meeting);
        HRESULT hr = touch(meeting, !first && meeting->commits);
        if (hr == HOST_E_INVALIDOPERATION) {
            atomic_fetch_add(&meeting->managers, 1);
        } else if (HRESULT_FACILITY(hr) == FACILITY_WIN32 && hr != E_OUTOFMEMORY) {
            atomic_fetch_add(&meeting->windows, 1);
        } else {
            return 2;
        }
        meet(meeting);
    }
    return 0;
}

/* One of them hears what Windows says, and the other that there is no such region. */
static void of_two_threads_that_release_a_vanished_region_one_drops_it(void **state)
{
    struct meeting meeting = {.manager = *state};
    run_threads(2, touch_together, &meeting);
    assert_int_equal(meeting.windows, ROUNDS);
    assert_int_equal(meeting.managers, ROUNDS);
    expect_dropped(*state, ROUNDS, ROUNDS * GRANULARITY);
}

/* A commit always hears what Windows says; the release does too if it comes first. */
static void a_release_and_a_commit_meet_in_a_vanished_region(void **state)
{
    struct meeting meeting = {.manager = *state, .commits = true};
    run_threads(2, touch_together, &meeting);
    assert_in_range(meeting.windows, ROUNDS, 2 * ROUNDS);
    assert_int_equal(meeting.windows + meeting.managers, 2 * ROUNDS);
    expect_dropped(*state, ROUNDS, ROUNDS * GRANULARITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(a_commit_in_a_vanished_region_is_what_windows_says),
        manager_test(a_decommit_in_a_vanished_region_is_what_windows_says),
        manager_test(a_reset_or_protect_in_a_vanished_region_is_what_windows_says),
        cmocka_unit_test(at_the_limit_a_vanished_region_makes_room),
        manager_test(a_measurement_finds_a_vanished_region),
        manager_test(a_heap_whose_memory_has_vanished_goes_on_and_ends),
        manager_test(of_two_threads_that_release_a_vanished_region_one_drops_it),
        manager_test(a_release_and_a_commit_meet_in_a_vanished_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
