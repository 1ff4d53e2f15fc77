/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::VirtualFree: release and decommit with the arguments and errors of Win32, and
 * the one rule of its own: memory that the manager did not hand out, or no longer owns, is refused
 * with HOST_E_INVALIDOPERATION, and the OS is not asked.
 */
#include "contract/contract.h"

#include <string.h>

static void create_half_committed(struct pair *pair)
{
    assert_int_equal(PAIR_CREATE(pair, 16 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(pair, 4 * (ptrdiff_t)PAGE, 8 * PAGE, MEM_COMMIT, PAGE_READWRITE),
                     0);
}

static void expect_counts(IHostMemoryManager *manager, UINT64 reserved, UINT64 committed)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.ReserveCurrentBytes, reserved);
    assert_int_equal(statistics.CommitCurrentBytes, committed);
    EXPECT_EXACT_COMMIT(manager);
}

/* ---- release ---- */

/* trap 9: what is still committed goes off the count with it. */
static void release_gives_everything_back(void **state)
{
    struct pair pair = {.manager = *state};
    create_half_committed(&pair);
    expect_counts(*state, 16 * PAGE, 8 * PAGE);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_RELEASE), 0);
    expect_counts(*state, 0, 0);
    assert_int_equal(statistics_of(*state).RegionsCurrent, 0);
    assert_int_equal(statistics_of(*state).CommitPeakBytes, 8 * PAGE);
}

static void release_twice_fails_and_leaves_the_neighbour_untouched(void **state)
{
    IHostMemoryManager *manager = *state;
    struct pair pair = {.manager = manager};
    void *raw, *managed;
    assert_int_equal(PAIR_CREATE(&pair, 3 * GRANULARITY, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_RELEASE), 0);
    for (SIZE_T at = 0; at < 3 * GRANULARITY; at += GRANULARITY) {
        assert_int_equal(BOTH_ALLOC(manager, pair.raw + at, pair.managed + at, GRANULARITY,
                                    MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, &raw, &managed),
                         0);
    }
    assert_int_equal(PAIR_FREE(&pair, (ptrdiff_t)GRANULARITY, 0, MEM_RELEASE), 0);
    PAIR_FREE_REFUSED(&pair, (ptrdiff_t)GRANULARITY, 0, MEM_RELEASE);
    PAIR_FREE_REFUSED(&pair, (ptrdiff_t)GRANULARITY, 0, MEM_RELEASE);
    PAIR_FREE_REFUSED(&pair, (ptrdiff_t)GRANULARITY, PAGE, MEM_DECOMMIT);
    expect_counts(manager, 2 * GRANULARITY, 2 * GRANULARITY);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_RELEASE), 0);
    assert_int_equal(PAIR_FREE(&pair, 2 * (ptrdiff_t)GRANULARITY, 0, MEM_RELEASE), 0);
}

/* trap 33: the semantics are Win32's where the memory is the manager's. */
static void release_with_a_size_fails_and_the_region_lives(void **state)
{
    struct pair pair = {.manager = *state};
    static const SIZE_T sizes[] = {1, 4096, 16 * 4096, 65536, 0x7fffffff};
    create_half_committed(&pair);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(PAIR_FREE(&pair, 0, sizes[i], MEM_RELEASE), ERROR_INVALID_PARAMETER);
        expect_counts(*state, 16 * PAGE, 8 * PAGE);
    }
    assert_int_equal(statistics_of(*state).ForeignVirtualFree, 0);
    pair.managed[5 * PAGE] = 1;
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_RELEASE), 0);
}

static void release_inside_a_region_is_refused(void **state)
{
    struct pair pair = {.manager = *state};
    static const ptrdiff_t offsets[] = {4096, 4097, 5 * 4096, 5 * 4096 + 1, 16 * 4096 - 1};
    create_half_committed(&pair);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        PAIR_FREE_REFUSED(&pair, offsets[i], 0, MEM_RELEASE);
        PAIR_FREE_REFUSED(&pair, offsets[i], PAGE, MEM_RELEASE);
    }
    expect_counts(*state, 16 * PAGE, 8 * PAGE);
    pair_destroy(&pair);
}

/* Win32 rounds the address down to its page before it looks for the reservation. */
static void release_in_the_first_page_is_a_release(void **state)
{
    static const ptrdiff_t offsets[] = {1, 16, 4095};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        struct pair pair = {.manager = *state};
        create_half_committed(&pair);
        assert_int_equal(PAIR_FREE(&pair, offsets[i], 0, MEM_RELEASE), 0);
        expect_counts(*state, 0, 0);
    }
}

static void release_in_the_gap_behind_a_region_is_refused(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 3 * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
    for (SIZE_T page = 3; page < 16; page++) {
        PAIR_FREE_REFUSED(&pair, (ptrdiff_t)(page * PAGE), 0, MEM_RELEASE);
        PAIR_FREE_REFUSED(&pair, (ptrdiff_t)(page * PAGE), PAGE, MEM_DECOMMIT);
    }
    expect_counts(*state, 3 * PAGE, 3 * PAGE);
    pair_destroy(&pair);
}

struct race {
    IHostMemoryManager *manager;
    void *memory;
    LONG waiting;
    LONG succeeded;
    LONG refused;
};

static DWORD WINAPI release_at_once(void *context)
{
    struct race *race = context;
    InterlockedDecrement(&race->waiting);
    while (InterlockedCompareExchange(&race->waiting, 0, 0) > 0) {
        YieldProcessor();
    }
    HRESULT hr = IHostMemoryManager_VirtualFree(race->manager, race->memory, 0, MEM_RELEASE);
    if (hr == S_OK) {
        InterlockedIncrement(&race->succeeded);
    } else if (hr == HOST_E_INVALIDOPERATION) {
        InterlockedIncrement(&race->refused);
    }
    return 0;
}

static void of_many_threads_that_release_one_region_one_succeeds(void **state)
{
    IHostMemoryManager *manager = *state;
    char *neighbour = reserve_committed(manager, PAGE);
    for (int round = 0; round < 50; round++) {
        struct race race = {.manager = manager, .waiting = 4};
        race.memory = reserve_committed(manager, 2 * PAGE);
        run_threads(4, release_at_once, &race);
        assert_int_equal(race.succeeded, 1);
        assert_int_equal(race.refused, 3);
    }
    expect_counts(manager, PAGE, PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, neighbour, 0, MEM_RELEASE));
}

/* ---- decommit ---- */

static void decommit_takes_every_page_the_range_touches(void **state)
{
    static const struct {
        ptrdiff_t offset;
        SIZE_T size;
        SIZE_T pages; /* of the eight committed ones */
    } cases[] = {
        {4 * 4096, 1, 1},        {4 * 4096, 4096, 1},  {4 * 4096, 4097, 2},   {5 * 4096 - 1, 2, 2},
        {4 * 4096 + 5, 8192, 3}, {0, 16 * 4096, 8},    {0, 4096, 0},          {3 * 4096, 8192, 1},
        {12 * 4096, 4096, 0},    {11 * 4096, 8192, 1}, {16 * 4096 - 1, 1, 0}, {0, 4 * 4096 + 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair = {.manager = *state};
        create_half_committed(&pair);
        assert_int_equal(PAIR_FREE(&pair, cases[i].offset, cases[i].size, MEM_DECOMMIT), 0);
        expect_counts(*state, 16 * PAGE, (8 - cases[i].pages) * PAGE);
        assert_int_equal(PAIR_FREE(&pair, cases[i].offset, cases[i].size, MEM_DECOMMIT), 0);
        expect_counts(*state, 16 * PAGE, (8 - cases[i].pages) * PAGE);
        pair_destroy(&pair);
    }
}

static void decommit_of_size_zero_at_the_base_is_the_whole_region(void **state)
{
    struct pair pair = {.manager = *state};
    create_half_committed(&pair);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_DECOMMIT), 0);
    expect_counts(*state, 16 * PAGE, 0);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_DECOMMIT), 0);
    pair_destroy(&pair);
    create_half_committed(&pair);
    assert_int_equal(PAIR_FREE(&pair, 100, 0, MEM_DECOMMIT), 0); /* the base's page */
    expect_counts(*state, 16 * PAGE, 0);
    pair_destroy(&pair);
}

static void decommit_of_size_zero_elsewhere_fails_and_changes_nothing(void **state)
{
    struct pair pair = {.manager = *state};
    create_half_committed(&pair);
    assert_int_not_equal(PAIR_FREE(&pair, 4096, 0, MEM_DECOMMIT), 0);
    assert_int_not_equal(PAIR_FREE(&pair, 5 * (ptrdiff_t)PAGE + 1, 0, MEM_DECOMMIT), 0);
    expect_counts(*state, 16 * PAGE, 8 * PAGE);
    pair_destroy(&pair);
}

static void decommit_past_the_end_fails_and_changes_nothing(void **state)
{
    struct pair pair = {.manager = *state};
    create_half_committed(&pair);
    assert_int_not_equal(PAIR_FREE(&pair, 0, 17 * PAGE, MEM_DECOMMIT), 0);
    assert_int_not_equal(PAIR_FREE(&pair, 4 * (ptrdiff_t)PAGE, 12 * PAGE + 1, MEM_DECOMMIT), 0);
    assert_int_not_equal(PAIR_FREE(&pair, 4 * (ptrdiff_t)PAGE, SIZE_MAX / 2, MEM_DECOMMIT), 0);
    /* As Windows; in Wine it wraps around and frees what is below. */
    EXPECT_CALL(IHostMemoryManager_VirtualFree(pair.manager, pair.managed + 4 * PAGE + 1, SIZE_MAX,
                                               MEM_DECOMMIT),
                HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER);
    expect_counts(*state, 16 * PAGE, 8 * PAGE);
    pair_destroy(&pair);
}

static void a_region_lives_on_after_decommit(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, 4 * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
    memset(pair.managed, 1, 4 * PAGE);
    assert_int_equal(PAIR_FREE(&pair, (ptrdiff_t)PAGE, 2 * PAGE, MEM_DECOMMIT), 0);
    assert_int_equal(PAIR_ALLOC(&pair, (ptrdiff_t)PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
    assert_int_equal(pair.managed[PAGE - 1], 1);
    assert_int_equal(pair.managed[PAGE], 0);
    assert_int_equal(pair.managed[3 * PAGE], 1);
    expect_counts(*state, 4 * PAGE, 3 * PAGE);
    pair_destroy(&pair);
}

/* ---- wrong arguments ---- */

static void every_free_type_gives_what_win32_gives(void **state)
{
    static const DWORD types[] = {0,
                                  1,
                                  2,
                                  3,
                                  MEM_COMMIT,
                                  MEM_RESERVE,
                                  MEM_FREE,
                                  MEM_RESET,
                                  MEM_DECOMMIT | MEM_RELEASE,
                                  MEM_DECOMMIT | MEM_COMMIT,
                                  MEM_RELEASE | MEM_COMMIT,
                                  MEM_DECOMMIT | 1,
                                  0x80000000,
                                  0xffffffff};
    struct pair pair = {.manager = *state};
    create_half_committed(&pair);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_int_not_equal(PAIR_FREE(&pair, 0, 0, types[i]), 0);
        assert_int_not_equal(PAIR_FREE(&pair, 4 * (ptrdiff_t)PAGE, PAGE, types[i]), 0);
        expect_counts(*state, 16 * PAGE, 8 * PAGE);
    }
    assert_int_equal(PAIR_FREE(&pair, 0, 0, 0), ERROR_INVALID_PARAMETER);
    assert_int_equal(PAIR_FREE(&pair, 0, 0, MEM_DECOMMIT | MEM_RELEASE), ERROR_INVALID_PARAMETER);
    pair_destroy(&pair);
}

/* ---- memory of others ---- */

static void foreign_memory_is_refused_and_untouched(void **state)
{
    static const struct {
        SIZE_T size;
        DWORD type;
    } calls[] = {{0, MEM_RELEASE},     {1, MEM_RELEASE}, {0, MEM_DECOMMIT},
                 {4096, MEM_DECOMMIT}, {0, 0},           {0, MEM_DECOMMIT | MEM_RELEASE}};
    IHostMemoryManager *manager = *state;
    char *own = reserve_committed(manager, PAGE);
    struct foreign_memory foreign;
    UINT64 refused = 0;
    foreign_memory_create(&foreign);
    char *const addresses[] = {foreign.reserved,
                               foreign.reserved + PAGE,
                               foreign.view,
                               foreign.image,
                               (char *)GetModuleHandleW(NULL),
                               foreign.constants,
                               foreign.stack,
                               foreign.heap,
                               foreign.free,
                               NULL,
                               (char *)1,
                               (char *)(UINTPTR_MAX / 2),
                               (char *)UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct picture before, after;
        uintptr_t granule = (uintptr_t)addresses[i] & ~(uintptr_t)(GRANULARITY - 1);
        bool visible = granule != 0 && granule < UINTPTR_MAX / 2 - GRANULARITY;
        for (size_t call = 0; call < sizeof(calls) / sizeof(calls[0]); call++) {
            take_picture(&before, (void *)granule, visible ? GRANULARITY : 0);
            EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, addresses[i], calls[call].size,
                                                       calls[call].type),
                        HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
            take_picture(&after, (void *)granule, visible ? GRANULARITY : 0);
            EXPECT_SAME_PICTURE(&before, &after);
            assert_int_equal(statistics_of(manager).ForeignVirtualFree, ++refused);
        }
    }
    expect_counts(manager, PAGE, PAGE);
    foreign.reserved[0] = 1; /* still there */
    foreign.view[0] = 1;
    foreign_memory_destroy(&foreign);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, own, 0, MEM_RELEASE));
}

static void memory_freed_by_others_and_reused_is_refused_later(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, GRANULARITY);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_ptr_equal(VirtualAlloc(memory, GRANULARITY, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE),
                     memory);
    memory[0] = 9;
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    assert_int_equal(memory[0], 9);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(release_gives_everything_back),
        manager_test(release_twice_fails_and_leaves_the_neighbour_untouched),
        manager_test(release_with_a_size_fails_and_the_region_lives),
        manager_test(release_inside_a_region_is_refused),
        manager_test(release_in_the_first_page_is_a_release),
        manager_test(release_in_the_gap_behind_a_region_is_refused),
        manager_test(of_many_threads_that_release_one_region_one_succeeds),
        manager_test(decommit_takes_every_page_the_range_touches),
        manager_test(decommit_of_size_zero_at_the_base_is_the_whole_region),
        manager_test(decommit_of_size_zero_elsewhere_fails_and_changes_nothing),
        manager_test(decommit_past_the_end_fails_and_changes_nothing),
        manager_test(a_region_lives_on_after_decommit),
        manager_test(every_free_type_gives_what_win32_gives),
        manager_test(foreign_memory_is_refused_and_untouched),
        manager_test(memory_freed_by_others_and_reused_is_refused_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
