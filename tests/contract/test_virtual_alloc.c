/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::VirtualAlloc on memory of its own: reserve, commit, reset, and all ways to
 * ask for them wrongly, each against Win32. What it does with memory of others is in
 * test_virtual_alloc_foreign.c.
 */
#include "contract/contract.h"

#include <string.h>

static const SIZE_T MANY_SIZES[] = {1,
                                    0xfff,
                                    0x1000,
                                    0x1001,
                                    12345,
                                    0xfffc,
                                    0x10000,
                                    0x10001,
                                    0x1ffff,
                                    16 * 1024 * 1024,
                                    64 * 1024 * 1024 + 1};

/* ---- reserve ---- */

static void reserve_has_the_size_and_protection_of_win32(void **state)
{
    struct pair pair = {.manager = *state};
    for (size_t i = 0; i < sizeof(MANY_SIZES) / sizeof(MANY_SIZES[0]); i++) {
        assert_int_equal(PAIR_CREATE(&pair, MANY_SIZES[i], MEM_RESERVE, PAGE_NOACCESS), 0);
        SIZE_T rounded = (MANY_SIZES[i] + PAGE - 1) & ~(PAGE - 1);
        assert_int_equal(statistics_of(*state).ReserveCurrentBytes, rounded);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, 0);
        pair_destroy(&pair);
        assert_int_equal(PAIR_CREATE(&pair, MANY_SIZES[i], MEM_RESERVE, PAGE_EXECUTE_READWRITE), 0);
        pair_destroy(&pair);
    }
    assert_int_equal(statistics_of(*state).ReserveCurrentBytes, 0);
}

static void reserve_and_commit_is_zero_and_writable(void **state)
{
    struct pair pair = {.manager = *state};
    for (size_t i = 0; i < sizeof(MANY_SIZES) / sizeof(MANY_SIZES[0]); i++) {
        assert_int_equal(
            PAIR_CREATE(&pair, MANY_SIZES[i], MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
        SIZE_T rounded = (MANY_SIZES[i] + PAGE - 1) & ~(PAGE - 1);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, rounded);
        for (SIZE_T at = 0; at < rounded; at += 512) {
            assert_int_equal(pair.managed[at], 0);
        }
        memset(pair.managed, 0x5a, rounded);
        pair_destroy(&pair);
    }
}

/* trap 5: own AllocationBase, on the granularity, whatever came before. */
static void every_reservation_is_one_of_the_os(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory[100];
    MEMORY_BASIC_INFORMATION info;
    for (int i = 0; i < 100; i++) {
        memory[i] = reserve(manager, PAGE * (SIZE_T)(i + 1));
        assert_int_equal((uintptr_t)memory[i] % GRANULARITY, 0);
        assert_int_equal(VirtualQuery(memory[i] + PAGE * (SIZE_T)i, &info, sizeof(info)),
                         sizeof(info));
        assert_ptr_equal(info.AllocationBase, memory[i]);
    }
    for (int i = 0; i < 100; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory[i], 0, MEM_RELEASE));
    }
}

/* A free range that is large enough, on both sides at the same address one after the other. */
static void reserve_at_an_address_lies_exactly_there(void **state)
{
    IHostMemoryManager *manager = *state;
    static const SIZE_T offsets[] = {0, 1, 0x1234, 0xffff, 0x10000, 0x2f000};
    void *hole_memory = POISON_POINTER;
    /* Through the manager, so that its tables need nothing more, which could come to lie here. */
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, 16 * GRANULARITY, MEM_RESERVE,
                                              PAGE_NOACCESS, eTaskCritical, &hole_memory));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, hole_memory, 0, MEM_RELEASE));
    char *hole = hole_memory;
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        struct picture raw, managed;
        void *result = POISON_POINTER;
        char *wanted = hole + GRANULARITY + offsets[i];
        char *expected = VirtualAlloc(wanted, 0x5001, MEM_RESERVE, PAGE_READWRITE);
        assert_non_null(expected);
        SIZE_T size = ((SIZE_T)(wanted - expected) + 0x5001 + GRANULARITY - 1) & ~(GRANULARITY - 1);
        take_picture(&raw, expected, size);
        assert_true(VirtualFree(expected, 0, MEM_RELEASE));
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, wanted, 0x5001, MEM_RESERVE,
                                                  PAGE_READWRITE, eTaskCritical, &result));
        assert_ptr_equal(result, expected);
        take_picture(&managed, result, size);
        EXPECT_SAME_PICTURE(&raw, &managed);
        /* The whole of it is the manager's: the start was rounded down, the end up. */
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, result, 0, MEM_RELEASE));
    }
}

static void reserve_where_something_is_fails_and_leaves_it(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 2 * GRANULARITY, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, PAGE, MEM_RESERVE, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(PAIR_ALLOC(&pair, 0x8000, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(*state).RegionsCurrent, 1);
    assert_int_equal(statistics_of(*state).ReserveCurrentBytes, 2 * GRANULARITY);
    pair_destroy(&pair);
    /* The rest of a last granule cannot be reserved by anyone. */
    assert_int_equal(PAIR_CREATE(&pair, PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, PAGE, MEM_RESERVE, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    pair_destroy(&pair);
}

/* trap 6 */
static void top_down_and_write_watch_reach_the_os(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(
        PAIR_CREATE(&pair, 8 * PAGE, MEM_RESERVE | MEM_TOP_DOWN, PAGE_EXECUTE_READWRITE), 0);
    pair_destroy(&pair);
    assert_int_equal(PAIR_CREATE(&pair, 8 * PAGE, MEM_RESERVE | MEM_WRITE_WATCH, PAGE_READWRITE),
                     0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 8 * PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
    pair.managed[2 * PAGE] = 1;
    pair.managed[5 * PAGE + 17] = 1;
    void *written[8];
    ULONG_PTR count = 8;
    DWORD granularity = POISON_DWORD;
    assert_int_equal(GetWriteWatch(WRITE_WATCH_FLAG_RESET, pair.managed, 8 * PAGE, written, &count,
                                   &granularity),
                     0);
    assert_int_equal(granularity, PAGE);
    assert_int_equal(count, 2);
    assert_ptr_equal(written[0], pair.managed + 2 * PAGE);
    assert_ptr_equal(written[1], pair.managed + 5 * PAGE);
    assert_int_equal(ResetWriteWatch(pair.managed, 8 * PAGE), 0);
    pair_destroy(&pair);
    /* And nobody gets a write watch who did not ask for one. */
    assert_int_equal(PAIR_CREATE(&pair, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
    count = 8;
    assert_int_not_equal(GetWriteWatch(0, pair.managed, PAGE, written, &count, &granularity), 0);
    pair_destroy(&pair);
}

/* ---- commit ---- */

/* trap 7: what a JIT's arena does. */
static void commit_without_an_address_reserves_too(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 3 * GRANULARITY, MEM_COMMIT, PAGE_READWRITE), 0);
    assert_int_equal(statistics_of(*state).ReserveCurrentBytes, 3 * GRANULARITY);
    assert_int_equal(statistics_of(*state).CommitCurrentBytes, 3 * GRANULARITY);
    pair.managed[3 * GRANULARITY - 1] = 1;
    pair_destroy(&pair);
}

static void commit_takes_whole_pages_and_returns_the_first(void **state)
{
    static const struct {
        ptrdiff_t offset;
        SIZE_T size;
        SIZE_T pages; /* committed after it, from nothing */
    } cases[] = {{0, 1, 1},           {0, 4096, 1},     {0, 4097, 2},   {1, 1, 1},
                 {4095, 1, 1},        {4095, 2, 2},     {4000, 200, 2}, {0x7fff, 0x2002, 4},
                 {0xf000, 0x1000, 1}, {0, 0x10000, 16}, {0xffff, 1, 1}};
    struct pair pair = {.manager = *state};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(PAIR_CREATE(&pair, GRANULARITY, MEM_RESERVE, PAGE_READWRITE), 0);
        assert_int_equal(
            PAIR_ALLOC(&pair, cases[i].offset, cases[i].size, MEM_COMMIT, PAGE_READWRITE), 0);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, cases[i].pages * PAGE);
        EXPECT_EXACT_COMMIT(*state);
        pair_destroy(&pair);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, 0);
    }
}

/* trap 9 */
static void committing_again_changes_the_protection_and_no_count(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 8 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, 3 * PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
    pair.raw[PAGE] = pair.managed[PAGE] = 77;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, 3 * PAGE, MEM_COMMIT, PAGE_READONLY),
                         0);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, 3 * PAGE);
    }
    assert_int_equal(pair.managed[PAGE], 77);
    /* Overlapping at both ends, like the card tables of a garbage collector. */
    assert_int_equal(PAIR_ALLOC(&pair, 100, 5 * PAGE, MEM_COMMIT, PAGE_EXECUTE_READWRITE), 0);
    assert_int_equal(statistics_of(*state).CommitCurrentBytes, 6 * PAGE);
    assert_int_equal(statistics_of(*state).CommitPeakBytes, 6 * PAGE);
    assert_int_equal(pair.managed[PAGE], 77);
    pair_destroy(&pair);
}

static void every_protection_is_taken_or_refused_as_win32_does(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 4 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    for (DWORD protect = 0; protect < 0x800; protect++) {
        SIZE_T before = (SIZE_T)statistics_of(*state).CommitCurrentBytes;
        DWORD error = PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, PAGE, MEM_COMMIT, protect);
        assert_int_equal(statistics_of(*state).CommitCurrentBytes, error == 0 ? PAGE : before);
        if (error == 0) {
            assert_int_equal(PAIR_FREE(&pair, (ptrdiff_t)PAGE, PAGE, MEM_DECOMMIT), 0);
        }
    }
    assert_int_equal(PAIR_ALLOC(&pair, 0, PAGE, MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, PAGE, MEM_COMMIT, 0), ERROR_INVALID_PARAMETER);
    EXPECT_EXACT_COMMIT(*state);
    pair_destroy(&pair);
}

static void commit_past_the_end_fails_and_commits_nothing(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 4 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 5 * PAGE, MEM_COMMIT, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(PAIR_ALLOC(&pair, 3 * (ptrdiff_t)PAGE, PAGE + 1, MEM_COMMIT, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(PAIR_ALLOC(&pair, 4 * (ptrdiff_t)PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(*state).CommitCurrentBytes, 0);
    EXPECT_EXACT_COMMIT(*state);
    pair_destroy(&pair);
}

static void commit_over_two_neighbours_fails_and_commits_nothing(void **state)
{
    IHostMemoryManager *manager = *state;
    struct pair pair = {.manager = manager};
    void *raw, *managed;
    assert_int_equal(PAIR_CREATE(&pair, 3 * GRANULARITY, MEM_RESERVE, PAGE_READWRITE), 0);
    char *raw_base = pair.raw, *managed_base = pair.managed;
    pair_destroy(&pair);
    for (SIZE_T at = 0; at < 3 * GRANULARITY; at += GRANULARITY) {
        assert_int_equal(BOTH_ALLOC(manager, raw_base + at, managed_base + at, GRANULARITY,
                                    MEM_RESERVE, PAGE_READWRITE, &raw, &managed),
                         0);
        assert_ptr_equal(managed, managed_base + at);
    }
    pair = (struct pair){manager, raw_base, managed_base, 3 * GRANULARITY};
    assert_int_equal(
        PAIR_ALLOC(&pair, (ptrdiff_t)(GRANULARITY - PAGE), 2 * PAGE, MEM_COMMIT, PAGE_READWRITE),
        ERROR_INVALID_ADDRESS);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 3 * GRANULARITY, MEM_COMMIT, PAGE_READWRITE),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 0);
    for (ptrdiff_t at = 0; at < (ptrdiff_t)(3 * GRANULARITY); at += (ptrdiff_t)GRANULARITY) {
        assert_int_equal(PAIR_FREE(&pair, at, 0, MEM_RELEASE), 0);
    }
}

static void commit_in_the_gap_behind_a_region_fails(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 5 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    for (SIZE_T at = 5; at < 16; at++) {
        assert_int_equal(
            PAIR_ALLOC(&pair, (ptrdiff_t)(at * PAGE), PAGE, MEM_COMMIT, PAGE_READWRITE),
            ERROR_INVALID_ADDRESS);
    }
    pair_destroy(&pair);
}

/* trap 8 */
static void reset_keeps_pages_committed_and_uncounted(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 8 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 4 * PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 4 * PAGE, MEM_RESET, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, PAGE, MEM_RESET, PAGE_NOACCESS), 0);
    assert_int_equal(statistics_of(*state).CommitCurrentBytes, 4 * PAGE);
    PAIR_ALLOC(&pair, 0, 8 * PAGE, MEM_RESET, PAGE_READWRITE); /* partly only reserved */
    PAIR_ALLOC(&pair, 0, 4 * PAGE, MEM_RESET_UNDO, PAGE_READWRITE);
    PAIR_ALLOC(&pair, 4 * (ptrdiff_t)PAGE, 4 * PAGE, MEM_RESET_UNDO | MEM_COMMIT, PAGE_READWRITE);
    EXPECT_EXACT_COMMIT(*state);
    pair_destroy(&pair);
}

/* ---- wrong arguments ---- */

static void wrong_sizes_fail_as_in_win32(void **state)
{
    IHostMemoryManager *manager = *state;
    struct pair pair = {.manager = manager};
    void *raw, *managed;
    assert_int_equal(PAIR_CREATE(&pair, 0, MEM_RESERVE, PAGE_READWRITE), ERROR_INVALID_PARAMETER);
    assert_int_equal(PAIR_CREATE(&pair, 0, MEM_COMMIT, PAGE_READWRITE), ERROR_INVALID_PARAMETER);
    assert_int_not_equal(PAIR_CREATE(&pair, SIZE_MAX, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_not_equal(PAIR_CREATE(&pair, SIZE_MAX - PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_not_equal(PAIR_CREATE(&pair, SIZE_MAX / 2, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_not_equal(PAIR_CREATE(&pair, SIZE_MAX / 2 + 1, MEM_COMMIT, PAGE_READWRITE), 0);
    /* Windows refuses the last granule of the address space in x86 programs, too. */
    if (sizeof(void *) == 8 || !known_wine_gap()) {
        void *last = (void *)(UINTPTR_MAX - 0xffff);
        assert_int_not_equal(BOTH_ALLOC(manager, last, last, GRANULARITY, MEM_RESERVE,
                                        PAGE_READWRITE, &raw, &managed),
                             0);
    }
    assert_int_equal(PAIR_CREATE(&pair, 4 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 0, 0, MEM_COMMIT, PAGE_READWRITE), ERROR_INVALID_PARAMETER);
    assert_int_not_equal(PAIR_ALLOC(&pair, 1, SIZE_MAX, MEM_COMMIT, PAGE_READWRITE), 0);
    assert_int_not_equal(PAIR_ALLOC(&pair, 0, SIZE_MAX / 2, MEM_COMMIT, PAGE_READWRITE), 0);
    assert_int_equal(statistics_of(manager).RegionsCurrent, 1);
    assert_int_equal(statistics_of(manager).ReserveCurrentBytes, 4 * PAGE);
    pair_destroy(&pair);
}

/* Windows refuses MEM_RESET together with anything else, and without an address. Wine goes by the
 * other flags then, and reserves where there is no address. */
static bool reset_that_wine_misunderstands(DWORD type, bool has_address)
{
    return (type & MEM_RESET) != 0 && (type != MEM_RESET || !has_address) && known_wine_gap();
}

static void every_combination_of_flags_gives_what_win32_gives(void **state)
{
    static const DWORD flags[] = {MEM_COMMIT,      MEM_RESERVE,  MEM_DECOMMIT, MEM_RELEASE,
                                  MEM_RESET,       MEM_TOP_DOWN, 0x00000001,   MEM_RESET_UNDO,
                                  MEM_WRITE_WATCH, MEM_FREE};
    IHostMemoryManager *manager = *state;
    struct pair region = {.manager = manager};
    assert_int_equal(PAIR_CREATE(&region, 4 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&region, 0, PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
    for (unsigned chosen = 0; chosen < 1u << (sizeof(flags) / sizeof(flags[0])); chosen++) {
        struct pair pair = {.manager = manager};
        DWORD type = 0;
        for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
            type |= (chosen >> i & 1) != 0 ? flags[i] : 0;
        }
        if (!reset_that_wine_misunderstands(type, false) &&
            PAIR_CREATE(&pair, 2 * PAGE, type, PAGE_READWRITE) == 0) {
            EXPECT_EXACT_COMMIT(manager);
            pair_destroy(&pair);
        }
        if (!reset_that_wine_misunderstands(type, true)) {
            PAIR_ALLOC(&region, (ptrdiff_t)PAGE, PAGE, type, PAGE_READWRITE);
            EXPECT_EXACT_COMMIT(manager);
        }
    }
    assert_int_equal(statistics_of(manager).RegionsCurrent, 1);
    pair_destroy(&region);
}

static void no_out_pointer_is_e_pointer_and_allocates_nothing(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE, PAGE_READWRITE,
                                                eTaskCritical, NULL),
                E_POINTER, ERROR_INVALID_PARAMETER);
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 0, 0, 0, eTaskCritical, NULL),
                E_POINTER, ERROR_INVALID_PARAMETER);
    assert_int_equal(statistics_of(manager).RegionsCurrent, 0);
    assert_int_equal(statistics_of(manager).RegionsPeak, 0);
}

static void the_critical_level_makes_no_difference(void **state)
{
    IHostMemoryManager *manager = *state;
    static const int levels[] = {eTaskCritical, eAppDomainCritical, eProcessCritical, 3, 77, -1};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        EMemoryCriticalLevel level = (EMemoryCriticalLevel)levels[i];
        void *memory = POISON_POINTER;
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                                  PAGE_READWRITE, level, &memory));
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
        memory = POISON_POINTER;
        EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, NULL, 0, MEM_RESERVE, PAGE_READWRITE,
                                                    level, &memory),
                    HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER);
        assert_null(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(reserve_has_the_size_and_protection_of_win32),
        manager_test(reserve_and_commit_is_zero_and_writable),
        manager_test(every_reservation_is_one_of_the_os),
        manager_test(reserve_at_an_address_lies_exactly_there),
        manager_test(reserve_where_something_is_fails_and_leaves_it),
        manager_test(top_down_and_write_watch_reach_the_os),
        manager_test(commit_without_an_address_reserves_too),
        manager_test(commit_takes_whole_pages_and_returns_the_first),
        manager_test(committing_again_changes_the_protection_and_no_count),
        manager_test(every_protection_is_taken_or_refused_as_win32_does),
        manager_test(commit_past_the_end_fails_and_commits_nothing),
        manager_test(commit_over_two_neighbours_fails_and_commits_nothing),
        manager_test(commit_in_the_gap_behind_a_region_fails),
        manager_test(reset_keeps_pages_committed_and_uncounted),
        manager_test(wrong_sizes_fail_as_in_win32),
        manager_test(every_combination_of_flags_gives_what_win32_gives),
        manager_test(no_out_pointer_is_e_pointer_and_allocates_nothing),
        manager_test(the_critical_level_makes_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
