/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::VirtualAlloc on memory that the manager did not hand out (trap 4), and what
 * the CLR relies on around the call: the search for memory near an address, pages that are zero.
 */
#include "contract/contract.h"

#include <string.h>

static void commit(IHostMemoryManager *manager, void *address, SIZE_T size, void *expected)
{
    void *result = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, address, size, MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &result));
    assert_ptr_equal(result, expected);
}

static void expect_nothing_counted(IHostMemoryManager *manager)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.CommitPeakBytes, 0);
    assert_int_equal(statistics.ReservePeakBytes, 0);
    assert_int_equal(statistics.RegionsPeak, 0);
    assert_int_equal(statistics.ForeignVirtualFree, 0);
}

/* The CLR commits the view of a shared block at start-up and needs exactly that address back. */
static void commit_of_a_mapped_view_succeeds_in_place_and_uncounted(void **state)
{
    struct foreign_memory foreign;
    struct picture before, after;
    foreign_memory_create(&foreign);
    memset(foreign.view, 7, 100);
    take_picture(&before, foreign.view, GRANULARITY);
    void *raw = VirtualAlloc(foreign.view, 5000, MEM_COMMIT, PAGE_READWRITE);
    /* Windows commits pages of a section that are committed already, and returns the address. */
    assert_ptr_equal(raw, foreign.view);
    commit(*state, foreign.view, 5000, foreign.view);
    commit(*state, foreign.view + 100, 1, foreign.view);
    take_picture(&after, foreign.view, GRANULARITY);
    EXPECT_SAME_PICTURE(&before, &after);
    assert_int_equal(foreign.view[99], 7);
    expect_nothing_counted(*state);
    foreign_memory_destroy(&foreign);
}

static void commit_in_a_reservation_of_others_succeeds_uncounted(void **state)
{
    struct foreign_memory foreign;
    MEMORY_BASIC_INFORMATION info;
    foreign_memory_create(&foreign);
    commit(*state, foreign.reserved + 8 * PAGE + 100, PAGE, foreign.reserved + 8 * PAGE);
    assert_int_equal(VirtualQuery(foreign.reserved + 8 * PAGE, &info, sizeof(info)), sizeof(info));
    assert_int_equal(info.State, MEM_COMMIT);
    assert_int_equal(info.RegionSize, 2 * PAGE);
    expect_nothing_counted(*state);
    foreign_memory_destroy(&foreign);
}

static void commit_of_the_own_stack_succeeds_uncounted(void **state)
{
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    commit(*state, foreign.stack, 16, foreign.stack);
    expect_nothing_counted(*state);
    foreign_memory_destroy(&foreign);
}

static void commit_where_win32_refuses_fails_alike(void **state)
{
    struct foreign_memory foreign;
    void *raw, *managed;
    foreign_memory_create(&foreign);
    char *const addresses[] = {foreign.free,
                               foreign.free + 12345,
                               foreign.image,
                               foreign.reserved + 15 * PAGE,
                               (char *)1,
                               (char *)0x1000,
                               (char *)(UINTPTR_MAX & ~(uintptr_t)0xffff)};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        DWORD error = BOTH_ALLOC(*state, addresses[i], addresses[i], 2 * PAGE, MEM_COMMIT,
                                 PAGE_READWRITE, &raw, &managed);
        assert_true(error != ERROR_SUCCESS || addresses[i] == foreign.image);
    }
    expect_nothing_counted(*state);
    foreign_memory_destroy(&foreign);
}

static void reset_of_foreign_memory_gives_what_win32_gives(void **state)
{
    struct foreign_memory foreign;
    void *raw, *managed;
    foreign_memory_create(&foreign);
    assert_int_equal(BOTH_ALLOC(*state, foreign.reserved, foreign.reserved, PAGE, MEM_RESET,
                                PAGE_READWRITE, &raw, &managed),
                     0);
    assert_ptr_equal(managed, foreign.reserved);
    assert_ptr_equal(raw, managed);
    BOTH_ALLOC(*state, foreign.view, foreign.view, PAGE, MEM_RESET, PAGE_READWRITE, &raw, &managed);
    BOTH_ALLOC(*state, foreign.free, foreign.free, PAGE, MEM_RESET, PAGE_READWRITE, &raw, &managed);
    expect_nothing_counted(*state);
    foreign_memory_destroy(&foreign);
}

/* Some systems reserve then: that is a region like any other, and none of them is unseen. */
static void reset_of_nowhere_is_counted_as_what_it_makes(void **state)
{
    IHostMemoryManager *manager = *state;
    void *raw, *managed;
    BOTH_ALLOC(*state, NULL, NULL, PAGE, MEM_RESET, PAGE_READWRITE, &raw, &managed);
    assert_int_equal(statistics_of(*state).RegionsCurrent, managed != NULL);
    assert_int_equal(statistics_of(*state).CommitCurrentBytes, 0);
    if (managed != NULL) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, managed, 0, MEM_RELEASE));
        assert_true(VirtualFree(raw, 0, MEM_RELEASE));
    }
    assert_int_equal(statistics_of(*state).ReserveCurrentBytes, 0);
}

static void reserve_on_foreign_memory_fails_and_leaves_it(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    char *const addresses[] = {foreign.reserved, foreign.view, foreign.image, foreign.stack,
                               foreign.heap};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        void *result = POISON_POINTER;
        EXPECT_CALL(IHostMemoryManager_VirtualAlloc(manager, addresses[i], PAGE, MEM_RESERVE,
                                                    PAGE_READWRITE, eTaskCritical, &result),
                    HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS), ERROR_INVALID_ADDRESS);
        assert_null(result);
    }
    assert_int_equal(statistics_of(*state).RegionsCurrent, 0);
    assert_int_equal(statistics_of(*state).ReserveCurrentBytes, 0);
    foreign_memory_destroy(&foreign);
}

/* The CLR looks for room for code near an address: query, reserve if free and large enough, else go
 * on behind. The manager must tell the truth and put the block exactly there. */
static void memory_can_be_searched_for_within_a_range(void **state)
{
    IHostMemoryManager *manager = *state;
    char *near_address = reserve(manager, GRANULARITY);
    char *found[16];
    for (int i = 0; i < 16; i++) {
        uintptr_t at = (uintptr_t)near_address & ~(uintptr_t)(GRANULARITY - 1);
        found[i] = NULL;
        while (found[i] == NULL) {
            MEMORY_BASIC_INFORMATION info;
            SIZE_T written = POISON_SIZE;
            EXPECT_OK(IHostMemoryManager_VirtualQuery(manager, (void *)at, &info, sizeof(info),
                                                      &written));
            assert_int_equal(written, sizeof(info));
            uintptr_t end = (uintptr_t)info.BaseAddress + info.RegionSize;
            if (info.State == MEM_FREE && end - at >= GRANULARITY) {
                void *result = POISON_POINTER;
                EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, (void *)at, GRANULARITY,
                                                          MEM_RESERVE, PAGE_NOACCESS, eTaskCritical,
                                                          &result));
                assert_ptr_equal(result, (void *)at);
                found[i] = result;
            }
            at = (end + GRANULARITY - 1) & ~(uintptr_t)(GRANULARITY - 1);
        }
    }
    for (int i = 0; i < 16; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, found[i], 0, MEM_RELEASE));
    }
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, near_address, 0, MEM_RELEASE));
}

static void pages_are_zero_after_every_commit(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 4 * PAGE);
    static const char zero[4096];
    for (int round = 0; round < 3; round++) {
        commit(manager, memory, 4 * PAGE, memory);
        for (SIZE_T page = 0; page < 4; page++) {
            assert_memory_equal(memory + page * PAGE, zero, PAGE);
        }
        memset(memory, 0xff, 4 * PAGE);
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 4 * PAGE, MEM_DECOMMIT));
    }
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* ---- trap 21 ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(commit_of_a_mapped_view_succeeds_in_place_and_uncounted),
        manager_test(commit_in_a_reservation_of_others_succeeds_uncounted),
        manager_test(commit_of_the_own_stack_succeeds_uncounted),
        manager_test(commit_where_win32_refuses_fails_alike),
        manager_test(reset_of_foreign_memory_gives_what_win32_gives),
        manager_test(reset_of_nowhere_is_counted_as_what_it_makes),
        manager_test(reserve_on_foreign_memory_fails_and_leaves_it),
        manager_test(memory_can_be_searched_for_within_a_range),
        manager_test(pages_are_zero_after_every_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
