/* SPDX-License-Identifier: MIT
 *
 * virtual_memory_free: what a decommit and a release take off the counts, and what never reaches the
 * OS.
 */
#include "unit/virtual_memory_fixture.h"

/* ---- decommit ---- */

static void a_decommit_takes_off_what_was_committed_and_no_more(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    decommit(base, 16 * PAGE); /* nothing was ever committed */
    assert_counts(16 * PAGE, 0);
    alloc(base + 4 * PAGE, 4 * PAGE, OS_MEM_COMMIT);
    decommit(base + 6 * PAGE, 8 * PAGE); /* half of it was not */
    assert_counts(16 * PAGE, 2 * PAGE);
    decommit(base + 4 * PAGE - 1, 2); /* touches two pages, one of them committed */
    assert_counts(16 * PAGE, PAGE);
    decommit(base + 5 * PAGE, 1);
    decommit(base + 5 * PAGE, 1);
    assert_counts(16 * PAGE, 0);
}

static void a_decommit_of_size_0_at_the_base_takes_the_whole_region(void **state)
{
    (void)state;
    uintptr_t base = alloc(0, 600 * PAGE, OS_MEM_RESERVE);
    for (size_t i = 0; i < 10; i++) {
        alloc(base + 2 * i * PAGE, PAGE, OS_MEM_COMMIT);
    }
    assert_int_equal(virtual_memory_free(&memory, base + PAGE, 0, OS_MEM_DECOMMIT),
                     OS_INVALID_ADDRESS);
    assert_counts(600 * PAGE, 10 * PAGE);
    decommit(base + 5, 0); /* Win32 rounds down to the page first */
    assert_counts(600 * PAGE, 0);
    decommit(base, 0);
    assert_counts(600 * PAGE, 0);
}

static void a_decommit_that_leaves_its_region_fails_as_a_whole(void **state)
{
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    alloc(BASE + SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_int_equal(virtual_memory_free(&memory, BASE + SLOT - PAGE, 2 * PAGE, OS_MEM_DECOMMIT),
                     OS_INVALID_PARAMETER);
    assert_counts(2 * SLOT, 2 * SLOT);
}

/* From now on the system has nothing for the tables. */
static struct fake_plan nothing_left = {.one_in = {
                                            [FAKE_TABLE_RESERVE] = 1,
                                            [FAKE_TABLE_COMMIT] = 1,
                                        }};

#define SIZE_OF_REGION (sizeof(void *) == 8 ? GIB * 256 : GIB + 64 * MIB)

static void a_decommit_in_the_middle_needs_no_memory(void **state)
{
    (void)state;
    size_t before = fake_os_table_committed(&fake);
    uintptr_t base = alloc(0, SIZE_OF_REGION, OS_MEM_RESERVE);
    alloc(base, GIB, OS_MEM_COMMIT);
    fake_os_follow(&fake, &nothing_left);
    for (size_t i = 1; i <= 10; i++) { /* 32 MiB each; the third brings a fourth run */
        decommit(base + i * 64 * MIB, 32 * MIB);
        assert_counts(SIZE_OF_REGION, GIB - i * 32 * MIB);
    }
    release(base);
    fake_os_follow(&fake, NULL);
    assert_counts(0, 0);
    assert_in_range(fake_os_table_committed(&fake) - before, 0, 256 * KIB);
}

/* One run falls into as many as it can, and those go one by one. */
static void every_second_page_can_be_given_back_without_memory(void **state)
{
    const size_t size = 64 * MIB;
    (void)state;
    uintptr_t base = alloc(0, size, OS_MEM_RESERVE);
    size_t before = fake_os_table_committed(&fake);
    alloc(base, size, OS_MEM_COMMIT);
    fake_os_follow(&fake, &nothing_left);
    for (size_t first = 0; first < 2; first++) {
        for (size_t at = first * PAGE; at < size; at += 2 * PAGE) {
            decommit(base + at, PAGE);
        }
        assert_counts(size, (1 - first) * size / 2);
    }
    fake_os_follow(&fake, NULL);
    assert_int_equal(fake_os_table_committed(&fake), before);
    assert_int_equal(usage_current(&memory.table_memory.committed), before);
}

/* ---- release ---- */

static void a_release_takes_off_the_remaining_commit_and_the_reservation(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t kept = alloc(0, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    uintptr_t base = alloc(0, 5 * PAGE, OS_MEM_RESERVE);
    alloc(base, 3 * PAGE, OS_MEM_COMMIT);
    decommit(base, PAGE);
    assert_counts(SLOT + 5 * PAGE, SLOT + 2 * PAGE);
    release(base);
    assert_counts(SLOT, SLOT);
    release(kept + PAGE - 1); /* Win32 rounds down to the page first */
    assert_counts(0, 0);
    assert_int_equal(usage_peak(&budget.reserved), SLOT + 5 * PAGE);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), SLOT + 3 * PAGE);
}

static void release_twice_fails_and_leaves_the_neighbours_untouched(void **state)
{
    const uint32_t both = OS_MEM_RESERVE | OS_MEM_COMMIT;
    (void)state;
    alloc(BASE - SLOT, SLOT, both);
    alloc(BASE, SLOT, both);
    alloc(BASE + SLOT, SLOT, both);
    release(BASE);
    assert_foreign(BASE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE, PAGE, OS_MEM_DECOMMIT);
    assert_counts(2 * SLOT, 2 * SLOT);
    alloc(BASE - SLOT, SLOT, OS_MEM_COMMIT);
    alloc(BASE + SLOT, SLOT, OS_MEM_COMMIT);
    assert_counts(2 * SLOT, 2 * SLOT);
}

static void a_release_inside_a_region_is_refused_without_the_os(void **state)
{
    (void)state;
    alloc(BASE, 3 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_foreign(BASE + PAGE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + SLOT, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + 3 * SLOT - 1, 0, OS_MEM_RELEASE);
    assert_counts(3 * SLOT, 3 * SLOT);
}

static void a_release_that_win32_refuses_leaves_the_region_alive(void **state)
{
    const uint32_t types[] = {OS_MEM_RELEASE | OS_MEM_DECOMMIT, 0, OS_MEM_COMMIT, 0x40000000u};
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_int_equal(virtual_memory_free(&memory, BASE, SLOT, OS_MEM_RELEASE),
                     OS_INVALID_PARAMETER);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_int_equal(virtual_memory_free(&memory, BASE, 0, types[i]), OS_INVALID_PARAMETER);
    }
    assert_counts(SLOT, SLOT);
    release(BASE);
    assert_counts(0, 0);
}

static void freeing_foreign_memory_never_reaches_the_os(void **state)
{
    (void)state;
    uintptr_t view = fake_os_add_foreign(&fake, BASE, 4 * PAGE);
    const uintptr_t addresses[] = {0, 1, view, view + PAGE, BASE + SLOT, UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_foreign(addresses[i], 0, OS_MEM_RELEASE);
        assert_foreign(addresses[i], PAGE, OS_MEM_DECOMMIT);
        assert_foreign(addresses[i], 0, OS_MEM_DECOMMIT);
    }
    assert_int_equal(fake_os_committed(&fake, view, 4 * PAGE), 4 * PAGE);
}

static void look_for_the_region(struct fake_os *os, enum fake_kind kind)
{
    struct region_snapshot region;
    bool *found = os->context;
    if (kind == FAKE_VIRTUAL_FREE) {
        *found = region_table_find(&memory.regions, BASE, &region);
    }
}

static void a_region_is_gone_from_the_table_before_the_os_releases_it(void **state)
{
    bool found = true;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    fake.context = &found;
    fake.before = look_for_the_region;
    release(BASE);
    assert_false(found);
}

static void take_the_same_addresses(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_FREE) {
        os->after = NULL;
        alloc(BASE, 2 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    }
}

static void another_thread_may_get_the_addresses_before_the_release_returns(void **state)
{
    struct region_info info;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    fake.after = take_the_same_addresses;
    release(BASE);
    assert_counts(2 * SLOT, 2 * SLOT);
    assert_true(virtual_memory_next(&memory, 0, &info));
    assert_true(info.region.base == BASE);
    assert_int_equal(info.region.size, 2 * SLOT);
    release(BASE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- freed behind our back ---- */

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

/* ---- counts ---- */

/* As after a write into our memory: no count wraps, and it is seen. */
static void a_count_that_would_fall_below_zero_breaks_the_budget(void **state)
{
    struct usage *const counts[] = {&budget.committed[BUDGET_PAGES], &budget.reserved};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uintptr_t base = reserve_at(0, 4, OS_MEM_COMMIT);
        assert_true(usage_subtract(counts[i], PAGE));
        size_t less = usage_current(counts[i]);
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
        assert_non_null(budget_broken(&budget));
        assert_int_equal(usage_current(counts[i]), less);
        assert_true(usage_subtract(counts[i], less)); /* what there is: nothing */
        atomic_store(&budget.broken, NULL);
    }
}

/* ---- arguments that Windows refuses ---- */

/* Nobody may see the region gone for them, not even for a moment: the OS is not asked. */
static void what_windows_must_refuse_is_refused_before_anything_is_touched(void **state)
{
    static const struct {
        size_t size;
        uint32_t type;
    } calls[] = {{PAGE, OS_MEM_RELEASE},
                 {1, OS_MEM_RELEASE},
                 {0, OS_MEM_RELEASE | OS_MEM_DECOMMIT},
                 {PAGE, OS_MEM_RELEASE | 2},
                 {PAGE, 0},
                 {SIZE_MAX, OS_MEM_DECOMMIT},
                 {SIZE_MAX - PAGE, OS_MEM_DECOMMIT}};
    uintptr_t base = reserve_at(0, 20, OS_MEM_COMMIT);
    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        size_t asked = fake.calls[FAKE_VIRTUAL_FREE];
        assert_int_equal(virtual_memory_free(&memory, base, calls[i].size, calls[i].type),
                         OS_INVALID_PARAMETER);
        assert_int_equal(fake.calls[FAKE_VIRTUAL_FREE], asked);
        expect_dropped(0);
    }
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_decommit_takes_off_what_was_committed_and_no_more),
        TEST(a_decommit_of_size_0_at_the_base_takes_the_whole_region),
        TEST(a_decommit_that_leaves_its_region_fails_as_a_whole),
        TEST(a_decommit_in_the_middle_needs_no_memory),
        TEST(every_second_page_can_be_given_back_without_memory),
        TEST(a_release_takes_off_the_remaining_commit_and_the_reservation),
        TEST(release_twice_fails_and_leaves_the_neighbours_untouched),
        TEST(a_release_inside_a_region_is_refused_without_the_os),
        TEST(a_release_that_win32_refuses_leaves_the_region_alive),
        TEST(freeing_foreign_memory_never_reaches_the_os),
        TEST(a_region_is_gone_from_the_table_before_the_os_releases_it),
        TEST(another_thread_may_get_the_addresses_before_the_release_returns),
        TEST(a_release_of_what_others_have_released_drops_it),
        TEST(a_commit_or_decommit_in_what_others_have_released_drops_it),
        TEST(a_refusal_alone_drops_nothing),
        TEST(a_count_that_would_fall_below_zero_breaks_the_budget),
        TEST(a_refused_release_of_what_has_a_new_owner_already_drops_it),
        TEST(a_smaller_reservation_of_others_at_the_base_is_not_the_region),
        TEST(a_refusal_by_the_budget_finds_what_others_have_released),
        TEST(a_new_reservation_drops_what_the_table_has_in_its_place),
        TEST(a_measurement_drops_what_others_have_released),
        TEST(what_windows_must_refuse_is_refused_before_anything_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
