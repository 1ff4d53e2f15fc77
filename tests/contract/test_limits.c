/* SPDX-License-Identifier: MIT
 *
 * The commit limit: which request is refused where, what a refusal leaves behind (nothing), what is
 * charged and what is not, and how room comes back. The reserve limit and limits that change are in
 * test_policy.c, waiting for room in test_commit_wait.c.
 */
#include "contract/contract.h"

#include <string.h>

#define LIMIT (64 * MIB)
#define EMERGENCY (8 * MIB)

static HRESULT commit(IHostMemoryManager *manager, char *memory, SIZE_T size,
                      EMemoryCriticalLevel level)
{
    void *result = POISON_POINTER;
    HRESULT hr = IHostMemoryManager_VirtualAlloc(manager, memory, size, MEM_COMMIT, PAGE_READWRITE,
                                                 level, &result);
    assert_ptr_equal(result, hr == S_OK ? memory : NULL); /* trap 2 */
    return hr;
}

/* Commits a region from `*committed` on until `level` gets no more; what is charged then. */
static UINT64 fill(IHostMemoryManager *manager, char *memory, SIZE_T *committed,
                   EMemoryCriticalLevel level)
{
    while (commit(manager, memory + *committed, GRANULARITY, level) == S_OK) {
        *committed += GRANULARITY;
        assert_in_range(*committed, 0, 2 * LIMIT);
    }
    return statistics_of(manager).ChargedCurrentBytes;
}

/* All figures but those that a refused request does change: its count, and tables prepared. */
static HOSTMEM_STATISTICS figures(IHostMemoryManager *manager)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    statistics.Calls = (HOSTMEM_CALLS){0};
    statistics.TableBytes = 0;
    return statistics;
}

/* VirtualAlloc refuses for lack of commit, and nothing else happens. */
static void expect_refused(IHostMemoryManager *manager, void *address, SIZE_T size, DWORD type,
                           EMemoryCriticalLevel level)
{
    HOSTMEM_STATISTICS before = figures(manager);
    void *result = POISON_POINTER;
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, address, size, type, PAGE_READWRITE, level,
                                                &result),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(result);
    HOSTMEM_STATISTICS after = figures(manager);
    before.DeniedTask += level == eTaskCritical;
    before.DeniedAppDomain += level == eAppDomainCritical;
    before.DeniedProcess += level == eProcessCritical;
    before.LastByLimit = (HOSTMEM_REFUSAL){size, (UINT32)level, ERROR_NOT_ENOUGH_MEMORY};
    assert_memory_equal(&before, &after, sizeof(before));
    EXPECT_EXACT_COMMIT(manager);
}

static void expect_charged(IHostMemoryManager *manager, UINT64 bytes)
{
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, bytes);
}

static void release(IHostMemoryManager *manager, char *memory)
{
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* For cmocka: a manager with the limits above. */
static int setup_limited(void **state)
{
    *state = CREATE_MANAGER(.CommitLimit = LIMIT, .EmergencyCommit = EMERGENCY);
    return 0;
}

#define limit_test(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown_manager)

/* ---- the ladder ---- */

/* trap 12: the less critical are refused first. */
static void each_level_is_refused_at_its_own_step(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    SIZE_T committed = 0;
    assert_int_equal(fill(manager, memory, &committed, eTaskCritical), 56 * MIB);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eTaskCritical);
    assert_int_equal(fill(manager, memory, &committed, eAppDomainCritical), 60 * MIB);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eAppDomainCritical);
    assert_int_equal(fill(manager, memory, &committed, eProcessCritical), 64 * MIB);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eAppDomainCritical);
    expect_refused(manager, memory + committed, 1, MEM_COMMIT, eProcessCritical);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.CommitCurrentBytes, LIMIT);
    assert_int_equal(statistics.ChargedPeakBytes, LIMIT);
    assert_int_equal(statistics.OverdraftPeakBytes, 0);
    memset(memory, 1, committed);
    release(manager, memory);
    expect_charged(manager, 0);
}

static void the_last_page_is_granted_and_none_beyond(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    expect_refused(manager, memory, 56 * MIB + 1, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, memory, 60 * MIB + 1, MEM_COMMIT, eAppDomainCritical);
    expect_refused(manager, memory, 64 * MIB + 1, MEM_COMMIT, eProcessCritical);
    /* Two bytes on two pages. */
    EXPECT_OK(commit(manager, memory, 56 * MIB - PAGE, eTaskCritical));
    expect_refused(manager, memory + 56 * MIB - 1, 2, MEM_COMMIT, eTaskCritical);
    EXPECT_OK(commit(manager, memory + 56 * MIB - PAGE, 1, eTaskCritical));
    expect_charged(manager, 56 * MIB);
    release(manager, memory);
}

static void an_overdraft_takes_the_flag_and_is_counted(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.Flags = HOSTMEM_FLAG_OVERDRAFT, .CommitLimit = LIMIT,
                       .EmergencyCommit = EMERGENCY);
    char *memory = reserve(manager, 2 * LIMIT);
    SIZE_T committed = 0;
    (void)state;
    assert_int_equal(fill(manager, memory, &committed, eAppDomainCritical), 60 * MIB);
    EXPECT_OK(commit(manager, memory + 60 * MIB, 4 * MIB, eProcessCritical));
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, 0);
    EXPECT_OK(commit(manager, memory + 64 * MIB, 6 * MIB, eProcessCritical));
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, 6 * MIB);
    expect_charged(manager, 70 * MIB);
    expect_refused(manager, memory + 70 * MIB, 1, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, memory + 70 * MIB, 1, MEM_COMMIT, eAppDomainCritical);
    release(manager, memory);
    expect_charged(manager, 0);
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, 6 * MIB);
    assert_int_equal(statistics_of(manager).DeniedProcess, 0);
    teardown_manager((void **)&manager);
}

static void refusals_are_counted_by_level(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    static const EMemoryCriticalLevel levels[] = {eTaskCritical,
                                                  eAppDomainCritical,
                                                  eAppDomainCritical,
                                                  eProcessCritical,
                                                  eProcessCritical,
                                                  eProcessCritical,
                                                  3,
                                                  -1};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        assert_int_equal(commit(manager, memory, 65 * MIB, levels[i]), E_OUTOFMEMORY);
    }
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.DeniedTask, 3); /* with the levels that do not exist */
    assert_int_equal(statistics.DeniedAppDomain, 2);
    assert_int_equal(statistics.DeniedProcess, 3);
    assert_int_equal(statistics.DeniedReserve, 0);
    release(manager, memory);
}

/* ---- a refusal ---- */

static void a_refused_request_changes_nothing(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    struct picture before, after;
    EXPECT_OK(commit(manager, memory + 5 * PAGE, 3 * PAGE, eTaskCritical));
    EXPECT_OK(commit(manager, memory + 12 * PAGE, 4 * PAGE, eTaskCritical));
    take_picture(&before, memory, 2 * LIMIT);
    expect_refused(manager, memory, 60 * MIB, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, memory + PAGE, 70 * MIB, MEM_COMMIT, eProcessCritical);
    take_picture(&after, memory, 2 * LIMIT);
    EXPECT_SAME_PICTURE(&before, &after);
    release(manager, memory);
}

static void new_memory_that_is_refused_is_not_reserved_either(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    MEMORY_BASIC_INFORMATION info;
    char *filler = reserve_committed(manager, 56 * MIB);
    foreign_memory_create(&foreign);
    expect_refused(manager, NULL, 1, MEM_COMMIT, eTaskCritical);
    expect_refused(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT, eTaskCritical);
    expect_refused(manager, foreign.free, PAGE, MEM_RESERVE | MEM_COMMIT, eTaskCritical);
    assert_int_equal(VirtualQuery(foreign.free, &info, sizeof(info)), sizeof(info));
    assert_int_equal(info.State, MEM_FREE);
    assert_int_equal(statistics_of(manager).RegionsCurrent, 1);
    release(manager, filler);
    foreign_memory_destroy(&foreign);
}

/* ---- what is charged ---- */

/* trap 7 */
static void commits_of_new_memory_are_charged(void **state)
{
    IHostMemoryManager *manager = *state;
    void *memory = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, 5, MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &memory));
    expect_charged(manager, PAGE);
    char *both = reserve_committed(manager, 3 * MIB);
    expect_charged(manager, 3 * MIB + PAGE);
    release(manager, memory);
    expect_charged(manager, 3 * MIB);
    release(manager, both);
    expect_charged(manager, 0);
}

/* trap 9: what is committed already costs nothing, even if nothing more is granted. */
static void committing_again_succeeds_at_the_limit(void **state)
{
    static const EMemoryCriticalLevel levels[] = {eTaskCritical, eAppDomainCritical,
                                                  eProcessCritical};
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    EXPECT_OK(commit(manager, memory, LIMIT, eProcessCritical));
    for (size_t i = 0; i < 3; i++) {
        EXPECT_OK(commit(manager, memory, LIMIT, levels[i]));
        EXPECT_OK(commit(manager, memory + 7 * PAGE, 1, levels[i]));
        expect_charged(manager, LIMIT);
        expect_refused(manager, memory + LIMIT - PAGE, 2 * PAGE, MEM_COMMIT, levels[i]);
    }
    SET_LIMITS(manager, .CommitLimit = MIB);
    EXPECT_OK(commit(manager, memory, LIMIT, eTaskCritical));
    EXPECT_OK(commit(manager, memory, LIMIT, eProcessCritical));
    expect_charged(manager, LIMIT);
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, 0);
    release(manager, memory);
}

/* trap 10 */
static void reserving_succeeds_at_the_limit(void **state)
{
    IHostMemoryManager *manager = *state;
    char *filler = reserve_committed(manager, 56 * MIB);
    char *memory = reserve(manager, 2 * LIMIT);
    SET_LIMITS(manager, .CommitLimit = MIB);
    char *more = reserve(manager, 2 * LIMIT);
    expect_charged(manager, 56 * MIB);
    release(manager, more);
    release(manager, memory);
    release(manager, filler);
}

/* trap 8 */
static void reset_succeeds_at_the_limit(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 2 * LIMIT);
    void *result = POISON_POINTER;
    EXPECT_OK(commit(manager, memory, LIMIT, eProcessCritical));
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, memory, LIMIT, MEM_RESET, PAGE_READWRITE,
                                              eTaskCritical, &result));
    assert_ptr_equal(result, memory);
    expect_charged(manager, LIMIT);
    release(manager, memory);
}

static void commits_in_memory_of_others_are_not_charged(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    char *memory = reserve(manager, LIMIT);
    EXPECT_OK(commit(manager, memory, LIMIT, eProcessCritical));
    EXPECT_OK(commit(manager, foreign.reserved + 4 * PAGE, 4 * PAGE, eTaskCritical));
    memset(foreign.reserved + 4 * PAGE, 1, 4 * PAGE);
    EXPECT_OK(commit(manager, foreign.view, 16 * PAGE, eTaskCritical));
    expect_charged(manager, LIMIT);
    assert_int_equal(statistics_of(manager).DeniedTask, 0);
    release(manager, memory);
    foreign_memory_destroy(&foreign);
}

/* ---- room comes back ---- */

static void what_is_given_back_is_granted_again(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, LIMIT), *other = reserve(manager, LIMIT);
    EXPECT_OK(commit(manager, memory, 56 * MIB, eTaskCritical));
    expect_refused(manager, other, 1, MEM_COMMIT, eTaskCritical);
    /* Pages that were never committed, and pages twice, give nothing. */
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory + 60 * MIB, MIB, MEM_DECOMMIT));
    expect_refused(manager, other, 1, MEM_COMMIT, eTaskCritical);
    for (int twice = 0; twice < 2; twice++) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory + MIB, MIB, MEM_DECOMMIT));
        expect_charged(manager, 55 * MIB);
    }
    expect_refused(manager, other, MIB + 1, MEM_COMMIT, eTaskCritical);
    EXPECT_OK(commit(manager, other, MIB, eTaskCritical));
    expect_refused(manager, other + MIB, 1, MEM_COMMIT, eTaskCritical);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_DECOMMIT));
    expect_charged(manager, MIB);
    EXPECT_OK(commit(manager, memory, 55 * MIB, eTaskCritical));
    release(manager, memory);
    expect_charged(manager, MIB);
    EXPECT_OK(commit(manager, other, 56 * MIB, eTaskCritical));
    release(manager, other);
}

/* What the OS refuses was charged for a moment only. */
static void a_failure_of_the_os_costs_nothing(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, MIB);
    void *result = POISON_POINTER;
    for (int i = 0; i < 100; i++) {
        assert_int_not_equal(commit(manager, memory + MIB - PAGE, 2 * PAGE, eTaskCritical), S_OK);
        assert_int_not_equal(
            IHostMemoryManager_VirtualAlloc(manager, memory, MIB, MEM_RESERVE | MEM_COMMIT,
                                            PAGE_READWRITE, eTaskCritical, &result),
            S_OK);
        expect_charged(manager, 0);
    }
    assert_int_equal(statistics_of(manager).DeniedTask, 0);
    release(manager, memory);
}

/* ---- heaps ---- */

static void heap_blocks_count_against_the_same_limit(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = POISON_POINTER;
    void *block = POISON_POINTER, *refused = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    char *memory = reserve_committed(manager, 50 * MIB);
    EXPECT_OK(IHostMalloc_Alloc(heap, 5 * MIB, eTaskCritical, &block));
    UINT64 heap_bytes = statistics_of(manager).HeapCurrentBytes;
    assert_in_range(heap_bytes, 5 * MIB, 5 * MIB + 64);
    UINT64 heap_commit = statistics_of(manager).HeapCommitCurrentBytes; /* whole pages of it */
    assert_in_range(heap_commit, heap_bytes, 5 * MIB + PAGE);
    expect_charged(manager, 50 * MIB + heap_commit);
    HOSTMEM_STATISTICS before = figures(manager);
    EXPECT_CALL(IHostMalloc_Alloc(heap, MIB, eTaskCritical, &refused), E_OUTOFMEMORY,
                ERROR_NOT_ENOUGH_MEMORY);
    assert_null(refused);
    refused = POISON_POINTER;
    EXPECT_CALL(IHostMalloc_DebugAlloc(heap, 5 * MIB, eAppDomainCritical, NULL, 0, &refused),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
    assert_null(refused);
    HOSTMEM_STATISTICS after = figures(manager);
    before.DeniedTask++;
    before.DeniedAppDomain++;
    before.LastByLimit = (HOSTMEM_REFUSAL){5 * MIB, eAppDomainCritical, ERROR_NOT_ENOUGH_MEMORY};
    assert_memory_equal(&before, &after, sizeof(before));
    expect_refused(manager, NULL, MIB, MEM_COMMIT, eTaskCritical);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    expect_charged(manager, 50 * MIB);
    EXPECT_OK(IHostMalloc_Alloc(heap, 5 * MIB, eTaskCritical, &block));
    /* The heap's end gives back what is left in it. */
    assert_int_equal(IHostMalloc_Release(heap), 0);
    expect_charged(manager, 50 * MIB);
    release(manager, memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        limit_test(each_level_is_refused_at_its_own_step),
        limit_test(the_last_page_is_granted_and_none_beyond),
        cmocka_unit_test(an_overdraft_takes_the_flag_and_is_counted),
        limit_test(refusals_are_counted_by_level),
        limit_test(a_refused_request_changes_nothing),
        limit_test(new_memory_that_is_refused_is_not_reserved_either),
        limit_test(commits_of_new_memory_are_charged),
        limit_test(committing_again_succeeds_at_the_limit),
        limit_test(reserving_succeeds_at_the_limit),
        limit_test(reset_succeeds_at_the_limit),
        limit_test(commits_in_memory_of_others_are_not_charged),
        limit_test(what_is_given_back_is_granted_again),
        limit_test(a_failure_of_the_os_costs_nothing),
        limit_test(heap_blocks_count_against_the_same_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
