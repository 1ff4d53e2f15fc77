/* SPDX-License-Identifier: MIT
 *
 * virtual_memory_alloc in a region that is there: every page is counted once, and what is no page of
 * ours goes to the OS as it is.
 */
#include "unit/virtual_memory_fixture.h"

/* ---- commit ---- */

static void overlapping_commits_count_each_page_once(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    assert_true(alloc(base, 4 * PAGE, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 4 * PAGE);
    assert_true(alloc(base + 2 * PAGE, 4 * PAGE, OS_MEM_COMMIT) == base + 2 * PAGE);
    assert_counts(16 * PAGE, 6 * PAGE);
    alloc(base, 16 * PAGE, OS_MEM_COMMIT);
    assert_counts(16 * PAGE, 16 * PAGE);
}

static void unaligned_commits_count_every_page_they_touch(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    assert_true(alloc(base + PAGE - 1, 2, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 2 * PAGE);
    assert_true(alloc(base + 2 * PAGE + 7, 1, OS_MEM_COMMIT) == base + 2 * PAGE);
    assert_counts(16 * PAGE, 3 * PAGE);
    assert_true(alloc(base + 5, 3 * PAGE, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 4 * PAGE);
    assert_true(alloc(base + 15 * PAGE + 4095, 1, OS_MEM_COMMIT) == base + 15 * PAGE);
    assert_counts(16 * PAGE, 5 * PAGE);
}

static void committing_again_is_free_and_reaches_the_os(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 4 * PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT), result;
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    assert_int_equal(virtual_memory_alloc(&memory, base, 2 * PAGE, OS_MEM_COMMIT,
                                          FAKE_PAGE_READONLY, BUDGET_TASK, &result),
                     OS_OK);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls + 1);
    assert_int_equal(fake_os_region(&fake, base)->pages[1], FAKE_PAGE_READONLY);
    assert_counts(4 * PAGE, 4 * PAGE);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), 4 * PAGE);
}

static void a_commit_that_leaves_its_region_fails_as_a_whole(void **state)
{
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    alloc(BASE + SLOT, SLOT, OS_MEM_RESERVE); /* even into a neighbour of ours */
    assert_alloc_fails(BASE + SLOT - PAGE, 2 * PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_alloc_fails(BASE + 2 * SLOT - PAGE, PAGE + 1, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_alloc_fails(BASE, 0, OS_MEM_COMMIT, OS_INVALID_PARAMETER);
    assert_counts(2 * SLOT, 0);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), 0);
}

static void a_commit_at_a_foreign_address_goes_to_the_os_uncounted(void **state)
{
    (void)state;
    uintptr_t view = fake_os_add_foreign(&fake, BASE, 4 * PAGE);
    assert_true(alloc(view + PAGE, PAGE, OS_MEM_COMMIT) == view + PAGE);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].size, PAGE);
    assert_counts(0, 0);
    assert_alloc_fails(BASE + 16 * SLOT, PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].error, OS_INVALID_ADDRESS);
}

static void the_tail_of_a_last_slot_belongs_to_nobody(void **state)
{
    (void)state;
    alloc(BASE, PAGE, OS_MEM_RESERVE);
    assert_alloc_fails(BASE + PAGE, PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_foreign(BASE + PAGE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + PAGE, PAGE, OS_MEM_DECOMMIT);
    assert_counts(PAGE, 0);
}

static void reset_goes_to_the_os_and_counts_nothing(void **state) /* trap 8 */
{
    (void)state;
    uintptr_t base = alloc(0, 8 * PAGE, OS_MEM_RESERVE);
    alloc(base, 4 * PAGE, OS_MEM_COMMIT);
    const uint32_t types[] = {OS_MEM_RESET, OS_MEM_RESET_UNDO};
    for (size_t i = 0; i < 2; i++) {
        assert_true(alloc(base, 4 * PAGE, types[i]) == base);
        assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].type, types[i]);
        assert_counts(8 * PAGE, 4 * PAGE);
        assert_alloc_fails(base + 4 * PAGE, PAGE, types[i], OS_INVALID_ADDRESS);
        assert_alloc_fails(base, PAGE, types[i] | OS_MEM_COMMIT, OS_INVALID_PARAMETER);
        assert_alloc_fails(0, PAGE, types[i] | OS_MEM_RESERVE, OS_INVALID_PARAMETER);
    }
    assert_counts(8 * PAGE, 4 * PAGE);
}

static void a_commit_beyond_the_budget_asks_the_os_for_nothing(void **state)
{
    const struct budget_limits limits = {4 * PAGE, 0, BUDGET_UNLIMITED, false};
    (void)state;
    uintptr_t base = alloc(0, SLOT, OS_MEM_RESERVE);
    budget_set_limits(&budget, &limits);
    alloc(base, 2 * PAGE, OS_MEM_COMMIT);
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    assert_alloc_fails(base, 5 * PAGE, OS_MEM_COMMIT, HM_OVER_COMMIT);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls);
    assert_counts(SLOT, 2 * PAGE);
    alloc(base, 4 * PAGE, OS_MEM_COMMIT); /* two of them are there already */
    assert_counts(SLOT, 4 * PAGE);
    assert_int_equal(usage_current(&budget.commit.used), 4 * PAGE);
}

static os_error (*alloc_of_windows)(const struct os *os, uintptr_t address, size_t size,
                                    uint32_t type, uint32_t protect, uintptr_t *result);

/* A system that takes a reset without an address for a reservation, as Wine does. */
static os_error alloc_of_another_system(const struct os *os, uintptr_t address, size_t size,
                                        uint32_t type, uint32_t protect, uintptr_t *result)
{
    bool resets = type == OS_MEM_RESET || type == OS_MEM_RESET_UNDO;
    type = address == 0 && resets ? OS_MEM_RESERVE : type;
    return alloc_of_windows(os, address, size, type, protect, result);
}

static void a_reset_without_an_address_is_counted_where_it_reserves(void **state)
{
    const uint32_t types[] = {OS_MEM_RESET, OS_MEM_RESET_UNDO};
    (void)state;
    alloc_of_windows = fake.os.virtual_alloc;
    for (size_t i = 0; i < 2; i++) {
        assert_alloc_fails(0, 3 * PAGE, types[i], OS_INVALID_PARAMETER);
        assert_counts(0, 0);
        fake.os.virtual_alloc = alloc_of_another_system;
        uintptr_t base = alloc(0, 3 * PAGE, types[i]);
        assert_counts(3 * PAGE, 0);
        release(base);
        fake.os.virtual_alloc = alloc_of_windows;
    }
}

static void a_request_for_nothing_goes_to_the_os_uncounted(void **state)
{
    const uint32_t types[] = {0, OS_MEM_TOP_DOWN};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_alloc_fails(0, PAGE, types[i], OS_INVALID_PARAMETER);
        assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].type, types[i]);
        assert_counts(0, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(overlapping_commits_count_each_page_once),
        TEST(unaligned_commits_count_every_page_they_touch),
        TEST(committing_again_is_free_and_reaches_the_os),
        TEST(a_commit_that_leaves_its_region_fails_as_a_whole),
        TEST(a_commit_at_a_foreign_address_goes_to_the_os_uncounted),
        TEST(the_tail_of_a_last_slot_belongs_to_nobody),
        TEST(reset_goes_to_the_os_and_counts_nothing),
        TEST(a_commit_beyond_the_budget_asks_the_os_for_nothing),
        TEST(a_reset_without_an_address_is_counted_where_it_reserves),
        TEST(a_request_for_nothing_goes_to_the_os_uncounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
