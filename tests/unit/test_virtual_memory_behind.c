/* SPDX-License-Identifier: MIT
 *
 * Regions that somebody else has freed with the system's own functions: whatever call meets one first drops
 * it, refunds it and counts it, and answers as the OS does; what is there, or may be, is not dropped.
 */
#include "unit/virtual_memory_fixture.h"

static uintptr_t reserve_at(uintptr_t address, size_t pages, uint32_t type)
{
    uintptr_t result = POISON;
    assert_int_equal(virtual_memory_alloc(&memory, address, pages * PAGE, OS_MEM_RESERVE | type,
                                          OS_PAGE_READWRITE, BUDGET_TASK, &result),
                     OS_OK);
    return result;
}

static void free_behind(uintptr_t base)
{
    assert_int_equal(fake.os.virtual_free(&fake.os, base, 0, OS_MEM_RELEASE), OS_OK);
}

/* Everything of `regions` regions is off the counts. */
static void expect_dropped(size_t regions)
{
    size_t reserved, committed;
    fake_os_totals(&fake, &reserved, &committed);
    assert_null(virtual_memory_check(&memory));
    assert_int_equal(memory.freed_behind, regions);
    assert_int_equal(usage_current(&budget.reserved), reserved);
    assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), committed);
    assert_int_equal(usage_current(&budget.commit.used), committed);
    assert_null(budget_broken(&budget));
}

static void a_release_of_what_others_have_released_drops_it(void **state)
{
    uintptr_t base = reserve_at(0, 20, OS_MEM_COMMIT), other = reserve_at(0, 3, OS_MEM_COMMIT);
    (void)state;
    free_behind(base);
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_INVALID_ADDRESS);
    expect_dropped(1);
    assert_int_equal(memory.freed_behind_bytes, 20 * PAGE);
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), HM_FOREIGN);
    assert_int_equal(virtual_memory_free(&memory, other, 0, OS_MEM_RELEASE), OS_OK);
    expect_dropped(1);
}

static void a_commit_or_decommit_in_what_others_have_released_drops_it(void **state)
{
    uintptr_t first = reserve_at(0, 20, OS_MEM_COMMIT), second = reserve_at(0, 20, OS_MEM_COMMIT);
    uintptr_t result = POISON;
    (void)state;
    free_behind(first);
    assert_int_not_equal(virtual_memory_free(&memory, first, 2 * PAGE, OS_MEM_DECOMMIT), OS_OK);
    expect_dropped(1);
    free_behind(second);
    assert_int_not_equal(virtual_memory_alloc(&memory, second + PAGE, PAGE, OS_MEM_COMMIT,
                                              OS_PAGE_READWRITE, BUDGET_TASK, &result),
                         OS_OK);
    expect_dropped(2);
}

static void reserve_as_another_would(struct fake_os *os, enum fake_kind kind)
{
    uintptr_t *base = os->context, result;
    if (kind == FAKE_VIRTUAL_FREE) {
        os->after = NULL;
        assert_int_equal(os->os.virtual_alloc(&os->os, *base, 20 * PAGE, OS_MEM_RESERVE,
                                              OS_PAGE_READWRITE, &result),
                         OS_OK);
    }
}

/* Between the system's refusal and the look at what is there, somebody gets the same addresses, and
 * nobody knows of it yet. Windows refuses with one error, Wine with another. */
static void a_refused_release_of_what_has_a_new_owner_already_drops_it(void **state)
{
    static const os_error errors[] = {OS_INVALID_ADDRESS, OS_INVALID_PARAMETER};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uintptr_t base = reserve_at(0, 20, OS_MEM_COMMIT);
        free_behind(base);
        fake.context = &base;
        fake.after = reserve_as_another_would;
        fake.fail_error = errors[i];
        fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), errors[i]);
        assert_null(fake.after);
        assert_int_equal(memory.freed_behind, i + 1);
        assert_null(virtual_memory_check(&memory));
        assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), 0);
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), HM_FOREIGN);
        free_behind(base);
    }
}

/* Fewer pages than the region had, at its base, are somebody else's. */
static void a_smaller_reservation_of_others_at_the_base_is_not_the_region(void **state)
{
    uintptr_t base = reserve_at(0, 20, 0), result = POISON;
    (void)state;
    free_behind(base);
    assert_int_equal(
        fake.os.virtual_alloc(&fake.os, base, 5 * PAGE, OS_MEM_RESERVE, OS_PAGE_READWRITE, &result),
        OS_OK);
    assert_int_not_equal(virtual_memory_alloc(&memory, base + 9 * PAGE, PAGE, OS_MEM_COMMIT,
                                              OS_PAGE_READWRITE, BUDGET_TASK, &result),
                         OS_OK);
    assert_int_equal(memory.freed_behind, 1);
    assert_int_equal(usage_current(&budget.reserved), 0);
    free_behind(base);
    expect_dropped(1);
}

/* All of its addresses, and more, are somebody else's: there is something, but not the region. */
static void a_region_inside_a_reservation_of_others_is_not_there(void **state)
{
    uintptr_t result = POISON;
    (void)state;
    reserve_at(BASE, 20, OS_MEM_COMMIT);
    fake_os_forget(&fake, BASE);
    assert_int_equal(fake.os.virtual_alloc(&fake.os, BASE - SLOT, 4 * SLOT, OS_MEM_RESERVE,
                                           OS_PAGE_READWRITE, &result),
                     OS_OK);
    assert_int_not_equal(virtual_memory_free(&memory, BASE, 0, OS_MEM_DECOMMIT), OS_OK);
    assert_int_equal(memory.freed_behind, 1);
    assert_int_equal(usage_current(&budget.reserved), 0);
    free_behind(BASE - SLOT);
    expect_dropped(1);
}

/* At the limit, and what is missing is the charge of memory that is no longer there. */
static void a_refusal_by_the_budget_finds_what_others_have_released(void **state)
{
    const struct budget_limits limits = {20 * PAGE, 0, BUDGET_UNLIMITED, false};
    uintptr_t base = reserve_at(0, 30, 0), result = POISON;
    (void)state;
    assert_int_equal(virtual_memory_alloc(&memory, base, 20 * PAGE, OS_MEM_COMMIT,
                                          OS_PAGE_READWRITE, BUDGET_TASK, &result),
                     OS_OK);
    budget_set_limits(&budget, &limits);
    free_behind(base);
    assert_int_equal(virtual_memory_alloc(&memory, base + 20 * PAGE, PAGE, OS_MEM_COMMIT,
                                          OS_PAGE_READWRITE, BUDGET_TASK, &result),
                     HM_OVER_COMMIT);
    expect_dropped(1);
    base = reserve_at(0, 20, OS_MEM_COMMIT);
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

/* An intact region is not dropped for a call that the OS refuses. */
static void a_refusal_alone_drops_nothing(void **state)
{
    uintptr_t base = reserve_at(0, 20, OS_MEM_COMMIT), result = POISON;
    (void)state;
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(virtual_memory_free(&memory, base, PAGE, OS_MEM_DECOMMIT),
                     FAKE_COMMITMENT_LIMIT);
    fake_os_fail(&fake, FAKE_VIRTUAL_ALLOC, 1);
    assert_int_equal(virtual_memory_alloc(&memory, base, PAGE, OS_MEM_COMMIT, OS_PAGE_READWRITE,
                                          BUDGET_TASK, &result),
                     FAKE_COMMITMENT_LIMIT);
    expect_dropped(0);
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

/* Three regions side by side are gone, and the OS gives their addresses to one. */
static void a_new_reservation_drops_what_the_table_has_in_its_place(void **state)
{
    const size_t slot_pages = SLOT / PAGE;
    uintptr_t base = reserve_at(0, 8 * slot_pages, 0);
    (void)state;
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
    for (uintptr_t i = 0; i < 3; i++) {
        reserve_at(base + 2 * i * SLOT, 2 * slot_pages, i == 1 ? OS_MEM_COMMIT : 0);
    }
    uintptr_t stays = reserve_at(base + 6 * SLOT, 1, OS_MEM_COMMIT);
    for (uintptr_t i = 0; i < 3; i++) {
        free_behind(base + 2 * i * SLOT);
    }
    assert_int_equal(reserve_at(base + SLOT, 4 * slot_pages, OS_MEM_COMMIT), base + SLOT);
    expect_dropped(3);
    assert_int_equal(virtual_memory_free(&memory, base + SLOT, 0, OS_MEM_RELEASE), OS_OK);
    assert_int_equal(virtual_memory_free(&memory, stays, 0, OS_MEM_RELEASE), OS_OK);
    expect_dropped(3);
}

/* ---- what the OS says of a refusal ---- */

/* Nothing at all, and so the region is taken for there. */
static void a_region_of_which_the_os_says_nothing_is_not_dropped(void **state)
{
    static struct fake_plan says_nothing = {
        .one_in = {[FAKE_VIRTUAL_ALLOC] = 1, [FAKE_VIRTUAL_QUERY] = 1}};
    uintptr_t base = reserve_at(0, 20, 0), result = POISON;
    (void)state;
    fake_os_follow(&fake, &says_nothing);
    assert_int_equal(virtual_memory_alloc(&memory, base, PAGE, OS_MEM_COMMIT, OS_PAGE_READWRITE,
                                          BUDGET_TASK, &result),
                     FAKE_COMMITMENT_LIMIT);
    fake_os_follow(&fake, NULL);
    expect_dropped(0);
    release(base);
}

/* Something else than that there is nothing: the query tells. */
static void a_refused_release_for_whatever_reason_is_looked_into(void **state)
{
    uintptr_t base = reserve_at(0, 20, OS_MEM_COMMIT);
    (void)state;
    free_behind(base);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), FAKE_COMMITMENT_LIMIT);
    expect_dropped(1);
}

static void free_it_behind_and_reserve_it_again(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_FREE) {
        os->before = NULL;
        fake_os_forget(os, BASE);
        assert_true(alloc(BASE, 5 * PAGE, OS_MEM_RESERVE) == BASE);
    }
}

/* Its addresses have a region of ours again, which the OS was asked to release, and has not. */
static void a_refused_release_does_not_touch_the_successor(void **state)
{
    struct region_snapshot region;
    (void)state;
    reserve_at(BASE, 20, OS_MEM_COMMIT);
    fake.before = free_it_behind_and_reserve_it_again;
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(virtual_memory_free(&memory, BASE, 0, OS_MEM_RELEASE), FAKE_COMMITMENT_LIMIT);
    expect_dropped(1);
    assert_true(region_table_find(&memory.regions, BASE, &region));
    assert_int_equal(region.size, 5 * PAGE);
    release(BASE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Nobody touches them again; one has other memory of others in its place. */
static void a_measurement_drops_what_others_have_released(void **state)
{
    uintptr_t first = reserve_at(0, 20, OS_MEM_COMMIT), stays = reserve_at(0, 3, OS_MEM_COMMIT);
    uintptr_t second = reserve_at(0, 20, OS_MEM_COMMIT), last = reserve_at(0, 20, 0), result;
    size_t by_table, by_os;
    (void)state;
    free_behind(first);
    free_behind(second);
    assert_int_equal(fake.os.virtual_alloc(&fake.os, second, 5 * PAGE,
                                           OS_MEM_RESERVE | OS_MEM_COMMIT, OS_PAGE_READWRITE,
                                           &result),
                     OS_OK);
    free_behind(last);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(by_table, 3 * PAGE);
    assert_int_equal(by_os, 3 * PAGE);
    free_behind(second);
    expect_dropped(3);
    assert_int_equal(memory.freed_behind_bytes, 60 * PAGE);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(virtual_memory_free(&memory, stays, 0, OS_MEM_RELEASE), OS_OK);
    expect_dropped(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_release_of_what_others_have_released_drops_it),
        TEST(a_commit_or_decommit_in_what_others_have_released_drops_it),
        TEST(a_refused_release_of_what_has_a_new_owner_already_drops_it),
        TEST(a_smaller_reservation_of_others_at_the_base_is_not_the_region),
        TEST(a_region_inside_a_reservation_of_others_is_not_there),
        TEST(a_refusal_by_the_budget_finds_what_others_have_released),
        TEST(a_refusal_alone_drops_nothing),
        TEST(a_new_reservation_drops_what_the_table_has_in_its_place),
        TEST(a_measurement_drops_what_others_have_released),
        TEST(a_region_of_which_the_os_says_nothing_is_not_dropped),
        TEST(a_refused_release_for_whatever_reason_is_looked_into),
        TEST(a_refused_release_does_not_touch_the_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
